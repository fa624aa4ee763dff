//! Listens to what agents publish, as it goes by on NATS, and gives the word that lets an agent's
//! spool forget it. Counts from the frames' headers alone: independent of what an agent says of
//! itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use fettle_shared::frame::{decode, Header, Scratch};
use fettle_shared::subjects::{self, Stored};
use futures_util::StreamExt as _;
use tokio::time::Instant;

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Frames.
    pub(crate) frames: u64,
    /// Their samples.
    pub(crate) samples: u64,
    /// Their rows.
    pub(crate) rows: u64,
    /// Their bytes, headers included.
    pub(crate) bytes: u64,
    /// Bytes of payloads before compression.
    pub(crate) raw_bytes: u64,
    /// Scans of each family.
    pub(crate) scans: BTreeMap<u16, u64>,
    /// Samples of each family.
    pub(crate) family_samples: BTreeMap<u16, u64>,
    /// Time between the first and the last sample, in seconds.
    pub(crate) sampled_s: f64,
    first_us: Option<i64>,
    last_us: Option<i64>,
}

impl Seen {
    fn add(&mut self, header: &Header, bytes: &[u8], scratch: &mut Scratch) {
        self.frames += 1;
        self.samples += header.samples;
        self.rows += u64::from(header.rows);
        self.bytes += bytes.len() as u64;
        self.raw_bytes += u64::from(header.raw_len);
        let first = *self.first_us.get_or_insert(header.first_us);
        self.last_us = Some(header.last_us);
        self.sampled_s = (header.last_us - first) as f64 / 1e6;
        if let Ok(frame) = decode(bytes, scratch) {
            for block in &frame.blocks {
                *self.scans.entry(block.family).or_default() += block.scans.len() as u64;
                *self.family_samples.entry(block.family).or_default() += block.samples();
            }
        }
    }

    /// Takes in what was seen after this.
    pub(crate) fn merge(&mut self, later: Self) {
        self.frames += later.frames;
        self.samples += later.samples;
        self.rows += later.rows;
        self.bytes += later.bytes;
        self.raw_bytes += later.raw_bytes;
        for (family, scans) in later.scans {
            *self.scans.entry(family).or_default() += scans;
        }
        for (family, samples) in later.family_samples {
            *self.family_samples.entry(family).or_default() += samples;
        }
        if let Some(last_us) = later.last_us {
            let first = *self.first_us.get_or_insert(later.first_us.unwrap_or(last_us));
            self.last_us = Some(last_us);
            self.sampled_s = (last_us - first) as f64 / 1e6;
        }
    }

    /// Samples a second, as the samples' own times say.
    pub(crate) fn rate(&self) -> f64 {
        // The last frame's second is not over at its last sample; one more scan interval is little.
        self.samples as f64 / self.sampled_s.max(0.001)
    }
}

/// Listens on one connection.
pub(crate) struct Sink {
    client: async_nats::Client,
    messages: async_nats::Subscriber,
    /// Highest number of the unbroken run, and what came beyond it, by boot.
    runs: HashMap<u64, (u64, Vec<u64>)>,
    scratch: Scratch,
    confirm: bool,
}

impl Sink {
    /// Connects, makes the stream that agents publish to, and listens. With `confirm` it plays the
    /// collector: what came is said to be stored.
    pub(crate) async fn open(url: &str, confirm: bool) -> anyhow::Result<Self> {
        let client = async_nats::connect(url).await.with_context(|| format!("cannot connect to {url}"))?;
        ensure_stream(&client).await?;
        let messages = client.subscribe(subjects::METRICS_SUBJECTS).await?;
        client.flush().await?;
        Ok(Self { client, messages, runs: HashMap::new(), scratch: Scratch::default(), confirm })
    }

    /// Takes what comes for this long; `keep` gets every frame.
    pub(crate) async fn listen(
        &mut self,
        length: Duration,
        mut keep: impl FnMut(&Bytes),
    ) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        let end = Instant::now() + length;
        while let Ok(message) = tokio::time::timeout_at(end, self.messages.next()).await {
            let message = message.context("NATS closed the subscription")?;
            let Ok(header) = Header::parse(&message.payload) else { continue };
            if header.is_dropped_report() {
                continue;
            }
            seen.add(&header, &message.payload, &mut self.scratch);
            keep(&message.payload);
            if self.confirm {
                self.confirm(&header).await?;
            }
        }
        Ok(seen)
    }

    async fn confirm(&mut self, header: &Header) -> anyhow::Result<()> {
        let (upto, beyond) = self.runs.entry(header.boot).or_default();
        beyond.push(header.seq);
        beyond.sort_unstable();
        while let Some(at) = beyond.iter().position(|seq| *seq == *upto + 1) {
            beyond.remove(at);
            *upto += 1;
        }
        let stored = Stored { boot: header.boot, upto: *upto };
        let payload = Bytes::copy_from_slice(&stored.to_bytes());
        self.client.publish(subjects::stored_subject(header.agent.as_str()), payload).await?;
        self.client.flush().await?;
        Ok(())
    }
}

/// Makes the metrics stream as agents and collectors do.
pub(crate) async fn ensure_stream(client: &async_nats::Client) -> anyhow::Result<()> {
    let shape = subjects::METRICS_SHAPE;
    jetstream::new(client.clone())
        .get_or_create_stream(stream::Config {
            name: shape.name.to_owned(),
            subjects: vec![shape.subjects.to_owned()],
            retention: stream::RetentionPolicy::WorkQueue,
            discard: stream::DiscardPolicy::New,
            storage: stream::StorageType::File,
            max_bytes: shape.max_bytes,
            max_message_size: shape.max_message_bytes,
            num_replicas: shape.replicas,
            ..Default::default()
        })
        .await
        .context("JetStream does not give the metrics stream")?;
    Ok(())
}
