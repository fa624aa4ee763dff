//! What predictions said of each second of each process, by models that never saw its kind of fault, and
//! by the baseline; and how much of it came.

use fettle_analysis::outlook::{
    baseline, outlooks, ComponentTracks, HostHistory, HostTracks, Lengths, Risk, Scale, Sight, Sights, Track,
    Watch, ALARM,
};
use fettle_analysis::predict::{brier, reliability, train, History, ReliabilityBin, Unit};

use super::record::Recorded;
use super::victim::Kind;

/// The horizon, in seconds.
pub(super) const HORIZON_S: u32 = 20;
/// An alarm this long before the failure is about it: from here on a component does not count as sound.
const CAP_S: u32 = 3 * HORIZON_S;
/// Seconds after its start at which a process is first judged.
const BEGIN_S: u32 = 3;
/// A value that has no newer one counts so long.
const HOLD_S: u32 = 3;
/// The baseline looks at so much history, as the collector does at raw rows.
const RAW_S: u32 = 300;

/// Who predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// What the product uses.
    Blend,
    /// Its regression alone.
    Statistical,
    /// Its echo state network alone.
    Echo,
    /// The outlook of resources alone.
    Baseline,
}

impl Who {
    pub(super) const ALL: [Self; 4] = [Self::Blend, Self::Statistical, Self::Echo, Self::Baseline];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Blend => "blend (shipped)",
            Self::Statistical => "regression alone",
            Self::Echo => "echo state alone",
            Self::Baseline => "baseline alone",
        }
    }

    fn said(self, risk: &Risk) -> f64 {
        match self {
            Self::Blend => risk.probability,
            Self::Statistical => risk.statistical,
            Self::Echo => risk.echo,
            Self::Baseline => risk.baseline,
        }
    }
}

/// What was seen of one process, and what the baseline said.
pub(super) struct Seen {
    pub kind: Kind,
    pub round: usize,
    pub failed: bool,
    until: f64,
    steps: Vec<(Sight, f64)>,
}

/// How one predictor did on some processes.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub failures: usize,
    /// Failures with an alarm no earlier than the cap before them.
    pub foretold: usize,
    /// Seconds from each such alarm to its failure, rising.
    pub leads: Vec<f64>,
    pub harmless: usize,
    /// Harmless processes with an alarm, and failing ones with one earlier than the cap.
    pub false_alarms: usize,
    /// What was said each second, and whether the failure came within the horizon.
    pub pairs: Vec<(f64, bool)>,
}

impl Outcome {
    pub(super) fn precision(&self) -> f64 {
        self.foretold as f64 / (self.foretold + self.false_alarms).max(1) as f64
    }

    pub(super) fn recall(&self) -> f64 {
        self.foretold as f64 / self.failures.max(1) as f64
    }

