//! Writes batches: intent, blocks, ledger, in this order, each until it succeeds. Every request can
//! be sent again, because ClickHouse knows it by its token.
//!
//! A token is believed only when its request succeeded at once. ClickHouse notes it before it moves the
//! new part into place: when that fails (a disk's EIO, a kill in between), the same request sent again is
//! answered as done, and the rows are not there. So what had to be sent again is looked at, and begun
//! again under new tokens when it is not whole.
//!
//! Frames are decoded here, after the intent: a batch in waiting is a few compressed bytes, and a
//! table's block is on its way as soon as it is large enough. So a batch may be large, which makes
//! the inserts of small tables few, and memory does not grow with it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::{decode, Scratch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::gather::Batch;
use super::{watch, PipelineError, Writer};
use crate::handoff::{FrameEntry, Intent, LedgerRow, LedgerStatus, Piece};
use crate::store::{Assembled, Assembler, Reductions, StoreError};
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
    /// It was begun before a crash: its intent is written, and nothing else is certain.
    pub begun: bool,
}

/// A batch that is in the ledger.
pub(super) struct Committed {
    pub number: u64,
    pub ledger: Vec<LedgerRow>,
    pub reductions: Reductions,
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
    running: JoinSet<Result<(Piece, bool), PipelineError>>,
    running_bytes: usize,
    /// Rows given to each table, and whether a request for it had to be sent again.
    given: HashMap<String, (u64, bool)>,
}

/// What the rows of a batch came to.
struct Written {
    assembled: Assembled,
    /// Frames that no program can read.
    refused: Vec<(usize, &'static str)>,
}

impl Committer {
    pub(super) fn new(context: Arc<Writer>) -> Self {
        let catalogue: &'static Catalogue = context.catalogue;
        let assembler = Assembler::new(catalogue);
        Self {
            context,
            assembler,
            scratch: Scratch::default(),
            running: JoinSet::new(),
            running_bytes: 0,
            given: HashMap::new(),
        }
    }

    /// Writes one batch.
    pub(super) async fn commit(&mut self, sealed: Sealed) -> Result<Committed, PipelineError> {
        let Sealed { mut intent, mut batch, begun } = sealed;
        let context = Arc::clone(&self.context);
        let mut doubtful = begun;
        // Also for a batch of ledger rows alone: its number must not be used again after a restart.
        if !begun {
            write_intent(&context, &mut intent).await?;
        }
        let written = loop {
            let written = self.write_rows(&intent, &batch).await?;
            if self.is_whole(&intent, doubtful).await? {
                break written;
            }
            tracing::error!(
                batch = intent.number,
                "ClickHouse lacks rows it said it took; the batch is begun again"
            );
            begin_again(&context, &mut intent).await?;
            doubtful = false;
        };
        let Written { assembled, refused } = written;
        let ledger = ledger_of(&intent, &refused, batch.take_ledger());
        write_ledger(&context, &intent, &ledger, begun).await?;
        note(&context, &intent, &assembled);
        let mut reductions = assembled.reductions;
        reductions.windows.values_mut().for_each(|window| window.batch = intent.number);
        Ok(Committed { number: intent.number, ledger, reductions, batch, refused })
    }

    /// Decodes the frames and inserts their rows.
    async fn write_rows(&mut self, intent: &Intent, batch: &Batch) -> Result<Written, PipelineError> {
        self.given.clear();
        let feed = self.context.feed.as_ref();
        let now_s = (now_us() / 1_000_000) as u32;
        self.assembler.keep_from(feed.map_or(u32::MAX, |_| now_s.saturating_sub(watch::OLDEST_S)));
        let mut refused = Vec::new();
        for (at, arrival) in batch.arrivals().iter().enumerate() {
            // Frames may take long to decode, and the lease must be kept meanwhile.
            tokio::task::yield_now().await;
            match decode(&arrival.bytes, &mut self.scratch) {
                Ok(frame) => self.assembler.append(&frame),
                Err(error) => refused.push((at, error.reason())),
            }
            if intent.cut_rows > 0 {
                for piece in self.assembler.cut(intent.cut_rows as usize) {
                    self.insert(intent, piece).await?;
                }
            }
        }
        let mut assembled = self.assembler.finish();
        // Before the last inserts are done: a batch that is begun again gives seconds that are known then.
        if let Some(feed) = &self.context.feed {
            let counters = &self.context.telemetry.counters;
            Telemetry::add(&counters.watch_old, assembled.reductions.old);
            Telemetry::add(&counters.watch_skipped, assembled.reductions.crowded);
            let mut agents: Vec<String> = intent.frames.iter().map(|frame| frame.agent.clone()).collect();
            agents.sort_unstable();
            agents.dedup();
            feed.offer(&self.context, &assembled.reductions.seconds, agents, batch.is_caught_up());
        }
        for piece in std::mem::take(&mut assembled.pieces) {
            self.insert(intent, piece).await?;
        }
        while self.settle_one().await? {}
        Ok(Written { assembled, refused })
    }

