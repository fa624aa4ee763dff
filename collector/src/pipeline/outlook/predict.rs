//! What is to be expected of hosts and components: the model in use is given every step it has not seen;
//! without one, the baseline speaks.

use std::collections::HashMap;

use fettle_analysis::outlook::{
    baseline, concerns, reasons, ComponentTracks, HostTracks, OutlookRow, Risk, Sight, Sights, Watch,
};
use fettle_analysis::predict::Model;

use super::super::PipelineError;
use super::read::{Reader, STEP_S};
use super::{Look, RiskRow, Watched, HOLD_S};

/// The model's memory of a component is made again from so many horizons.
const MEMORY: u32 = 3;
/// A step is complete this long after its end: roll-ups of ten seconds are written every ten.
const COMPLETE_S: u32 = 25;

impl Look {
    /// The rows of these hosts and of their components that are up, and keeps what the model remembers.
    pub(super) async fn risks(
        &mut self,
        reader: &Reader<'_>,
        outlooks: &[OutlookRow],
    ) -> Result<Vec<RiskRow>, PipelineError> {
        let horizon_s = self.context.outlook.predict_horizon_s;
        let until = (reader.now.saturating_sub(COMPLETE_S) / STEP_S) * STEP_S;
        let active = self.registry.as_ref().and_then(|registry| registry.active());
        let model = active.map(|version| (version.number.to_string(), &version.model));
        // Without a model only the last step is looked at, and a horizon before it.
        let horizons = if model.is_some() { MEMORY + 1 } else { 1 };
        let from = until.saturating_sub(horizons * horizon_s + HOLD_S);
        let seen = reader.sights(from, until).await?;
        let mut rows = Vec::new();
        let mut watched = HashMap::new();
        for (host, components) in &seen {
            for component in components {
                let key = (host.host.clone(), component.name.clone());
                let sights = Sights { host, component, horizon_s, hold_s: HOLD_S };
                let ends: Vec<&OutlookRow> = outlooks
                    .iter()
                    .filter(|row| row.host == host.host && concerns(row, &component.name))
                    .collect();
                let base = baseline(ends.iter().copied(), f64::from(horizon_s));
                let last = sights.at(until.saturating_sub(STEP_S));
                let before = self.watched.remove(&key);
                let risk = match &model {
                    None => Risk::of_baseline(base),
                    Some((_, model)) => {
                        let before = before.unwrap_or_else(|| Watched {
                            watch: Watch::new(model),
                            next: until.saturating_sub(MEMORY * horizon_s),
                        });
                        let (after, risk) = caught_up(before, model, &sights, until, base);
                        watched.insert(key, after);
                        risk
                    }
                };
                if last.up == Some(false) || !is_seen(host, component, &last) {
                    continue;
                }
                rows.push(RiskRow {
                    host: host.host.clone(),
                    component: component.name.clone(),
                    at: reader.now,
                    horizon_s,
                    model: model.as_ref().map_or("baseline", |(number, _)| number).to_owned(),
                    risk,
                    reasons: reasons(&ends, Some(&last), f64::from(horizon_s)),
                });
            }
        }
        // Components that are gone are forgotten with their hosts' next look.
        self.watched.retain(|(host, _), _| !reader.hosts.contains(host));
        self.watched.extend(watched);
        Ok(rows)
    }
}

/// Whether there is anything to go by.
fn is_seen(host: &HostTracks, component: &ComponentTracks, last: &Sight) -> bool {
    host.memory.is_some() && (component.name.is_empty() || last.up.is_some())
}

/// Gives the model what it has not seen. A failure begins a component's story anew.
fn caught_up(
    mut watched: Watched,
    model: &Model,
    sights: &Sights<'_>,
    until: u32,
    base: f64,
) -> (Watched, Risk) {
    let mut risk = Risk::of_baseline(base);
    for second in (watched.next..until).step_by(STEP_S as usize) {
        let sight = sights.at(second);
        if sight.up == Some(false) {
            watched.watch = Watch::new(model);
            continue;
        }
        risk = watched.watch.step(model, &sight, base);
    }
    watched.next = until.max(watched.next);
    (watched, risk)
}
