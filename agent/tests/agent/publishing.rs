//! Spool and publisher against a NATS that dies, forgets and stays away: every number arrives, and
//! what the collector confirms leaves the spool.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, Stream};
use fettle_agent::handoff::{Figures, FrameQueue, SpoolHandle};
use fettle_agent::publish::{NatsSettings, Publisher};
use fettle_agent::spool::{Spool, SpoolSettings, SpoolThread};
use fettle_shared::access::Access;
use fettle_shared::frame::verify;
use fettle_shared::subjects::{METRICS_STREAM, METRICS_SUBJECTS};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::collector::{Collector, Received};
use crate::frames::frame;
use crate::nats::Nats;

/// Nothing is sent again but what NATS is known to have lost: a test that counts must not depend on how soon a busy
/// machine's server and collector answer.
pub(crate) const PATIENT: Duration = Duration::from_secs(3_600);
/// What is not confirmed is sent again after so long.
const IMPATIENT: Duration = Duration::from_secs(2);

/// An agent without its sampler.
pub(crate) struct Agent {
    frames: FrameQueue,
    handle: SpoolHandle,
    pub(crate) figures: Arc<Figures>,
    spool: SpoolThread,
    stop: watch::Sender<bool>,
    publishing: JoinHandle<()>,
    boot: u64,
    tag: i64,
}

impl Agent {
    async fn start(url: &str, dir: &Path, patience: Duration) -> Self {
        Self::log_in(Access::new(url), dir, patience).await
    }

    pub(crate) async fn log_in(access: Access, dir: &Path, patience: Duration) -> Self {
        let settings = SpoolSettings { segment: 64 << 10, ..SpoolSettings::at(dir) };
        let (mut spool, recovery) = Spool::open(settings, "a").unwrap();
        let (boot, resume_at, figures) = (spool.boot(), spool.resume_at(), Arc::new(Figures::default()));
        let (spool, frames, handle) = SpoolThread::start(spool, figures.clone()).unwrap();
        let nats = NatsSettings {
            access,
            ack_timeout: patience / 2,
            resend_after: patience,
            ..NatsSettings::new("")
        };
        let publisher =
            Publisher::start(nats, "a", &recovery.agents, handle.clone(), resume_at, figures.clone())
                .await
                .unwrap();
        let (stop, stopping) = watch::channel(false);
        let publishing = tokio::spawn(async move {
            publisher.run(stopping, Duration::from_secs(3)).await.unwrap();
        });
        Self { frames, handle, figures, spool, stop, publishing, boot, tag: 0 }
    }

    pub(crate) fn offer(&mut self, count: u64) {
        for _ in 0..count {
            let (header, bytes) = frame("a", self.tag);
            self.tag += 1;
            assert!(self.frames.offer(&header, &bytes), "the queue is full");
        }
    }

