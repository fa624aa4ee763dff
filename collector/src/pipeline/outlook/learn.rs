//! Trains the model of failures from stored history, off the line, and keeps every version.

use fettle_analysis::outlook::{
    chosen, offer, stretches, Lengths, Lesson, Sight, Sights, Span, Stretch, FEWEST_FAILURES,
};
use fettle_analysis::predict::Registry;

use super::super::PipelineError;
use super::read::{Reader, STEP_S};
use super::{write, HOLD_S};
use crate::store::{Store, StoredSpan};

/// History that is looked at: as long as ten-second roll-ups are kept by default, less a margin.
const HISTORY_S: u32 = 7 * 86_400 - 3_600;

/// What became of a training.
pub(super) enum Learned {
    /// Failures on record, too few.
    TooFew(usize),
    /// The registry to use from now on, whether the model in it is new.
    Done(Registry, bool),
}

/// Looks for failures of these hosts and learns if there are enough.
pub(super) async fn train(
    store: &Store,
    partition: u16,
    hosts: &[String],
    registry: Registry,
    horizon_s: u32,
    now: u32,
) -> Result<Learned, PipelineError> {
    let lengths = Lengths::new(horizon_s, STEP_S);
    let mut found = Vec::new();
    for host in hosts {
        for stored in store.up_spans(host, now.saturating_sub(HISTORY_S)).await? {
            let StoredSpan { component, spans } = stored;
            found.extend(stretches(
                host,
                &component,
                &spans.into_iter().map(span).collect::<Vec<_>>(),
                lengths,
            ));
        }
    }
    let failures = found.iter().filter(|stretch| stretch.failed).count();
    if failures < FEWEST_FAILURES {
        return Ok(Learned::TooFew(failures));
    }
    let mut seen = Vec::new();
    for stretch in chosen(found) {
        let sights = sights_of(store, &stretch, horizon_s).await?;
        seen.push((stretch, sights));
    }
    let work = tokio::task::spawn_blocking(move || {
        let mut registry = registry;
        let lesson = Lesson::new(seen);
        let offered = offer(&mut registry, &lesson, lengths.settings(), i64::from(now));
        (registry, lesson, offered)
    });
    let (registry, lesson, offered) = work.await.map_err(|e| PipelineError::Task(e.to_string()))?;
    let (model, verdict) = match offered {
        Ok(offered) => offered,
        Err(why) => {
            tracing::info!(%why, "no model of failures was trained");
            return Ok(Learned::TooFew(failures));
        }
    };
    tracing::info!(?verdict, failures, "a model of failures was trained");
    store
        .insert_outlook("models", &[write::model(partition, &registry, &model, verdict, &lesson, now)])
        .await?;
    let fresh = matches!(verdict, fettle_analysis::predict::Verdict::Promoted(..));
    Ok(Learned::Done(registry, fresh))
}

fn span((from, last, state): (f64, f64, u8)) -> Span {
    let up = match state {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    };
    Span { from: from as u32, last: last as u32, up }
}

/// What was seen in a stretch, step by step.
async fn sights_of(store: &Store, stretch: &Stretch, horizon_s: u32) -> Result<Vec<Sight>, PipelineError> {
    let hosts = [stretch.host.clone()];
    let reader = Reader { store, hosts: &hosts, now: stretch.until };
    let from = stretch.from.saturating_sub(horizon_s + HOLD_S);
    for (host, components) in reader.sights(from, stretch.until).await? {
        if let Some(component) = components.iter().find(|component| component.name == stretch.component) {
            let sights = Sights { host: &host, component, horizon_s, hold_s: HOLD_S };
            let steps = (stretch.from..stretch.until).step_by(STEP_S as usize);
            return Ok(steps.map(|second| sights.at(second)).collect());
        }
    }
    Ok(Vec::new())
}
