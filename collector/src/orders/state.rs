//! What operations remember, kept in JetStream's key-value store: one value that is replaced whole by
//! compare-and-set. So a state is never half written, and an owner that was overtaken cannot write at all.
//!
//! A value of more than [`INLINE_BYTES`] is put down in pieces first, under keys nobody used before; the head
//! that names them is what is compared and set.
//!
//! The head is sealed with the collector's key and holds the hash of all pieces, so whoever else may write to NATS
//! cannot have this collector believe anything. A collector without a key has a place of its own, which no
//! collector with a key reads.

use std::io::Read as _;

use async_nats::jetstream::{self, kv};
use bytes::Bytes;
use fettle_shared::seal::SealError;
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

use super::{OrdersError, Seals};

/// Bucket of the state.
const BUCKET: &str = "fettle_operations";
/// Larger states are put down in pieces of this size: NATS takes 1 MiB a message by default.
const INLINE_BYTES: usize = 512 << 10;
/// Most pieces a head may name.
const MOST_PIECES: usize = 256;
/// Largest state, unpacked: what claims to be larger was not written by a collector.
const STATE_MAX: u64 = 256 << 20;
const INLINE: u8 = 1;
/// Pieces as they were before states were sealed: only read, to be adopted.
const OLD_PIECES: u8 = 2;
const PIECES: u8 = 4;
/// Bytes of the hash of all pieces, and of its predecessor.
const HASH: usize = 32;
const OLD_HASH: usize = 8;

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
    seals: Option<Seals>,
    /// The highest number that was seen under a seal.
    number: u64,
    /// Whether NATS has a trace of a value that was taken away.
    removed: bool,
}

impl StateCell {
    /// The place named `key`; `run` is different for every process.
    pub fn new(client: async_nats::Client, key: &str, run: &str, seals: Option<Seals>) -> Self {
        Self {
            context: jetstream::new(client),
            key: if seals.is_some() { key.to_owned() } else { format!("{key}_unsigned") },
            run: run.to_owned(),
            written: 0,
            revision: 0,
            pieces: Vec::new(),
            number: seals.as_ref().map_or(0, |seals| seals.seen(key)),
            seals,
            removed: false,
        }
    }

    /// Whether there once was a state that this collector would take: it has seen one, or NATS says that one was deleted.
    /// One without a key keeps no number, and gives no orders.
    pub fn had_state(&self) -> bool {
        self.seals.is_some() && (self.number > 0 || self.removed)
    }

    /// What was saved last, by this collector or another that is trusted.
    ///
    /// # Errors
    /// NATS is away, or what is there is damaged or nobody's who is trusted; the next state replaces it.
    pub async fn load(&mut self) -> Result<Option<Vec<u8>>, OrdersError> {
        let store = self.store().await?;
        let Some(head) = self.head(&store).await? else { return Ok(None) };
        let body = self.opened(&head)?;
        self.unpacked(&store, &body).await.map(Some)
    }

