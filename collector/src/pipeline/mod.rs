//! The line from NATS to ClickHouse for one partition: gather, write the intent, insert, write the
//! ledger, tell the agents, acknowledge. This file and `handoff.rs` show the whole of it.
//!
//! One task gathers frames as they came while another decodes and commits the batch before, so at most
//! two batches are in hand; when ClickHouse is slow or away, gathering stops and messages stay in
//! JetStream.
//! Roll-ups are made by a third task from what has been committed, and a thread beside the line judges
//! every second of every host.

mod commit;
mod gather;
pub mod operate;
pub mod outlook;
mod recover;
mod rollup;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use fettle_analysis::live::Plan;
use fettle_shared::catalogue::Catalogue;
use fettle_shared::subjects::Stored;
use tokio::sync::{mpsc, watch as signal};
use tokio::time::Instant;

use crate::handoff::{Judged, RecentDoors};
use crate::health::Health;
use crate::ingest::{Admission, Event, IngestError, Lease, LeaseView, Source, LEASE_TIME};
use crate::store::{Agents, Reductions, Store, StoreError};
use crate::telemetry::Telemetry;

use commit::{Committed, Sealed};
use gather::{Batch, Damaged};

/// Batches are closed once a second, this long after the turn of the wall-clock second: agents close
/// their frames at the turn, so a frame waits for little more than its way here.
const CLOSE_AFTER_TURN_US: i64 = 200_000;
const SECOND_US: i64 = 1_000_000;
/// How long a batch waits for the roll-up task before it goes on without.
const ROLLUP_PATIENCE: Duration = Duration::from_secs(10);
/// Missed windows are looked through for doubles beyond this many.
const MOST_MISSED: usize = 100_000;
/// How often it is told that nothing came.
const LISTEN_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a failure that stops a partition.
const RESTART_PAUSE: Duration = Duration::from_secs(2);

/// What every partition's line works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// ClickHouse.
    pub store: Store,
    /// NATS.
    pub nats: async_nats::Client,
    /// The metrics there are.
    pub catalogue: &'static Catalogue,
    /// Counters and histograms.
    pub telemetry: Arc<Telemetry>,
    /// What is ready.
    pub health: Arc<Health>,
    /// Names this collector in leases, across restarts.
    pub owner: String,
    /// How many partitions there are.
    pub partitions: u16,
    /// How long a restart waits for the frames of an unfinished batch.
    pub recover_timeout: Duration,
    /// Batches are closed early at this many samples, which bounds memory.
    pub batch_samples: u64,
    /// How hosts are watched; none: they are not.
    pub analysis: Option<Arc<Plan>>,
    /// How often a snapshot of a host's detection is saved.
    pub snapshot_interval: Duration,
    /// Who listens to judged seconds in this process; a listener that is too slow misses some.
    pub watched: Option<mpsc::Sender<Judged>>,
    /// Who listens to forecasts and predictions, and to which partitions are lost.
    pub heard: Option<mpsc::Sender<operate::Heard>>,
    /// How often is looked ahead.
    pub outlook: outlook::OutlookSettings,
    /// Where what is to be expected is told.
    pub outlooks: Arc<outlook::Board>,
    /// Where questions about what is remembered of a host come in.
    pub recent: RecentDoors,
    /// The operator's files that could not be taken.
    pub not_taken: operate::NotTaken,
}

/// Why a partition's line ended.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// ClickHouse refused for good.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// NATS cannot be used.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// A task of the collector's own failed.
    #[error("a task of the collector ended: {0}")]
    Task(String),
    /// The lease ran out; another collector may own the partition now.
    #[error("the lease of partition {0} ran out; this collector stops writing it and asks for it again")]
    LeaseLost(u16),
}

/// Runs one partition until `stop` is set; begins again from what ClickHouse knows after a failure.
pub async fn run(context: Context, partition: u16, mut stop: signal::Receiver<bool>) {
    while !*stop.borrow() {
        let ended = own(&context, partition, stop.clone()).await;
        if let Some(heard) = &context.heard {
            // A stop is no loss: the rules' state is saved with the hosts in it.
            if ended.is_err() {
                let _ = heard.send(operate::Heard::Lost(partition)).await;
            }
        }
        match ended {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(%error, partition, "the partition starts again");
                context.health.set(&part(partition), false, &error.to_string());
                tokio::select! {
                    () = tokio::time::sleep(RESTART_PAUSE) => {}
                    _ = stop.changed() => {}
                }
            }
        }
    }
}

fn part(partition: u16) -> String {
    format!("ingest_{partition}")
}