    /// Waits for the spool and the publisher.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Figures) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done(&self.figures) {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing is unconfirmed.
    async fn until_empty(&self) {
        let mut view = self.handle.view();
        let empty = view.wait_for(|view| view.oldest == view.end);
        tokio::time::timeout(Duration::from_secs(60), empty)
            .await
            .expect("the spool is not trimmed")
            .unwrap();
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.publishing.await.unwrap();
        self.spool.close();
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn frames_arrive_once_and_leave_the_spool_when_they_are_stored() {
    runtime().block_on(async {
        let (nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
        let mut agent = Agent::start(&nats.url(), dir.path(), PATIENT).await;
        agent.offer(100);
        agent.until("100 acknowledgements", |f| f.publish_acks.get() == 100).await;
        assert_eq!(agent.figures.spool_frames.get(), 100, "NATS's word frees nothing");
        let collector = Collector::start(&nats.url(), Received::default());
        let received = collector.until("100 frames", |r| r.upto(agent.boot) == 100).await;
        assert_eq!(received.doubles, 0);
        agent.until_empty().await;
        assert_eq!(agent.figures.stored_seq.get(), 100);
        agent.stop().await;
        let status = fettle_agent::spool::status(dir.path()).unwrap();
        assert_eq!((status.unconfirmed_frames, status.stored_seq), (0, 100));
    });
}

#[test]
fn a_nats_that_is_killed_or_comes_late_loses_nothing() {
    runtime().block_on(async {
        let (mut nats, dir) = (Nats::down(), tempfile::tempdir().unwrap());
        let mut agent = Agent::start(&nats.url(), dir.path(), IMPATIENT).await;
        agent.offer(50);
        agent.until("50 frames kept", |f| f.spool_frames.get() == 50).await;
        nats.start();
        let collector = Collector::start(&nats.url(), Received::default());
        collector.until("the first 50", |r| r.upto(agent.boot) == 50).await;
        for round in 1..4 {
            agent.offer(40);
            nats.kill();
            agent.until("it is noticed", |f| f.connected.get() == 0).await;
            agent.offer(40);
            nats.start();
            collector.until("another 80", |r| r.upto(agent.boot) == 50 + 80 * round).await;
        }
        agent.until_empty().await;
        agent.stop().await;
    });
}

#[test]
fn a_nats_that_forgets_everything_gets_it_again() {
    runtime().block_on(async {
        let (mut nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
        let mut agent = Agent::start(&nats.url(), dir.path(), PATIENT).await;
        let mut received = Received::default();
        for round in 1..4 {
            // Nobody collects, so all of it is on NATS's disk and nowhere else but in the spool.
            let before = agent.figures.publish_acks.get();
            agent.offer(500);
            agent.until("all acknowledged", |f| f.publish_acks.get() >= before + 500).await;
            nats.kill();
            nats.wipe();
            agent.until("it is noticed", |f| f.connected.get() == 0).await;
            agent.offer(10);
            nats.start();
            let collector = Collector::start(&nats.url(), received);
            received = collector.until("all again", |r| r.upto(agent.boot) == 510 * round).await;
            agent.until_empty().await;
        }
        agent.stop().await;
    });
}

/// Makes holes among so many frames: a single one, a row, and the newest. Frames are known by their own numbers: those
/// of the stream are others where a busy machine was slow and some were sent again.
async fn lose(stream: &Stream, frames: u64) {
    let is_lost = |seq: u64| seq == 3 || (50..70).contains(&seq) || seq > 195;
    let (mut there, mut next) = (BTreeSet::new(), 1);
    let deadline = Instant::now() + Duration::from_secs(60);
    while (there.len() as u64) < frames {
        assert!(Instant::now() < deadline, "{} of {frames} are in the stream", there.len());
        let Ok(message) = stream.get_raw_message(next).await else { continue };
        let seq = verify(&message.payload).unwrap().seq;
        if is_lost(seq) {
            stream.delete_message(next).await.unwrap();
        }
        there.insert(seq);
        next += 1;
    }
}

#[test]
fn what_only_some_of_the_stream_lost_is_sent_again() {
    runtime().block_on(async {
        let (nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
        let mut agent = Agent::start(&nats.url(), dir.path(), IMPATIENT).await;
        agent.offer(200);
        agent.until("all acknowledged", |f| f.publish_acks.get() >= 200).await;
        let client = async_nats::connect(nats.url()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let stream = context.get_stream(METRICS_STREAM).await.unwrap();
        lose(&stream, 200).await;
        let collector = Collector::start(&nats.url(), Received::default());
        let received = collector.until("all of them", |r| r.upto(agent.boot) == 200).await;
        agent.until_empty().await;
        assert!(agent.figures.publish_resends.get() >= 26);
        assert!(received.doubles < 100, "{} doubles for 26 that were lost", received.doubles);
        agent.stop().await;
    });
}

#[test]
fn a_restarted_agent_goes_on_where_it_was() {
    runtime().block_on(async {
        let (mut nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
        let mut agent = Agent::start(&nats.url(), dir.path(), PATIENT).await;
        let boot = agent.boot;
        agent.offer(30);
        agent.until("30 acknowledged", |f| f.publish_acks.get() == 30).await;
        agent.stop().await;
        let mut agent = Agent::start(&nats.url(), dir.path(), PATIENT).await;
        assert_eq!(agent.boot, boot);
        agent.offer(1);
        agent.until("the new one is acknowledged", |f| f.publish_acks.get() == 1).await;
        agent.stop().await;
        // While the agent is away NATS forgets what it had acknowledged.
        nats.kill();
        nats.wipe();
        nats.start();
        let agent = Agent::start(&nats.url(), dir.path(), PATIENT).await;
        let collector = Collector::start(&nats.url(), Received::default());
        collector.until("all 31", |r| r.upto(boot) == 31).await;
        agent.until_empty().await;
        agent.stop().await;
    });
}

#[test]
fn a_full_stream_is_waited_for() {
    runtime().block_on(async {
        let (nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
        let client = async_nats::connect(nats.url()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let small = Config {
            name: METRICS_STREAM.into(),
            subjects: vec![METRICS_SUBJECTS.into()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_messages: 20,
            ..Default::default()
        };
        context.create_stream(small).await.unwrap();
        let mut agent = Agent::start(&nats.url(), dir.path(), IMPATIENT).await;
        agent.offer(100);
        agent.until("refusals", |f| f.publish_acks.get() >= 20 && f.publish_failures.get() > 0).await;
        let collector = Collector::start(&nats.url(), Received::default());
        collector.until("all of them", |r| r.upto(agent.boot) == 100).await;
        agent.until_empty().await;
        agent.stop().await;
    });
}