    /// Whether the tables have every row of the batch. Only tables in doubt are asked.
    async fn is_whole(&self, intent: &Intent, all: bool) -> Result<bool, PipelineError> {
        let context = &self.context;
        for (table, (rows, again)) in &self.given {
            if !all && !again {
                continue;
            }
            let found = retry(context, table, || context.store.count_rows(table, &intent.frames)).await?;
            // More than that is possible: a clock that was set back gives two frames the same times.
            if found < *rows {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for an insert; false when none is running.
    async fn settle_one(&mut self) -> Result<bool, PipelineError> {
        let Some(done) = self.running.join_next().await else { return Ok(false) };
        let (piece, again) = done.map_err(|error| failed(&error))??;
        if again {
            self.given.entry(piece.table.clone()).or_default().1 = true;
        }
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
        self.given.entry(piece.table.clone()).or_default().0 += piece.rows as u64;
        let token = intent.token(&piece.table, piece.part);
        let context = Arc::clone(&self.context);
        self.running.spawn(async move {
            let started = Instant::now();
            let store = &context.store;
            let insert = || store.insert_block(&piece.table, &piece.body, &token);
            let ((), failures) = retry_counted(&context, &piece.table, insert).await?;
            context.telemetry.insert_took(started.elapsed());
            Ok((piece, failures > 0))
        });
        Ok(())
    }
}

fn size_of_piece(piece: &Piece) -> usize {
    piece.body.iter().map(bytes::Bytes::len).sum()
}

/// A task of ours that panicked or was stopped.
fn failed(error: &tokio::task::JoinError) -> PipelineError {
    PipelineError::Task(error.to_string())
}

/// Writes an intent and makes sure of it: a batch whose intent is not there could not be finished.
async fn write_intent(context: &Writer, intent: &mut Intent) -> Result<(), PipelineError> {
    loop {
        let write = || context.store.write_intent(intent);
        let ((), failures) = retry_counted(context, "the intent", write).await?;
        if failures == 0 {
            return Ok(());
        }
        let newest = retry(context, "the intent", || context.store.last_intent(intent.partition)).await?;
        if newest.as_ref() == Some(intent) {
            return Ok(());
        }
        intent.created_us = now_us().max(intent.created_us + 1);
    }
}

/// Begins a batch again under new tokens, and deletes what of it, and of its lost frames, is there.
///
/// The new intent is written before anything is deleted: whoever finds it after a crash begins again in
/// the same way, so that no token is ever used for rows that were deleted since.
pub(super) async fn begin_again(context: &Writer, intent: &mut Intent) -> Result<(), PipelineError> {
    intent.attempt += 1;
    intent.created_us = now_us().max(intent.created_us + 1);
    write_intent(context, intent).await?;
    let rows: Vec<FrameEntry> = intent.frames.iter().chain(&intent.lost).cloned().collect();
    retry(context, "deleting an unfinished batch", || context.store.delete_frames(&rows)).await
}

/// Writes the ledger's rows and makes sure of them.
async fn write_ledger(
    context: &Writer,
    intent: &Intent,
    rows: &[LedgerRow],
    begun: bool,
) -> Result<(), PipelineError> {
    let mut left = rows.to_vec();
    let mut part = 0;
    while !left.is_empty() {
        let token = intent.token("ledger", part);
        let write = || context.store.write_ledger(&left, &token);
        let ((), failures) = retry_counted(context, "the ledger", write).await?;
        if failures == 0 && !begun {
            return Ok(());
        }
        left = retry(context, "the ledger", || context.store.missing_in_ledger(rows)).await?;
        part += 1;
    }
    Ok(())
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
pub(super) async fn retry<T, F, Fut>(context: &Writer, what: &str, attempt: F) -> Result<T, PipelineError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    Ok(retry_counted(context, what, attempt).await?.0)
}

/// The same; says how many attempts failed.
async fn retry_counted<T, F, Fut>(
    context: &Writer,
    what: &str,
    mut attempt: F,
) -> Result<(T, u32), PipelineError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let mut pause = FIRST_PAUSE;
    let mut failures = 0;
    loop {
        context.check()?;
        match attempt().await {
            Ok(value) => return Ok((value, failures)),
            Err(error) if error.is_retryable() => {
                failures += 1;
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

fn note(context: &Writer, intent: &Intent, assembled: &Assembled) {
    let counters = &context.telemetry.counters;
    Telemetry::add(&counters.batches_stored, 1);
    Telemetry::add(&counters.frames_stored, intent.frames.len() as u64);
    Telemetry::add(&counters.rows_stored, assembled.rows);
    Telemetry::add(&counters.samples_stored, assembled.samples);
    if assembled.unknown_samples > 0 {
        Telemetry::add(&counters.unknown_samples, assembled.unknown_samples);
        tracing::warn!(
            samples = assembled.unknown_samples,
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
