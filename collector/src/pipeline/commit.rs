//! Writes batches: intent, blocks, ledger, in this order, each until it succeeds. Every request can
//! be sent again, because ClickHouse knows it by its token.

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::gather::Batch;
use super::{PipelineError, Writer};
use crate::handoff::{Intent, LedgerRow};
use crate::store::{Assembled, PartialWindows, StoreError};
use crate::telemetry::Telemetry;

/// Inserts that run at the same time.
const PARALLEL_INSERTS: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A closed batch on its way to ClickHouse.
pub(super) struct Sealed {
    pub intent: Intent,
    pub assembled: Assembled,
    pub ledger: Vec<LedgerRow>,
    pub batch: Batch,
}

/// A batch that is in the ledger.
pub(super) struct Committed {
    pub number: u64,
    pub ledger: Vec<LedgerRow>,
    pub windows: PartialWindows,
    pub blocks: Vec<(String, Vec<Bytes>)>,
    pub batch: Batch,
}

/// Commits what comes, in order, until the channel closes or ClickHouse refuses for good.
pub(super) async fn run(
    context: Writer,
    mut batches: mpsc::Receiver<Sealed>,
    done: mpsc::Sender<Result<Committed, PipelineError>>,
) {
    while let Some(sealed) = batches.recv().await {
        let outcome = commit(&context, sealed).await;
        let failed = outcome.is_err();
        if done.send(outcome).await.is_err() || failed {
            return;
        }
    }
}

/// Writes one batch.
pub(super) async fn commit(context: &Writer, sealed: Sealed) -> Result<Committed, PipelineError> {
    let Sealed { intent, assembled, ledger, batch } = sealed;
    let number = intent.number;
    if !intent.frames.is_empty() {
        retry(context, "the intent", || context.store.write_intent(&intent)).await?;
        let mut running = FuturesUnordered::new();
        for (table, body) in &assembled.blocks {
            if running.len() == PARALLEL_INSERTS {
                running.try_next().await?;
            }
            running.push(insert(context, &intent, table, body));
        }
        while running.try_next().await?.is_some() {}
    }
    if !ledger.is_empty() {
        let token = intent.token("ledger");
        retry(context, "the ledger", || context.store.write_ledger(&ledger, &token)).await?;
    }
    note(context, &assembled, &intent);
    let Assembled { windows, blocks, .. } = assembled;
    Ok(Committed { number, ledger, windows, blocks, batch })
}

async fn insert(context: &Writer, intent: &Intent, table: &str, body: &[Bytes]) -> Result<(), PipelineError> {
    let token = intent.token(table);
    let started = Instant::now();
    retry(context, table, || context.store.insert_block(table, body, &token)).await?;
    context.telemetry.insert_took(started.elapsed());
    Ok(())
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

fn note(context: &Writer, assembled: &Assembled, intent: &Intent) {
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