    /// The lead that this share of the foretold failures had at least.
    pub(super) fn lead(&self, share: f64) -> f64 {
        let at = ((1.0 - share) * self.leads.len() as f64) as usize;
        self.leads.get(at.min(self.leads.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    pub(super) fn brier(&self) -> f64 {
        brier(&self.pairs)
    }

    pub(super) fn reliability(&self) -> Vec<ReliabilityBin> {
        reliability(&self.pairs)
    }

    fn add(&mut self, seen: &Seen, said: &[f64]) {
        let until = seen.until;
        let alarm = |(sight, _): &(Sight, f64), said: f64| {
            (said >= ALARM).then(|| until - f64::from(sight.second) - 1.0)
        };
        let alarms: Vec<f64> =
            seen.steps.iter().zip(said).filter_map(|(step, said)| alarm(step, *said)).collect();
        for ((sight, _), said) in seen.steps.iter().zip(said) {
            let left = until - f64::from(sight.second) - 1.0;
            self.pairs.push((*said, seen.failed && left <= f64::from(HORIZON_S)));
        }
        let cap = f64::from(CAP_S);
        if seen.failed {
            self.failures += 1;
            if let Some(lead) = alarms.iter().copied().find(|left| *left <= cap) {
                self.foretold += 1;
                self.leads.push(lead.max(0.0));
                self.leads.sort_by(f64::total_cmp);
            }
            self.false_alarms += usize::from(alarms.iter().any(|left| *left > cap));
        } else {
            self.harmless += 1;
            self.false_alarms += usize::from(!alarms.is_empty());
        }
    }
}

/// One predictor over all kinds, and by kind of fault that its models had never seen.
#[derive(Debug)]
pub(super) struct Scored {
    pub who: Who,
    pub all: Outcome,
    pub by_kind: Vec<(Kind, Outcome)>,
}

/// What was seen of each process, second by second.
pub(super) fn seen(recorded: &[Recorded]) -> Vec<Seen> {
    recorded.iter().map(one).collect()
}

fn one(recorded: &Recorded) -> Seen {
    let Recorded { run, host, component } = recorded;
    let sights = Sights { host, component, horizon_s: HORIZON_S, hold_s: HOLD_S };
    let steps = (run.from + BEGIN_S..run.until as u32)
        .map(|second| (sights.at(second), resources(host, component, second)))
        .collect();
    Seen { kind: run.kind, round: run.round, failed: run.failed, until: run.until, steps }
}

/// What the outlook of resources said at a second: the end within the horizon of the host's memory and
/// descriptors, the process's memory and its file system.
fn resources(host: &HostTracks, component: &ComponentTracks, now: u32) -> f64 {
    let cut = |track: &Track| before(track, now);
    let scale = Scale {
        step_s: 1,
        memory: host.memory.as_ref().map(cut),
        load: host.load.as_ref().map(cut),
        filesystems: host.filesystems.iter().map(cut).collect(),
        processes: component.processes.iter().map(cut).collect(),
        // The victims of this benchmark share a host's table of connections and leave it alone; what they may
        // open was not recorded.
        ..Scale::default()
    };
    let history = HostHistory { host: host.host.clone(), now, scales: vec![scale] };
    let rows = outlooks(&history);
    baseline(rows.iter(), f64::from(HORIZON_S))
}

/// What was known of a track at a second.
fn before(track: &Track, now: u32) -> Track {
    let from = now.saturating_sub(RAW_S).max(track.start);
    let first = ((from - track.start) as usize).min(track.steps());
    let end = ((now + 1).saturating_sub(track.start) as usize).clamp(first, track.steps());
    let columns = track.columns.iter().map(|column| column[first..end].to_vec()).collect();
    Track { entity: track.entity.clone(), start: from, step_s: 1, columns }
}

/// Scores everyone. A kind of fault is judged by the model that learned from the other kinds; harmless
/// processes of odd rounds, which teach nothing, are judged by each of these models.
///
/// # Errors
/// Too few faults of the other kinds to learn from.
pub(super) fn score(seen: &[Seen]) -> anyhow::Result<Vec<Scored>> {
    let settings = Lengths { horizon_s: HORIZON_S, cap_s: CAP_S, step_s: 1 }.settings();
    let mut scored: Vec<Scored> =
        Who::ALL.map(|who| Scored { who, all: Outcome::default(), by_kind: Vec::new() }).into();
    let harmless = |one: &Seen| Kind::HARMLESS.contains(&one.kind);
    for kind in Kind::FAULTS {
        let teaches =
            |one: &&Seen| if harmless(one) { one.round.is_multiple_of(2) } else { one.kind != kind };
        let unit = |one: &Seen| Unit {
            rows: one.steps.iter().map(|(sight, _)| sight.row.clone()).collect(),
            failed: one.failed,
        };
        let history = History { units: seen.iter().filter(teaches).map(unit).collect() };
        let model = train(&history, settings)?;
        let judged = seen.iter().filter(|one| one.kind == kind || (harmless(one) && one.round % 2 == 1));
        let mut outcomes = vec![Outcome::default(); scored.len()];
        for one in judged {
            let mut watch = Watch::new(&model);
            let risks: Vec<Risk> =
                one.steps.iter().map(|(sight, base)| watch.step(&model, sight, *base)).collect();
            for (outcome, who) in outcomes.iter_mut().zip(Who::ALL) {
                let said: Vec<f64> = risks.iter().map(|risk| who.said(risk)).collect();
                outcome.add(one, &said);
            }
        }
        for (scored, outcome) in scored.iter_mut().zip(outcomes) {
            scored.all.merge(&outcome);
            scored.by_kind.push((kind, outcome));
        }
    }
    Ok(scored)
}

impl Outcome {
    fn merge(&mut self, other: &Self) {
        self.failures += other.failures;
        self.foretold += other.foretold;
        self.harmless += other.harmless;
        self.false_alarms += other.false_alarms;
        self.leads.extend(&other.leads);
        self.leads.sort_by(f64::total_cmp);
        self.pairs.extend(&other.pairs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(failed: bool, seconds: u32) -> Seen {
        let step = |second| (Sight { second, row: Vec::new(), up: None }, 0.0);
        Seen {
            kind: Kind::Leak,
            round: 0,
            failed,
            until: f64::from(seconds),
            steps: (0..seconds).map(step).collect(),
        }
    }

    #[test]
    fn alarms_count_once_a_process_and_early_ones_as_false() {
        let mut outcome = Outcome::default();
        let said = |from: u32, until: u32| -> Vec<f64> {
            (0..100).map(|at| if (from..until).contains(&at) { 0.9 } else { 0.1 }).collect()
        };
        outcome.add(&process(true, 100), &said(75, 100));
        outcome.add(&process(true, 100), &said(10, 12));
        outcome.add(&process(false, 100), &said(50, 60));
        outcome.add(&process(false, 100), &said(0, 0));
        assert_eq!((outcome.failures, outcome.foretold, outcome.false_alarms), (2, 1, 2));
        assert_eq!(outcome.leads, [24.0]);
        assert!((outcome.precision() - 1.0 / 3.0).abs() < 1e-9 && outcome.recall() == 0.5);
        let came = outcome.pairs.iter().filter(|(_, came)| *came).count();
        assert_eq!(came, 2 * (HORIZON_S as usize + 1));
    }
}
