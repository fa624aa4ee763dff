//! The line from NATS to ClickHouse for one partition: gather, write the intent, insert, write the
//! ledger, tell the agents, acknowledge. This file and `handoff.rs` show the whole of it.
//!
//! One task gathers and decodes while another commits the batch before, so at most two batches are
//! in memory; when ClickHouse is slow or away, gathering stops and messages stay in JetStream.
//! Roll-ups are made by a third task from what has been committed.

mod commit;
mod gather;
mod recover;
mod rollup;

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use fettle_shared::catalogue::Catalogue;
use fettle_shared::subjects::Stored;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::health::Health;
use crate::ingest::{Admission, Event, IngestError, Lease, LeaseView, Source, LEASE_TIME};
use crate::store::{Agents, Store, StoreError};
use crate::telemetry::Telemetry;

use commit::{Committed, Sealed};
use gather::Batch;

/// Batches are closed this long after the one before, if they hold anything.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
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
    /// The lease ran out; another collector may own the partition now.
    #[error("the lease of partition {0} ran out; this collector stops writing it and asks for it again")]
    LeaseLost(u16),
}

/// Runs one partition until `stop` is set; begins again from what ClickHouse knows after a failure.
pub async fn run(context: Context, partition: u16, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match own(&context, partition, stop.clone()).await {
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
    mut stop: watch::Receiver<bool>,
) -> Result<(), PipelineError> {
    let before = context.store.last_intent(partition).await?;
    let recent = commit::now_us() - LEASE_TIME.as_micros() as i64;
    let quiet = before.is_none_or(|intent| intent.created_us < recent);
    context.health.set(&part(partition), false, "asking for the lease");
    let lease = tokio::select! {
        lease = Lease::acquire(context.nats.clone(), partition, &context.owner, quiet) => lease?,
        _ = stop.changed() => return Ok(()),
    };
    let context = &Writer { context: context.clone(), partition, lease: lease.view() };
    let mut source = Source::new(context.nats.clone(), partition);
    // Read again under the lease: only now can nobody else write another.
    let last = context.store.last_intent(partition).await?;
    let (mut number, mut fence) = (1, 1);
    let mut held = Vec::new();
    if let Some(intent) = last {
        (number, fence) = (intent.number + 1, intent.fence + 1);
        if !context.store.ledger_batch_complete(&intent).await? {
            context.health.set(&part(partition), false, "finishing the batch a crash interrupted");
            match recover::finish(context, &mut source, intent, &mut stop).await? {
                Some(left) => held = left,
                None => return Ok(()),
            }
        }
    }
    let mut admission = Admission::default();
    let agents = Agents::Partition { index: partition, count: context.partitions };
    for known in context.store.watermarks(agents).await? {
        admission.load(&known.agent, known.boot, known.upto, &known.above);
    }
    let rollup = rollup::start(context.clone(), partition, stop.clone()).await?;
    let mut line = Line {
        context: context.clone(),
        partition,
        source,
        admission,
        batch: Batch::new(context.catalogue),
        spare: Some(Batch::new(context.catalogue)),
        number,
        fence,
        last_sealed: Instant::now(),
        rollup,
    };
    for arrival in held {
        line.take(arrival).await;
    }
    context.health.set(&part(partition), true, "taking frames");
    line.run(stop).await
}

/// The context of a partition's owner: whoever writes holds one of these.
#[derive(Debug, Clone)]
struct Writer {
    context: Context,
    partition: u16,
    lease: LeaseView,
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
    context: Writer,
    partition: u16,
    source: Source,
    admission: Admission,
    batch: Batch,
    /// The other batch's buffers; none while it is being committed.
    spare: Option<Batch>,
    number: u64,
    fence: u64,
    last_sealed: Instant,
    rollup: mpsc::Sender<rollup::Update>,
}

impl Line {
    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), PipelineError> {
        let (to_commit, commits) = mpsc::channel::<Sealed>(1);
        let (done, mut committed) = mpsc::channel::<Result<Committed, PipelineError>>(1);
        let committer = tokio::spawn(commit::run(self.context.clone(), commits, done));
        let outcome = loop {
            let idle = self.spare.is_some();
            let room = self.batch.samples() < self.context.batch_samples;
            let due = self.last_sealed + BATCH_INTERVAL;
            tokio::select! {
                biased;
                answer = committed.recv() => match answer {
                    Some(Ok(batch)) => self.settle(batch).await,
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
                _ = stop.changed() => break Ok(()),
                () = self.context.lease.lost() => break Err(PipelineError::LeaseLost(self.partition)),
                () = tokio::time::sleep_until(due), if idle && !self.batch.is_empty() => {
                    self.seal(&to_commit).await;
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
            while self.spare.is_none() || !self.batch.is_empty() {
                if self.spare.is_some() {
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

    /// Hands the batch to the committer and goes on with the other one's buffers.
    async fn seal(&mut self, to_commit: &mpsc::Sender<Sealed>) {
        let Some(spare) = self.spare.take() else { return };
        let batch = std::mem::replace(&mut self.batch, spare);
        let sealed = batch.seal(self.partition, self.number, self.fence);
        self.number += 1;
        self.last_sealed = Instant::now();
        // The channel has one place and the committer is idle: this does not wait.
        let _ = to_commit.send(sealed).await;
    }

    /// A batch is in the ledger: tell the agents, acknowledge, reuse its buffers.
    async fn settle(&mut self, committed: Committed) {
        let counters = &self.context.telemetry.counters;
        let mut batch = committed.batch;
        let mut told: Vec<(String, Stored)> = Vec::new();
        for row in &committed.ledger {
            let frame = &row.frame;
            let upto = self.admission.stored(&frame.agent, frame.boot, frame.seq);
            match told.iter_mut().find(|(a, s)| *a == frame.agent && s.boot == frame.boot) {
                Some((_, stored)) => stored.upto = upto,
                None => told.push((frame.agent.clone(), Stored { boot: frame.boot, upto })),
            }
        }
        for (agent, boot) in batch.take_repeated() {
            if !told.iter().any(|(a, s)| *a == agent && s.boot == boot) {
                let upto = self.admission.upto(&agent, boot);
                told.push((agent, Stored { boot, upto }));
            }
        }
        for (agent, stored) in &told {
            self.source.tell_stored(agent, *stored).await;
        }
        for receipt in batch.take_receipts() {
            receipt.acknowledge().await;
        }
        counters.agents.store(self.admission.agents() as u64, Ordering::Relaxed);
        counters.sequence_holes.store(self.admission.holes(), Ordering::Relaxed);
        let _ =
            self.rollup.send(rollup::Update { batch: committed.number, windows: committed.windows }).await;
        batch.recycle(committed.blocks);
        self.spare = Some(batch);
    }
}