/// Owns a partition: finishes what a crash left, then takes batch after batch.
async fn own(
    context: &Context,
    partition: u16,
    mut stop: signal::Receiver<bool>,
) -> Result<(), PipelineError> {
    let before = context.store.last_intent(partition).await?;
    let recent = commit::now_us() - LEASE_TIME.as_micros() as i64;
    let quiet = before.is_none_or(|intent| intent.created_us < recent);
    context.health.set(&part(partition), false, "asking for the lease");
    let lease = tokio::select! {
        lease = Lease::acquire(context.nats.clone(), partition, &context.owner, quiet) => lease?,
        _ = stop.changed() => return Ok(()),
    };
    let feed = watch::Feed::start(context, partition, lease.view());
    let context = &Arc::new(Writer { context: context.clone(), partition, lease: lease.view(), feed });
    let mut source = Source::new(context.nats.clone(), partition);
    // Read again under the lease: only now can nobody else write another.
    let last = context.store.last_intent(partition).await?;
    let (mut number, mut fence) = (1, 1);
    let mut held = Vec::new();
    if let Some(intent) = last {
        (number, fence) = (intent.number + 1, intent.fence + 1);
        if !context.store.ledger_batch_complete(&intent).await? {
            context.health.set(&part(partition), false, "finishing the batch a crash interrupted");
            let mut known = admission(context, partition).await?;
            match recover::finish(context, &mut source, intent, &mut known, &mut stop).await? {
                Some(left) => held = left,
                None => return Ok(()),
            }
        }
    }
    let admission = admission(context, partition).await?;
    let rollup = rollup::start(Arc::clone(context), partition, stop.clone()).await?;
    // Ends with the line.
    let _outlook = outlook::start(context, partition);
    let mut line = Line {
        context: Arc::clone(context),
        partition,
        source,
        admission,
        batch: Batch::default(),
        damaged: Damaged::default(),
        committing: false,
        number,
        fence,
        due: next_due(commit::now_us()),
        rollup,
        missed: Vec::new(),
    };
    for arrival in held {
        line.take(arrival).await;
    }
    context.health.set(&part(partition), true, "taking frames");
    let outcome = line.run(stop).await;
    if let (Ok(()), Some(feed)) = (&outcome, &context.feed) {
        feed.finish().await;
    }
    outcome
}

/// What the ledger holds of a partition's agents.
async fn admission(context: &Context, partition: u16) -> Result<Admission, PipelineError> {
    let mut admission = Admission::default();
    let agents = Agents::Partition { index: partition, count: context.partitions };
    for known in context.store.watermarks(agents).await? {
        admission.load(&known.agent, known.boot, known.upto, &known.above);
    }
    Ok(admission)
}

/// When the next batch is closed: the first such moment after `now_us`, wall clock.
fn next_due(now_us: i64) -> Instant {
    let wait_us = SECOND_US - (now_us - CLOSE_AFTER_TURN_US).rem_euclid(SECOND_US);
    Instant::now() + Duration::from_micros(wait_us as u64)
}

/// Tells agents and JetStream what became of a batch's frames.
async fn tell(context: &Context, source: &Source, admission: &mut Admission, committed: &mut Committed) {
    let mut told: HashMap<(String, u64), u64> = HashMap::new();
    for row in &committed.ledger {
        let frame = &row.frame;
        let upto = admission.stored(&frame.agent, frame.boot, frame.seq);
        told.insert((frame.agent.clone(), frame.boot), upto);
    }
    for (agent, boot) in committed.batch.take_repeated() {
        let upto = admission.upto(&agent, boot);
        told.entry((agent, boot)).or_insert(upto);
    }
    for ((agent, boot), upto) in told {
        source.tell_stored(&agent, Stored { boot, upto }).await;
    }
    for (at, arrival) in committed.batch.take_arrivals().into_iter().enumerate() {
        match committed.refused.iter().find(|(refused, _)| *refused == at) {
            Some((_, reason)) => gather::put_aside(context, source, arrival, reason).await,
            None => arrival.receipt.acknowledge().await,
        }
    }
}

/// The context of a partition's owner: whoever writes holds one of these.
#[derive(Debug)]
struct Writer {
    context: Context,
    partition: u16,
    lease: LeaseView,
    /// Where seconds go to be judged.
    feed: Option<watch::Feed>,
}

