//! Snapshots of what detection remembers of each host, in a stream of their own. Each host has two slots,
//! written in turn: chunks first, and last the head that says which chunks belong together and what they
//! hash to. A crash in between leaves the head of the other slot, and its chunks, as they were.
//!
//! The stream holds the newest message of each subject and a bounded number of bytes in all. What was lost
//! to that bound, or damaged, shows by the head's hash.

use std::time::Duration;

use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use fettle_shared::subjects::{self, STATE_SHAPE};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::connect::stream_config;
use super::IngestError;

/// Bytes of a chunk, well below what a server takes by default (1 MiB).
const CHUNK_BYTES: usize = 768 << 10;
/// Chunks of a snapshot at most.
const MOST_CHUNKS: usize = 256;
/// A whole snapshot must be written within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// In front of each chunk: the number of the snapshot it belongs to.
const MARK: usize = 8;

/// Reads and writes snapshots. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StateStore {
    context: jetstream::Context,
}

/// A snapshot that was found whole.
#[derive(Debug)]
pub struct Loaded {
    /// The slot it was in: 0 or 1.
    pub slot: u8,
    /// What was saved.
    pub bytes: Vec<u8>,
}

/// What belongs to a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// Its number; the higher one is the newer.
    number: i64,
    chunks: usize,
    bytes: usize,
    hash: u64,
}

impl StateStore {
    /// Over this connection.
    pub fn new(client: async_nats::Client) -> Self {
        Self { context: jetstream::new(client) }
    }

    async fn stream(&self) -> Result<stream::Stream, IngestError> {
        let config =
            stream::Config { max_messages_per_subject: 1, allow_direct: true, ..stream_config(&STATE_SHAPE) };
        self.context.get_or_create_stream(config).await.map_err(|e| failed("stream of snapshots", &e))
    }

    /// Saves a snapshot in a slot. `number` rises from one to the next: the time in microseconds.
    ///
    /// # Errors
    /// What JetStream says, or that it took too long; the other slot is as it was.
    pub async fn save(&self, host: &str, slot: u8, number: i64, bytes: &[u8]) -> Result<(), IngestError> {
        let work = async {
            self.stream().await?;
            let chunks = bytes.chunks(CHUNK_BYTES);
            let head = Head { number, chunks: chunks.len(), bytes: bytes.len(), hash: xxh3_64(bytes) };
            if head.chunks > MOST_CHUNKS {
                return Err(failed("snapshot", &format!("{} bytes are too many", bytes.len())));
            }
            for (at, chunk) in chunks.enumerate() {
                let body = [&number.to_le_bytes(), chunk].concat();
                self.put(subjects::state_subject(host, slot, &at.to_string()), body).await?;
            }
            let head = serde_json::to_vec(&head).map_err(|e| failed("head of a snapshot", &e))?;
            self.put(subjects::state_subject(host, slot, HEAD), head).await
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(failed("place for a snapshot", &"it took too long")))
    }

    async fn put(&self, subject: String, body: Vec<u8>) -> Result<(), IngestError> {
        let sent = self.context.publish(subject, Bytes::from(body)).await;
        let stored = sent.map_err(|e| failed("place for a snapshot", &e))?.await;
        stored.map(drop).map_err(|e| failed("place for a snapshot", &e))
    }

    /// The newest whole snapshot of a host; none when there is no whole one and never was.
    ///
    /// # Errors
    /// What JetStream says, or that there are snapshots and none is whole.
    pub async fn load(&self, host: &str) -> Result<Option<Loaded>, IngestError> {
        let stream = self.stream().await?;
        let mut heads = Vec::new();
        for slot in 0..=1u8 {
            let body = get(&stream, subjects::state_subject(host, slot, HEAD)).await?;
            // A head that does not parse counts as a snapshot that is not whole.
            heads.extend(body.map(|body| (slot, serde_json::from_slice::<Head>(&body).ok())));
        }
        heads.sort_by_key(|(_, head)| std::cmp::Reverse(head.as_ref().map_or(i64::MIN, |head| head.number)));
        let none = heads.is_empty();
        for (slot, head) in heads {
            let Some(head) = head else { continue };
            match whole(&stream, host, slot, &head).await? {
                Some(bytes) => return Ok(Some(Loaded { slot, bytes })),
                None => tracing::warn!(host, slot, "a snapshot is not whole; the one before is tried"),
            }
        }
        if none {
            return Ok(None);
        }
        Err(failed("snapshot", &"none is whole"))
    }
}

/// Last part of a head's subject.
const HEAD: &str = "head";

fn failed(what: &str, cause: &dyn std::fmt::Display) -> IngestError {
    IngestError::JetStream { what: what.into(), cause: cause.to_string() }
}

async fn get(stream: &stream::Stream, subject: String) -> Result<Option<Bytes>, IngestError> {
    match stream.direct_get_last_for_subject(subject).await {
        Ok(message) => Ok(Some(message.payload)),
        Err(error) if error.kind() == stream::DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("snapshot", &error)),
    }
}

/// The snapshot's bytes, if every chunk is its own and they hash to what the head says.
async fn whole(
    stream: &stream::Stream,
    host: &str,
    slot: u8,
    head: &Head,
) -> Result<Option<Vec<u8>>, IngestError> {
    if head.chunks > MOST_CHUNKS || head.bytes > MOST_CHUNKS * CHUNK_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(head.bytes);
    for at in 0..head.chunks {
        let chunk = get(stream, subjects::state_subject(host, slot, &at.to_string())).await?;
        match chunk.as_deref().and_then(|chunk| chunk.split_at_checked(MARK)) {
            Some((mark, body)) if mark == head.number.to_le_bytes() => bytes.extend_from_slice(body),
            _ => return Ok(None),
        }
    }
    Ok((bytes.len() == head.bytes && xxh3_64(&bytes) == head.hash).then_some(bytes))
}
