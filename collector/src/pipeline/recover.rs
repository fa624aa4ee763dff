//! After a crash: the newest intent has no ledger rows, so some of its blocks may be in ClickHouse
//! and some not. The same frames in the same order give the same blocks with the same tokens, and
//! ClickHouse drops what it has. The frames come again from JetStream or from the agent.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::commit::{begin_again, Committer, Sealed};
use super::gather::{dropped_ranges, entry_of, Batch};
use super::{PipelineError, Writer};
use crate::handoff::{FrameEntry, Intent};
use crate::ingest::{Admission, Arrival, Event, Source};
use crate::telemetry::Telemetry;

use fettle_shared::frame::verify;

/// Other frames kept meanwhile; more are let go, unacknowledged, and come again.
const HELD_BYTES: usize = 32 << 20;

type Place = HashMap<(String, u64, u64), usize>;

/// Finishes the intent. Gives the other messages that came meanwhile, or none when told to stop.
///
/// `admission` is what the ledger holds; it says which of the reported drops are written down already.
pub(super) async fn finish(
    context: &Arc<Writer>,
    source: &mut Source,
    intent: Intent,
    admission: &mut Admission,
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
    let mut intent = intent;
    if missing > 0 {
        give_up(context, &mut intent, &found);
    }
    if missing > 0 || intent.attempt > 0 {
        begin_again(context, &mut intent).await?;
    }
    rebuild(context, source, intent, admission, found).await?;
    Ok(Some(held))
}

fn position(place: &Place, intent: &Intent, bytes: &Bytes) -> Option<usize> {
    let header = verify(bytes).ok()?;
    let at = *place.get(&(header.agent.as_str().to_owned(), header.boot, header.seq))?;
    let frame: &FrameEntry = &intent.frames[at];
    (frame.rows == header.rows && frame.samples == header.samples).then_some(at)
}

async fn rebuild(
    context: &Arc<Writer>,
    source: &Source,
    intent: Intent,
    admission: &mut Admission,
    found: Vec<Option<Arrival>>,
) -> Result<(), PipelineError> {
    let mut batch = Batch::default();
    for frame in &intent.frames {
        // A report in the batch may name a frame of the batch: that one is stored, not dropped.
        let _ = admission.admit(&frame.agent, frame.boot, frame.seq);
    }
    for arrival in found.into_iter().flatten() {
        let Ok(header) = verify(&arrival.bytes) else { continue };
        let entry = entry_of(&header);
        let dropped = dropped_ranges(&header, &arrival.bytes).unwrap_or_default();
        batch.account_for_dropped(admission, &entry, &dropped);
        batch.push(entry, arrival);
    }
    let sealed = Sealed { intent, batch, begun: true };
    let mut committed = Committer::new(Arc::clone(context)).commit(sealed).await?;
    super::tell(context, source, admission, &mut committed).await;
    source.flush().await;
    Telemetry::add(&context.telemetry.counters.recovered_batches, 1);
    Ok(())
}

/// Some frames did not come again in time. The batch is begun again without them; they can be stored as
/// new ones if they ever come.
fn give_up(context: &Writer, intent: &mut Intent, found: &[Option<Arrival>]) {
    let mut places = found.iter();
    let (kept, lost): (Vec<FrameEntry>, Vec<FrameEntry>) = std::mem::take(&mut intent.frames)
        .into_iter()
        .partition(|_| places.next().is_some_and(Option::is_some));
    tracing::error!(
        frames = lost.len(),
        batch = intent.number,
        "frames of an interrupted batch did not come again; they are stored when they do"
    );
    Telemetry::add(&context.telemetry.counters.abandoned_frames, lost.len() as u64);
    intent.frames = kept;
    intent.lost.extend(lost);
}
