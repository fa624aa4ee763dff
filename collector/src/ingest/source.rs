//! One partition's messages, in the order JetStream gives them. The source never ends: when the
//! stream, the consumer or the server is gone it makes them again, and whatever was not acknowledged
//! comes again, from JetStream or from the agent. At most a bounded number of messages is pulled
//! ahead, so a slow ClickHouse fills JetStream, not memory.

use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use async_nats::HeaderMap;
use bytes::Bytes;
use fettle_shared::subjects::{self, Stored};
use futures_util::StreamExt;

use super::{connect, IngestError};

/// Messages pulled ahead of use.
const PULL_MESSAGES: usize = 128;
/// Bytes pulled ahead of use.
const PULL_BYTES: usize = 16 << 20;
/// After this long without an acknowledgement JetStream gives a message again.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Messages that may be out without an acknowledgement.
const MAX_ACK_PENDING: i64 = 8192;
/// Pause before the consumer is made again.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);

/// A message as it came, with what is needed to acknowledge it.
#[derive(Debug)]
pub struct Arrival {
    /// The agent its subject names.
    pub agent: Option<String>,
    /// The frame's bytes, not yet looked at.
    pub bytes: Bytes,
    /// For the acknowledgement.
    pub receipt: Receipt,
    /// Messages of the partition that JetStream has not given yet.
    pub pending: u64,
}

/// Acknowledges one message, once what it carried is stored.
pub struct Receipt(jetstream::message::Acker);

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receipt")
    }
}

impl Receipt {
    /// Tells JetStream to forget the message. A lost acknowledgement is harmless: the frame comes
    /// again and is dropped as a double.
    pub async fn acknowledge(&self) {
        if let Err(error) = self.0.ack().await {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }
}

/// What the source gives.
#[derive(Debug)]
pub enum Event {
    /// A message.
    Arrived(Box<Arrival>),
    /// The consumer had to be made again, for this reason.
    Reopened(String),
}

/// The messages of one partition.
pub struct Source {
    client: async_nats::Client,
    context: jetstream::Context,
    partition: u16,
    stream: Option<consumer::pull::Stream>,
    failed: Option<String>,
    fresh: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl Source {
    /// A source over this connection.
    pub fn new(client: async_nats::Client, partition: u16) -> Self {
        let context = jetstream::new(client.clone());
        Self { client, context, partition, stream: None, failed: None, fresh: false }
    }

    /// Whether JetStream gives what comes.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// The next event. Safe to drop and call again: no message is lost by that.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(stream) = &mut self.stream {
                match stream.next().await {
                    Some(Ok(message)) => return Event::Arrived(Box::new(arrival(message))),
                    Some(Err(error)) => self.close(error.to_string()),
                    None => self.close("the consumer's stream ended".into()),
                }
                continue;
            }
            match self.open().await {
                Ok(stream) => {
                    self.fresh = true;
                    self.stream = Some(stream);
                    if let Some(reason) = self.failed.take() {
                        return Event::Reopened(reason);
                    }
                }
                Err(error) => {
                    if self.failed.is_none() {
                        tracing::warn!(%error, partition = self.partition, "ingest waits for JetStream");
                        self.failed = Some(error.to_string());
                    }
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
            }
        }
    }

    fn close(&mut self, reason: String) {
        tracing::warn!(reason, partition = self.partition, "the consumer is made again");
        self.stream = None;
        self.failed = Some(reason);
    }

    async fn open(&self) -> Result<consumer::pull::Stream, IngestError> {
        connect::ensure_streams(&self.context).await?;
        let fail = |cause: String| IngestError::JetStream {
            what: format!("consumer of partition {}", self.partition),
            cause,
        };
        let stream =
            self.context.get_stream(subjects::METRICS_STREAM).await.map_err(|e| fail(e.to_string()))?;
        let name = subjects::partition_consumer(self.partition);
        let config = consumer::pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: subjects::partition_filter(self.partition),
            ack_policy: consumer::AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_ACK_PENDING,
            ..Default::default()
        };
        if !self.fresh {
            // What the owner before had out comes at once, instead of after its acknowledgement time.
            if let Err(error) = stream.delete_consumer(&name).await {
                tracing::debug!(%error, name, "there was no consumer to begin anew");
            }
        }
        let consumer = stream.get_or_create_consumer(&name, config).await.map_err(|e| fail(e.to_string()))?;
        consumer
            .stream()
            .max_messages_per_batch(PULL_MESSAGES)
            .max_bytes_per_batch(PULL_BYTES)
            .heartbeat(Duration::from_secs(1))
            .expires(Duration::from_secs(10))
            .messages()
            .await
            .map_err(|e| fail(e.to_string()))
    }

    /// Tells an agent what ClickHouse has. May be lost: it is told again with later frames.
    pub async fn tell_stored(&self, agent: &str, stored: Stored) {
        let payload = Bytes::copy_from_slice(&stored.to_bytes());
        if let Err(error) = self.client.publish(subjects::stored_subject(agent), payload).await {
            tracing::debug!(%error, agent, "the word that frames are stored was not sent");
        }
    }

    /// Puts a damaged message aside with the reason, and takes it out of the line.
    pub async fn quarantine(&self, arrival: Arrival, reason: &str) {
        let subject = subjects::quarantine_subject(arrival.agent.as_deref().unwrap_or("unknown"));
        let mut headers = HeaderMap::new();
        headers.insert(subjects::REASON_HEADER, reason);
        match self.context.publish_with_headers(subject, headers, arrival.bytes).await {
            Ok(_) => arrival.receipt.acknowledge().await,
            Err(error) => tracing::warn!(%error, "a damaged frame could not be put aside; it comes again"),
        }
    }

    /// Sends what is buffered.
    pub async fn flush(&self) {
        if let Err(error) = self.client.flush().await {
            tracing::debug!(%error, "NATS was not flushed");
        }
    }
}

fn arrival(message: jetstream::Message) -> Arrival {
    let agent = subjects::agent_of_subject(&message.subject).map(str::to_owned);
    // What does not say is taken for the last: then nothing is known to wait.
    let pending = message.info().map_or(0, |info| info.pending);
    let (message, acker) = message.split();
    Arrival { agent, bytes: message.payload, receipt: Receipt(acker), pending }
}
