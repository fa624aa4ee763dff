//! What operations remember, kept in JetStream's key-value store: one value that is replaced whole by
//! compare-and-set. So a state is never half written, and an owner that was overtaken cannot write at all.
//!
//! A value of more than [`INLINE_BYTES`] is put down in pieces first, under keys nobody used before; the head
//! that names them is what is compared and set.

use std::io::Read as _;

use async_nats::jetstream::{self, kv};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::OrdersError;

/// Bucket of the state.
const BUCKET: &str = "fettle_operations";
/// Larger states are put down in pieces of this size: NATS takes 1 MiB a message by default.
const INLINE_BYTES: usize = 512 << 10;
/// Most pieces a head may name.
const MOST_PIECES: usize = 256;
/// Largest state, unpacked: what claims to be larger was not written by a collector.
const STATE_MAX: u64 = 256 << 20;
const INLINE: u8 = 1;
const PIECES: u8 = 2;

/// The place of one state.
#[derive(Debug)]
pub struct StateCell {
    context: jetstream::Context,
    key: String,
    /// Distinguishes the pieces of this process from any other's.
    run: String,
    written: u64,
    /// Revision of the head that this process has read or written; 0: there is none.
    revision: u64,
    pieces: Vec<String>,
}

impl StateCell {
    /// The place named `key`; `run` is different for every process.
    pub fn new(client: async_nats::Client, key: &str, run: &str) -> Self {
        Self {
            context: jetstream::new(client),
            key: key.to_owned(),
            run: run.to_owned(),
            written: 0,
            revision: 0,
            pieces: Vec::new(),
        }
    }

    /// What was saved last, by whomever.
    ///
    /// # Errors
    /// NATS is away, or what is there is damaged.
    pub async fn load(&mut self) -> Result<Option<Vec<u8>>, OrdersError> {
        let store = self.store().await?;
        let entry = store.entry(self.key.as_str()).await.map_err(|e| self.away(&e))?;
        let Some(entry) = entry.filter(|e| e.operation == kv::Operation::Put) else {
            self.revision = 0;
            return Ok(None);
        };
        // Also of what turns out to be damaged: it is what the next state replaces.
        self.revision = entry.revision;
        let bytes = self.whole(&store, &entry.value).await?;
        let mut state = Vec::new();
        zstd::Decoder::new(bytes.as_slice())
            .and_then(|unpacked| unpacked.take(STATE_MAX + 1).read_to_end(&mut state))
            .map_err(|e| self.damaged(&e.to_string()))?;
        if state.len() as u64 > STATE_MAX {
            return Err(self.damaged("it unpacks to more than a state may be"));
        }
        Ok(Some(state))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// [`OrdersError::Overtaken`] when another process has written since; then nothing may be done any more
    /// on the strength of this state.
    pub async fn save(&mut self, state: &[u8]) -> Result<(), OrdersError> {
        let packed = zstd::encode_all(state, 1).map_err(|e| self.damaged(&e.to_string()))?;
        if state.len() as u64 > STATE_MAX || packed.len() > MOST_PIECES * INLINE_BYTES {
            return Err(self.damaged("the state is larger than it may become"));
        }
        let store = self.store().await?;
        let (head, pieces) = self.put_down(&store, packed).await?;
        let revision = match self.set(&store, head.clone()).await {
            Ok(revision) => revision,
            Err(error) => {
                let entry = store.entry(self.key.as_str()).await.map_err(|e| self.away(&e))?;
                match entry.filter(|e| e.operation == kv::Operation::Put) {
                    // NATS has forgotten everything: what is known here is the newest there is.
                    None => {
                        self.revision = 0;
                        self.set(&store, head).await.map_err(|e| self.away(&e))?
                    }
                    // The answer was lost, not the value.
                    Some(entry) if entry.value == head => entry.revision,
                    Some(entry) if entry.revision == self.revision => return Err(self.away(&error)),
                    Some(_) => return Err(OrdersError::Overtaken),
                }
            }
        };
        self.revision = revision;
        for old in std::mem::replace(&mut self.pieces, pieces) {
            if let Err(error) = store.purge(&old).await {
                tracing::debug!(%error, old, "an old piece of the state stays for now");
            }
        }
        Ok(())
    }

    async fn set(&self, store: &kv::Store, head: Bytes) -> Result<u64, String> {
        if self.revision == 0 {
            store.create(self.key.as_str(), head).await.map_err(|e| e.to_string())
        } else {
            store.update(self.key.as_str(), head, self.revision).await.map_err(|e| e.to_string())
        }
    }

    /// The head of a state, and the keys of its pieces once they are there.
    async fn put_down(
        &mut self,
        store: &kv::Store,
        packed: Vec<u8>,
    ) -> Result<(Bytes, Vec<String>), OrdersError> {
        if packed.len() <= INLINE_BYTES {
            let mut head = vec![INLINE];
            head.extend_from_slice(&packed);
            return Ok((head.into(), Vec::new()));
        }
        self.written += 1;
        let mut keys = Vec::new();
        for (at, piece) in packed.chunks(INLINE_BYTES).enumerate() {
            let key = format!("{}.{}.{}.{at}", self.key, self.run, self.written);
            store.put(key.as_str(), Bytes::copy_from_slice(piece)).await.map_err(|e| self.away(&e))?;
            keys.push(key);
        }
        let mut head = vec![PIECES];
        head.extend_from_slice(&xxh3_64(&packed).to_le_bytes());
        head.extend_from_slice(keys.join("\n").as_bytes());
        Ok((head.into(), keys))
    }

    async fn whole(&mut self, store: &kv::Store, head: &[u8]) -> Result<Vec<u8>, OrdersError> {
        match head.split_first() {
            Some((&INLINE, packed)) => Ok(packed.to_vec()),
            Some((&PIECES, rest)) if rest.len() > 8 => {
                let (sum, names) = rest.split_at(8);
                let names = std::str::from_utf8(names).map_err(|e| self.damaged(&e.to_string()))?;
                let mut packed = Vec::new();
                let mut pieces = Vec::new();
                for name in names.split('\n').take(MOST_PIECES) {
                    let piece = store.get(name).await.map_err(|e| self.away(&e))?;
                    packed.extend_from_slice(&piece.ok_or_else(|| self.damaged("a piece of it is missing"))?);
                    pieces.push(name.to_owned());
                }
                if xxh3_64(&packed).to_le_bytes() != sum {
                    return Err(self.damaged("its checksum does not fit"));
                }
                self.pieces = pieces;
                Ok(packed)
            }
            _ => Err(self.damaged("its first byte is unknown")),
        }
    }

    async fn store(&self) -> Result<kv::Store, OrdersError> {
        if let Ok(store) = self.context.get_key_value(BUCKET).await {
            return Ok(store);
        }
        let config = kv::Config { bucket: BUCKET.into(), history: 1, ..Default::default() };
        self.context.create_key_value(config).await.map_err(|e| self.away(&e))
    }

    fn away(&self, cause: &impl ToString) -> OrdersError {
        OrdersError::Away { what: format!("the state {}", self.key), cause: cause.to_string() }
    }

    fn damaged(&self, cause: &str) -> OrdersError {
        OrdersError::Damaged { key: self.key.clone(), cause: cause.to_owned() }
    }
}
