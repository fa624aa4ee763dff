//! The collector's end, as far as the agent can see it: takes frames off the stream, remembers
//! them, and says how far the unbroken run goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer};
use fettle_shared::frame::{decode, verify, Scratch};
use fettle_shared::subjects::{partition_filter, stored_subject, Stored, METRICS_STREAM};
use futures_util::StreamExt;
use tokio::task::JoinHandle;

/// What has arrived.
#[derive(Debug, Default, Clone)]
pub(crate) struct Received {
    /// Numbers by boot.
    pub(crate) numbers: BTreeMap<u64, BTreeSet<u64>>,
    /// Frames that came more than once.
    pub(crate) doubles: u64,
    /// Samples in frames, once each.
    pub(crate) samples: u64,
    /// Samples that reports say are gone.
    pub(crate) dropped_samples: u64,
}

impl Received {
    /// Last number of the unbroken run from 1.
    pub(crate) fn upto(&self, boot: u64) -> u64 {
        let numbers = self.numbers.get(&boot);
        numbers.map_or(0, |numbers| (1..).take_while(|seq| numbers.contains(seq)).last().unwrap_or(0))
    }

    fn take(&mut self, bytes: &[u8]) -> (u64, String) {
        let header = verify(bytes).expect("the agent publishes what it has sealed");
        let mut scratch = Scratch::default();
        let dropped = decode(bytes, &mut scratch).unwrap().dropped;
        if self.numbers.entry(header.boot).or_default().insert(header.seq) {
            self.samples += header.samples;
            for range in dropped {
                self.dropped_samples += range.samples;
                self.numbers.entry(range.boot).or_default().extend(range.first_seq..=range.last_seq);
            }
        } else {
            self.doubles += 1;
        }
        (header.boot, header.agent.as_str().to_owned())
    }
}

/// A collector that runs until it is dropped.
pub(crate) struct Collector {
    received: Arc<Mutex<Received>>,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Starts with what an earlier one had stored.
    pub(crate) fn start(url: &str, received: Received) -> Self {
        let received = Arc::new(Mutex::new(received));
        let (url, shared) = (url.to_owned(), received.clone());
        let task = tokio::spawn(async move {
            loop {
                // Whatever fails is made again, as long as it takes.
                let _ = collect(&url, &shared).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { received, task }
    }

    pub(crate) fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }

    /// Waits until `done` says so.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Received) -> bool) -> Received {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let received = self.received();
            if done(&received) {
                return received;
            }
            assert!(Instant::now() < deadline, "{what}: {received:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn collect(url: &str, received: &Mutex<Received>) -> Result<(), async_nats::Error> {
    let client = async_nats::connect(url).await?;
    let stream = jetstream::new(client.clone()).get_stream(METRICS_STREAM).await?;
    let config = consumer::pull::Config {
        durable_name: Some("test".into()),
        filter_subject: partition_filter(0),
        ..Default::default()
    };
    let consumer = stream.get_or_create_consumer("test", config).await?;
    let mut messages = consumer
        .stream()
        .heartbeat(Duration::from_millis(500))
        .expires(Duration::from_secs(2))
        .messages()
        .await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let (stored, agent) = {
            let mut received = received.lock().unwrap();
            let (boot, agent) = received.take(&message.payload);
            (Stored { boot, upto: received.upto(boot) }, agent)
        };
        message.ack().await?;
        client.publish(stored_subject(&agent), stored.to_bytes().to_vec().into()).await?;
    }
    Ok(())
}