    /// What stands there without a seal, as collectors wrote it before there were seals.
    ///
    /// # Errors
    /// NATS is away, or what is there is damaged.
    pub async fn load_unsealed(&mut self) -> Result<Option<Vec<u8>>, OrdersError> {
        let store = self.store().await?;
        let Some(head) = self.head(&store).await? else { return Ok(None) };
        match self.opened(&head) {
            Err(OrdersError::NotTaken { reason: SealError::Unsealed, .. }) => {
                self.unpacked(&store, &head).await.map(Some)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(None),
        }
    }

    /// The head that is there now. What is saved next replaces it, whatever it turns out to be.
    async fn head(&mut self, store: &kv::Store) -> Result<Option<Bytes>, OrdersError> {
        let entry = store.entry(self.key.as_str()).await.map_err(|e| self.away(&e))?;
        self.removed = entry.as_ref().is_some_and(|entry| entry.operation != kv::Operation::Put);
        let entry = entry.filter(|e| e.operation == kv::Operation::Put);
        self.revision = entry.as_ref().map_or(0, |entry| entry.revision);
        Ok(entry.map(|entry| entry.value))
    }

    /// What is under the head's seal.
    fn opened(&mut self, head: &Bytes) -> Result<Bytes, OrdersError> {
        let Some(seals) = &self.seals else { return Ok(head.clone()) };
        let opened = seals
            .open(head, &place(&self.key), self.number)
            .map_err(|reason| OrdersError::NotTaken { key: self.key.clone(), reason })?;
        let body = head.slice_ref(opened.body);
        self.saw(opened.number);
        Ok(body)
    }

    fn saw(&mut self, number: u64) {
        self.number = number;
        if let Some(seals) = &self.seals {
            seals.note(&self.key, number);
        }
    }

    async fn unpacked(&mut self, store: &kv::Store, body: &[u8]) -> Result<Vec<u8>, OrdersError> {
        let bytes = self.whole(store, body).await?;
        let mut state = Vec::new();
        zstd::Decoder::new(bytes.as_slice())
            .and_then(|unpacked| unpacked.take(STATE_MAX + 1).read_to_end(&mut state))
            .map_err(|e| self.damaged(&e.to_string()))?;
        if state.len() as u64 > STATE_MAX {
            return Err(self.damaged("it unpacks to more than a state may be"));
        }
        Ok(state)
    }

    /// Replaces it. The numbers of seals follow the clock (`now_us`, µs since 1970), so that they rise even where a
    /// state was lost.
    ///
    /// # Errors
    /// [`OrdersError::Overtaken`] when another trusted process has written since; then nothing may be done any
    /// more on the strength of this state. [`OrdersError::NotTaken`] when somebody else has: the state is not
    /// saved, and what is saved next replaces what they wrote.
    pub async fn save(&mut self, state: &[u8], now_us: i64) -> Result<(), OrdersError> {
        let packed = zstd::encode_all(state, 1).map_err(|e| self.damaged(&e.to_string()))?;
        if state.len() as u64 > STATE_MAX || packed.len() > MOST_PIECES * INLINE_BYTES {
            return Err(self.damaged("the state is larger than it may become"));
        }
        let store = self.store().await?;
        let (body, pieces) = self.put_down(&store, packed).await?;
        let number = (self.number + 1).max(now_us.unsigned_abs());
        let head: Bytes = match &self.seals {
            Some(seals) => seals.seal(&place(&self.key), number, &body).into(),
            None => body.into(),
        };
        let revision = match self.set(&store, head.clone()).await {
            Ok(revision) => revision,
            Err(error) => self.not_set(&store, &head, error).await?,
        };
        self.revision = revision;
        self.saw(number);
        for old in std::mem::replace(&mut self.pieces, pieces) {
            if let Err(error) = store.purge(&old).await {
                tracing::debug!(%error, old, "an old piece of the state stays for now");
            }
        }
        Ok(())
    }

    /// Looks why a head was not set; gives its revision if it is there after all.
    async fn not_set(&mut self, store: &kv::Store, head: &Bytes, error: String) -> Result<u64, OrdersError> {
        let known = self.revision;
        match self.head(store).await? {
            // NATS has forgotten everything: what is known here is the newest there is.
            None => self.set(store, head.clone()).await.map_err(|e| self.away(&e)),
            // The answer was lost, not the value.
            Some(there) if there == *head => Ok(self.revision),
            Some(_) if self.revision == known => Err(self.away(&error)),
            Some(there) => {
                let Some(seals) = &self.seals else { return Err(OrdersError::Overtaken) };
                match seals.open(&there, &place(&self.key), self.number + 1) {
                    Ok(_) => Err(OrdersError::Overtaken),
                    Err(reason) => Err(OrdersError::NotTaken { key: self.key.clone(), reason }),
                }
            }
        }
    }

    async fn set(&self, store: &kv::Store, head: Bytes) -> Result<u64, String> {
        if self.revision == 0 {
            store.create(self.key.as_str(), head).await.map_err(|e| e.to_string())
        } else {
            store.update(self.key.as_str(), head, self.revision).await.map_err(|e| e.to_string())
        }
    }

    /// What names a state, and the keys of its pieces once they are there.
    async fn put_down(
        &mut self,
        store: &kv::Store,
        packed: Vec<u8>,
    ) -> Result<(Vec<u8>, Vec<String>), OrdersError> {
        if packed.len() <= INLINE_BYTES {
            return Ok(([&[INLINE][..], &packed].concat(), Vec::new()));
        }
        self.written += 1;
        let mut keys = Vec::new();
        for (at, piece) in packed.chunks(INLINE_BYTES).enumerate() {
            let key = format!("{}.{}.{}.{at}", self.key, self.run, self.written);
            store.put(key.as_str(), Bytes::copy_from_slice(piece)).await.map_err(|e| self.away(&e))?;
            keys.push(key);
        }
        let names = keys.join("\n");
        Ok(([&[PIECES][..], Sha256::digest(&packed).as_slice(), names.as_bytes()].concat(), keys))
    }

    async fn whole(&mut self, store: &kv::Store, body: &[u8]) -> Result<Vec<u8>, OrdersError> {
        let (hash_bytes, rest) = match body.split_first() {
            Some((&INLINE, packed)) => return Ok(packed.to_vec()),
            Some((&PIECES, rest)) if rest.len() > HASH => (HASH, rest),
            Some((&OLD_PIECES, rest)) if rest.len() > OLD_HASH => (OLD_HASH, rest),
            _ => return Err(self.damaged("its first byte is unknown")),
        };
        let (hash, names) = rest.split_at(hash_bytes);
        let names = std::str::from_utf8(names).map_err(|e| self.damaged(&e.to_string()))?;
        let own = format!("{}.", self.key);
        let mut packed = Vec::new();
        let mut pieces = Vec::new();
        for name in names.split('\n').take(MOST_PIECES) {
            // They are deleted with the next state: no name may lead to anything else.
            if !name.starts_with(&own) {
                return Err(self.damaged("a piece of it is not its own"));
            }
            let piece = store.get(name).await.map_err(|e| self.away(&e))?;
            packed.extend_from_slice(&piece.ok_or_else(|| self.damaged("a piece of it is missing"))?);
            pieces.push(name.to_owned());
        }
        let fits = match hash_bytes {
            HASH => Sha256::digest(&packed).as_slice() == hash,
            _ => xxh3_64(&packed).to_le_bytes() == hash,
        };
        if !fits {
            return Err(self.damaged("its hash does not fit"));
        }
        self.pieces = pieces;
        Ok(packed)
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

/// Where a state stands, as its seal names it.
fn place(key: &str) -> String {
    format!("{BUCKET}/{key}")
}
