//! Writes batches: intent, blocks, ledger, in this order, each until it succeeds. Every request can
//! be sent again, because ClickHouse knows it by its token.
//!
//! Frames are decoded here, after the intent: a batch in waiting is a few compressed bytes, and a
//! table's block is on its way as soon as it is large enough. So a batch may be large, which makes
//! the inserts of small tables few, and memory does not grow with it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::{decode, Scratch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::gather::Batch;
use super::{PipelineError, Writer};
use crate::handoff::{Intent, LedgerRow, LedgerStatus, Piece};
use crate::store::{Assembled, Assembler, PartialWindows, StoreError};
use crate::telemetry::Telemetry;

/// Inserts that run at the same time, and how many bytes they may be together unless one alone is
/// larger: each byte is in memory here and several times in the engine.
const PARALLEL_INSERTS: usize = 2;
const PARALLEL_BYTES: usize = 12 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A closed batch on its way to ClickHouse.
pub(super) struct Sealed {
    pub intent: Intent,
    pub batch: Batch,
}

/// A batch that is in the ledger.
pub(super) struct Committed {
    pub number: u64,
    pub ledger: Vec<LedgerRow>,
    pub windows: PartialWindows,
    pub batch: Batch,
    /// Frames of the batch that no program could read, by position, and why.
    pub refused: Vec<(usize, &'static str)>,
}

/// Commits what comes, in order, until the channel closes or ClickHouse refuses for good.
pub(super) async fn run(
    context: Arc<Writer>,
    mut batches: mpsc::Receiver<Sealed>,
    done: mpsc::Sender<Result<Committed, PipelineError>>,
) {
    let mut committer = Committer::new(context);
    while let Some(sealed) = batches.recv().await {
        let outcome = committer.commit(sealed).await;
        let failed = outcome.is_err();
        if done.send(outcome).await.is_err() || failed {
            return;
        }
    }
}

/// Decodes and writes batches, one after the other.
pub(super) struct Committer {
    context: Arc<Writer>,
    assembler: Assembler,
    scratch: Scratch,
    running: JoinSet<Result<Piece, PipelineError>>,
    running_bytes: usize,
}

impl Committer {
    pub(super) fn new(context: Arc<Writer>) -> Self {
        let catalogue: &'static Catalogue = context.catalogue;
        let assembler = Assembler::new(catalogue);
        Self { context, assembler, scratch: Scratch::default(), running: JoinSet::new(), running_bytes: 0 }
    }

    /// Writes one batch.
    pub(super) async fn commit(&mut self, sealed: Sealed) -> Result<Committed, PipelineError> {
        let Sealed { intent, mut batch } = sealed;
        let context = Arc::clone(&self.context);
        let mut refused = Vec::new();
        if !intent.frames.is_empty() {
            retry(&context, "the intent", || context.store.write_intent(&intent)).await?;
            for (at, arrival) in batch.arrivals().iter().enumerate() {
                match decode(&arrival.bytes, &mut self.scratch) {
                    Ok(frame) => self.assembler.append(&frame),
                    Err(error) => refused.push((at, error.reason())),
                }
                if intent.cut_rows > 0 {
                    for piece in self.assembler.cut(intent.cut_rows as usize) {
                        self.insert(&intent, piece).await?;
                    }
                }
            }
        }
        let Assembled { pieces, windows, rows, samples, unknown_samples } = self.assembler.finish();
        for piece in pieces {
            self.insert(&intent, piece).await?;
        }
        while self.settle_one().await? {}
        let ledger = ledger_of(&intent, &refused, batch.take_ledger());
        if !ledger.is_empty() {
            let token = intent.token("ledger", 0);
            retry(&context, "the ledger", || context.store.write_ledger(&ledger, &token)).await?;
        }
        note(&context, &intent, Totals { rows, samples, unknown_samples });
        let mut windows = windows;
        windows.values_mut().for_each(|window| window.batch = intent.number);
        Ok(Committed { number: intent.number, ledger, windows, batch, refused })
    }

    /// Waits for an insert; false when none is running.
    async fn settle_one(&mut self) -> Result<bool, PipelineError> {
        let Some(done) = self.running.join_next().await else { return Ok(false) };
        let piece = done.map_err(failed)??;
        self.running_bytes -= size_of_piece(&piece);
        self.assembler.recycle(piece);
        Ok(true)
    }

    /// Starts an insert; waits for earlier ones when enough are running.
    async fn insert(&mut self, intent: &Intent, piece: Piece) -> Result<(), PipelineError> {
        let bytes = size_of_piece(&piece);
        while self.running.len() >= PARALLEL_INSERTS
            || (!self.running.is_empty() && self.running_bytes + bytes > PARALLEL_BYTES)
        {
            self.settle_one().await?;
        }
        self.running_bytes += bytes;
        let token = intent.token(&piece.table, piece.part);
        let context = Arc::clone(&self.context);
        self.running.spawn(async move {
            let started = Instant::now();
            let store = &context.store;
            retry(&context, &piece.table, || store.insert_block(&piece.table, &piece.body, &token)).await?;
            context.telemetry.insert_took(started.elapsed());
            Ok(piece)
        });
        Ok(())
    }
}

fn size_of_piece(piece: &Piece) -> usize {
    piece.body.iter().map(bytes::Bytes::len).sum()
}

/// A task of ours that panicked or was stopped.
fn failed(error: tokio::task::JoinError) -> PipelineError {
    PipelineError::Task(error.to_string())
}

/// The ledger's rows: the frames, and what the batch has to say beside them.
fn ledger_of(intent: &Intent, refused: &[(usize, &'static str)], beside: Vec<LedgerRow>) -> Vec<LedgerRow> {
    let (partition, batch) = (intent.partition, intent.number);
    let of_frames = intent.frames.iter().enumerate().map(|(at, frame)| {
        let unreadable = refused.iter().any(|(refused, _)| *refused == at);
        let status = if unreadable { LedgerStatus::Quarantined } else { LedgerStatus::Stored };
        LedgerRow { frame: frame.clone(), status, partition, batch }
    });
    of_frames.chain(beside.into_iter().map(|row| LedgerRow { partition, batch, ..row })).collect()
}

/// Does it until it succeeds, with growing pauses; only a refusal for good comes back.
pub(super) async fn retry<T, F, Fut>(context: &Writer, what: &str, mut attempt: F) -> Result<T, PipelineError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        context.check()?;
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if error.is_retryable() => {
                Telemetry::add(&context.telemetry.counters.insert_retries, 1);
                tracing::warn!(%error, what, "ClickHouse did not take it");
                context.health.clickhouse(false, &error.to_string());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a batch came to.
struct Totals {
    rows: u64,
    samples: u64,
    unknown_samples: u64,
}

fn note(context: &Writer, intent: &Intent, totals: Totals) {
    let counters = &context.telemetry.counters;
    Telemetry::add(&counters.batches_stored, 1);
    Telemetry::add(&counters.frames_stored, intent.frames.len() as u64);
    Telemetry::add(&counters.rows_stored, totals.rows);
    Telemetry::add(&counters.samples_stored, totals.samples);
    if totals.unknown_samples > 0 {
        Telemetry::add(&counters.unknown_samples, totals.unknown_samples);
        tracing::warn!(
            samples = totals.unknown_samples,
            "an agent knows metrics that this collector does not; upgrade it"
        );
    }
    let now = now_us();
    for frame in &intent.frames {
        context.telemetry.queryable_after(now.saturating_sub(frame.first_us).max(0) as u64);
    }
}

/// Wall clock, µs since 1970 UTC.
pub(super) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}