impl std::ops::Deref for Writer {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl Writer {
    /// Fails when the partition may belong to another by now.
    fn check(&self) -> Result<(), PipelineError> {
        if self.lease.is_valid() {
            Ok(())
        } else {
            Err(PipelineError::LeaseLost(self.partition))
        }
    }
}

/// A partition's state while it is owned.
struct Line {
    context: Arc<Writer>,
    partition: u16,
    source: Source,
    admission: Admission,
    batch: Batch,
    damaged: Damaged,
    /// A batch is with the committer.
    committing: bool,
    number: u64,
    fence: u64,
    /// When the batch is to be closed.
    due: Instant,
    rollup: rollup::Inbox,
    /// Windows whose reductions the roll-up task was too slow to take: it selects them from the raw rows.
    missed: Vec<(String, u32, u64)>,
}

impl Line {
    async fn run(mut self, mut stop: signal::Receiver<bool>) -> Result<(), PipelineError> {
        let (to_commit, commits) = mpsc::channel::<Sealed>(1);
        let (done, mut committed) = mpsc::channel::<Result<Committed, PipelineError>>(1);
        let committer = tokio::spawn(commit::run(Arc::clone(&self.context), commits, done));
        let mut listening = tokio::time::interval(LISTEN_INTERVAL);
        listening.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let outcome = loop {
            let room = self.batch.has_room(self.context.batch_samples);
            let due = if room { self.due } else { Instant::now() };
            tokio::select! {
                biased;
                answer = committed.recv() => match answer {
                    Some(Ok(batch)) => self.settle(batch).await,
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
                _ = stop.changed() => break Ok(()),
                () = self.context.lease.lost() => break Err(PipelineError::LeaseLost(self.partition)),
                () = tokio::time::sleep_until(due), if !self.committing && !self.batch.is_empty() => {
                    self.seal(&to_commit).await;
                }
                // While nothing comes: silence of hosts is counted in time that was listened.
                _ = listening.tick(), if !self.committing && self.batch.is_empty() => {
                    if let Some(feed) = &self.context.feed {
                        feed.listened(self.source.is_open());
                    }
                }
                event = self.source.next(), if room => match event {
                    Event::Arrived(arrival) => self.take(*arrival).await,
                    Event::Reopened(_) => {
                        Telemetry::add(&self.context.telemetry.counters.consumer_reopened, 1);
                    }
                },
            }
        };
        if outcome.is_ok() {
            self.drain(&to_commit, &mut committed).await;
        }
        drop(to_commit);
        committer.abort();
        outcome
    }

    /// Commits what is in hand before an orderly stop. What cannot be committed in time is not lost:
    /// it was not acknowledged, and its intent, if written, is finished at the next start.
    async fn drain(
        &mut self,
        to_commit: &mpsc::Sender<Sealed>,
        committed: &mut mpsc::Receiver<Result<Committed, PipelineError>>,
    ) {
        let work = async {
            while self.committing || !self.batch.is_empty() {
                if !self.committing {
                    self.seal(to_commit).await;
                }
                match committed.recv().await {
                    Some(Ok(batch)) => self.settle(batch).await,
                    _ => break,
                }
            }
            self.source.flush().await;
        };
        if tokio::time::timeout(Duration::from_secs(10), work).await.is_err() {
            tracing::warn!("ClickHouse was too slow for the last batch; its frames come again");
        }
    }

    /// Hands the batch to the committer and begins the next one.
    async fn seal(&mut self, to_commit: &mpsc::Sender<Sealed>) {
        let batch = std::mem::take(&mut self.batch);
        let sealed = batch.seal(self.partition, self.number, self.fence);
        self.number += 1;
        self.due = next_due(commit::now_us());
        self.committing = true;
        // The channel has one place and the committer is idle: this does not wait.
        let _ = to_commit.send(sealed).await;
    }

    /// A batch is in the ledger: tell the agents, acknowledge, hand on its reductions.
    async fn settle(&mut self, mut committed: Committed) {
        tell(&self.context, &self.source, &mut self.admission, &mut committed).await;
        let counters = &self.context.telemetry.counters;
        counters.agents.store(self.admission.agents() as u64, Ordering::Relaxed);
        counters.sequence_holes.store(self.admission.holes(), Ordering::Relaxed);
        self.hand_on(committed.number, committed.reductions).await;
        self.committing = false;
    }

    /// Gives the roll-up task a batch's reductions. When it is stuck, frames go on without it.
    async fn hand_on(&mut self, batch: u64, reductions: Reductions) {
        let patience = if self.missed.is_empty() { ROLLUP_PATIENCE } else { Duration::ZERO };
        match tokio::time::timeout(patience, self.rollup.place_for(&reductions)).await {
            Ok(Some(place)) => {
                let missed = std::mem::take(&mut self.missed);
                place.send(batch, reductions, missed);
            }
            Ok(None) => {}
            Err(_) => {
                if self.missed.is_empty() {
                    tracing::warn!("roll-ups are behind; they are made from the raw rows later");
                }
                let windows = reductions.windows_touched();
                self.missed.extend(windows.into_iter().map(|(agent, window)| (agent, window, batch)));
                if self.missed.len() > MOST_MISSED {
                    self.missed.sort_unstable();
                    self.missed.dedup_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
                }
            }
        }
    }
}
