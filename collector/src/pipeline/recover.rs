//! After a crash: the newest intent has no ledger rows, so some of its blocks may be in ClickHouse
//! and some not. The same frames in the same order give the same blocks with the same tokens, and
//! ClickHouse drops what it has. The frames come again from JetStream or from the agent.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::commit::{commit, retry};
use super::gather::Batch;
use super::{PipelineError, Writer};
use crate::handoff::{FrameEntry, Intent};
use crate::ingest::{Arrival, Event, Source};
use crate::telemetry::Telemetry;

use fettle_shared::frame::verify;

/// Other frames kept meanwhile; more are let go, unacknowledged, and come again.
const HELD_BYTES: usize = 32 << 20;

type Place = HashMap<(String, u64, u64), usize>;

/// Finishes the intent. Gives the other messages that came meanwhile, or none when told to stop.
pub(super) async fn finish(
    context: &Writer,
    source: &mut Source,
    intent: Intent,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Vec<Arrival>>, PipelineError> {
    tracing::info!(batch = intent.number, frames = intent.frames.len(), "finishing an interrupted batch");
    let place: Place =
        intent.frames.iter().enumerate().map(|(at, f)| ((f.agent.clone(), f.boot, f.seq), at)).collect();
    let mut found: Vec<Option<Arrival>> = intent.frames.iter().map(|_| None).collect();
    let mut missing = found.len();
    let mut held = Vec::new();
    let mut held_bytes = 0;
    let deadline = Instant::now() + context.recover_timeout;
    while missing > 0 {
        let event = tokio::select! {
            event = source.next() => event,
            () = tokio::time::sleep_until(deadline) => break,
            _ = stop.changed() => return Ok(None),
        };
        let Event::Arrived(arrival) = event else { continue };
        let arrival = *arrival;
        match position(&place, &intent, &arrival.bytes) {
            Some(at) if found[at].is_none() => {
                found[at] = Some(arrival);
                missing -= 1;
            }
            Some(_) => {}
            None if held_bytes + arrival.bytes.len() <= HELD_BYTES => {
                held_bytes += arrival.bytes.len();
                held.push(arrival);
            }
            None => {}
        }
    }
    let intent = if missing > 0 { give_up(context, intent, &found).await? } else { intent };
    rebuild(context, source, intent, found).await?;
    Ok(Some(held))
}

fn position(place: &Place, intent: &Intent, bytes: &Bytes) -> Option<usize> {
    let header = verify(bytes).ok()?;
    let at = *place.get(&(header.agent.as_str().to_owned(), header.boot, header.seq))?;
    let frame: &FrameEntry = &intent.frames[at];
    (frame.rows == header.rows && frame.samples == header.samples).then_some(at)
}

async fn rebuild(
    context: &Writer,
    source: &Source,
    intent: Intent,
    found: Vec<Option<Arrival>>,
) -> Result<(), PipelineError> {
    let mut batch = Batch::new(context.catalogue);
    for arrival in found.into_iter().flatten() {
        match batch.append(&arrival.bytes) {
            Ok(_) => batch.keep_receipt(arrival.receipt),
            Err(error) => tracing::error!(%error, "a frame that was taken before cannot be read now"),
        }
    }
    let mut committed = commit(context, batch.seal_as(intent)).await?;
    for receipt in committed.batch.take_receipts() {
        receipt.acknowledge().await;
    }
    source.flush().await;
    Telemetry::add(&context.telemetry.counters.recovered_batches, 1);
    Ok(())
}

/// Some frames did not come again in time. Whatever of them reached ClickHouse is deleted, so that
/// they can be stored as new ones if they ever come; the others of the batch are finished.
async fn give_up(
    context: &Writer,
    mut intent: Intent,
    found: &[Option<Arrival>],
) -> Result<Intent, PipelineError> {
    let mut lost = Vec::new();
    let mut at = 0;
    intent.frames.retain(|frame| {
        let keep = found[at].is_some();
        at += 1;
        if !keep {
            lost.push(frame.clone());
        }
        keep
    });
    tracing::error!(
        frames = lost.len(),
        batch = intent.number,
        "frames of an interrupted batch did not come again; they are stored when they do"
    );
    Telemetry::add(&context.telemetry.counters.abandoned_frames, lost.len() as u64);
    retry(context, "deleting abandoned frames", || context.store.delete_frames(&lost)).await?;
    Ok(intent)
}
