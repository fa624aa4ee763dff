//! Benchmark 8: the chaos test at full length (`tests/chaos.rs`): real faults, each mended by nobody but Fettle,
//! and by Monit where it can. The test breaks, waits and judges; this calls it and reckons.

use std::collections::BTreeMap;

use crate::child::find_program;
use crate::machine::Machine;
use crate::report::{number, Aim, Report, Table};
use crate::settings::Settings;
use crate::suites;

/// Kinds whose mending takes long by intent, and why.
const SLOW: [(&str, &str); 2] = [
    ("crash_loop", "the service dies again at once; the policy waits 15 s before it tries the same again"),
    (
        "nats_partition",
        "the agent acts by itself only after 4 s without a collector, as the host's file says",
    ),
];

/// Seconds from the fault; none: it never came.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    detected_s: Option<f64>,
    well_s: Option<f64>,
    /// Well and proven by samples; Monit proves nothing.
    recovered_s: Option<f64>,
}

/// Runs by kind, in the order in which kinds first came.
#[derive(Debug, Default)]
struct Runs {
    order: Vec<String>,
    by_kind: BTreeMap<String, Vec<Run>>,
}

impl Runs {
    /// Reads the lines that begin with `who`: `who KIND detected S well S recovered S`.
    fn read(who: &str, lines: &[String]) -> Self {
        let mut runs = Self::default();
        for line in lines {
            // With --nocapture a test's first line follows on its name.
            let line = line.rsplit(" ... ").next().unwrap_or_default();
            let words: Vec<&str> = line.split(' ').collect();
            let &[first, kind, "detected", detected, "well", well, ref rest @ ..] = &*words else { continue };
            if first != who {
                continue;
            }
            let seconds = |text: &str| text.parse().ok();
            let recovered_s = match rest {
                ["recovered", text] => seconds(text),
                _ => None,
            };
            let run = Run { detected_s: seconds(detected), well_s: seconds(well), recovered_s };
            if !runs.by_kind.contains_key(kind) {
                runs.order.push(kind.to_owned());
            }
            runs.by_kind.entry(kind.to_owned()).or_default().push(run);
        }
        runs
    }

    fn all(&self) -> impl Iterator<Item = (&str, &Run)> {
        self.by_kind.iter().flat_map(|(kind, runs)| runs.iter().map(move |run| (kind.as_str(), run)))
    }

    fn of(&self, kind: &str) -> &[Run] {
        self.by_kind.get(kind).map_or(&[], Vec::as_slice)
    }
}

/// The value that so large a share of the values is not above (nearest rank); none of nothing.
fn quantile(values: impl Iterator<Item = Option<f64>>, share: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.flatten().collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Median and 95th percentile.
fn both(runs: &[Run], of: impl Fn(&Run) -> Option<f64>) -> [String; 2] {
    [0.5, 0.95].map(|share| quantile(runs.iter().map(&of), share).map_or_else(|| "-".to_owned(), number))
}

/// The benchmark.
pub(crate) async fn chaos(settings: &Settings, runs: u64, kinds: &str) -> anyhow::Result<()> {
    let mut machine = Machine::look();
    machine.add_version("fettle-collector", None, "--version");
    machine.add_version("fettle-agent", None, "--version");
    machine.add_version("monit", None, "-V");
    let mut environment =
        vec![("FETTLE_CHAOS_KINDS", kinds.to_owned()), ("FETTLE_CHAOS_RUNS", runs.to_string())];
    let monit = find_program("monit", None);
    environment.extend(monit.iter().map(|path| ("FETTLE_CHAOS_MONIT", path.display().to_string())));
    let output = suites::run("chaos", &environment).await?;
    let (own, peer) = (Runs::read("chaos", &output.lines), Runs::read("monit", &output.lines));
    let count = own.all().count();
    let title = format!("{count} real faults of {} kinds, mended by nobody but Fettle", own.order.len());
    let mut report = Report::new("chaos", &title, machine);
    aims(&mut report, &own);
    report.table(own_table(&own));
    if monit.is_none() {
        report.note(
            "Monit was not found (benchmarks/setup-peers installs it), so nothing stands beside Fettle.",
        );
    } else {
        report.table(peer_table(&own, &peer));
    }
    notes(&mut report);
    suites::finish(report, &output, &["chaos in all", "the audit is whole", "is not begun"], settings)
}

fn aims(report: &mut Report, own: &Runs) {
    let count = own.all().count().max(1) as f64;
    let recovered = own.all().filter(|(_, run)| run.recovered_s.is_some()).count() as f64;
    let instant =
        || own.all().filter(|(kind, _)| !SLOW.iter().any(|(slow, _)| slow == kind)).map(|(_, run)| run);
    let p95 = |of: fn(&Run) -> Option<f64>| quantile(instant().map(of), 0.95).unwrap_or(f64::NAN);
    report.aim("kinds of faults", "", own.order.len() as f64, Aim::AtLeast(14.0));
    report.aim("recovered", "%", 100.0 * recovered / count, Aim::AtLeast(95.0));
    report.aim("fault to decision, p95", "s", p95(|run| run.detected_s), Aim::AtMost(3.0));
    report.aim("fault to proven recovery, p95", "s", p95(|run| run.recovered_s), Aim::AtMost(15.0));
    report.figure("fault to well again, p95", p95(|run| run.well_s));
}

fn own_table(own: &Runs) -> Table {
    let columns = [
        "fault",
        "runs",
        "recovered",
        "detected p50, s",
        "p95",
        "well again p50, s",
        "p95",
        "proven p50, s",
        "p95",
    ];
    let mut table = Table::new("Fettle", &columns);
    for kind in &own.order {
        let runs = own.of(kind);
        let recovered = runs.iter().filter(|run| run.recovered_s.is_some()).count();
        let [detected, well, proven] = [
            both(runs, |run| run.detected_s),
            both(runs, |run| run.well_s),
            both(runs, |run| run.recovered_s),
        ];
        let mut row = vec![kind.clone(), runs.len().to_string(), recovered.to_string()];
        row.extend([detected, well, proven].into_iter().flatten());
        table.row(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    table
}

fn peer_table(own: &Runs, peer: &Runs) -> Table {
    let columns = [
        "fault",
        "Monit: runs",
        "well again",
        "detected p50, s",
        "p95",
        "well again p50, s",
        "p95",
        "Fettle: detected p50, s",
        "p95",
        "well again p50, s",
        "p95",
    ];
    let mut table = Table::new("Beside Monit", &columns);
    for kind in &peer.order {
        let (its, ours) = (peer.of(kind), own.of(kind));
        let well = its.iter().filter(|run| run.well_s.is_some()).count();
        let mut row = vec![kind.clone(), its.len().to_string(), well.to_string()];
        for runs in [its, ours] {
            row.extend(both(runs, |run| run.detected_s));
            row.extend(both(runs, |run| run.well_s));
        }
        table.row(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    table
}

fn notes(report: &mut Report) {
    for (kind, why) in SLOW {
        report.note(format!("{kind} is not in the aims' percentiles of time: {why}."));
    }
    report.note(
        "Detected: the decision to do something about it (Monit: its line in the log). Well again: users are \
         served, and what was broken is gone. Proven: samples made after the action have shown it for as long \
         as the policy wants (3 s). A leak, a burnt processor and an overload are counted from their beginning, \
         not from when they become too much.",
    );
    report.note(
        "Monit looks once a second (`set daemon 1`, its fastest) and acts on the first failed look; Fettle's checks \
         come four times a second and two must fail. Monit verifies nothing.",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_test_are_read_and_others_passed_by() {
        let lines: Vec<String> = [
            "test real_faults_are_mended ... chaos crash detected 1.20 well 1.70 recovered 5.00",
            "chaos crash detected never well never recovered never",
            "monit crash detected 0.90 well 2.10",
            "chaos in all: 1 of 2 recovered, 1 actions, none outside policy",
            "chaos hang detected 2.00 well 2.50 recovered 6.00",
        ]
        .map(str::to_owned)
        .into();
        let (own, peer) = (Runs::read("chaos", &lines), Runs::read("monit", &lines));
        assert_eq!(own.order, ["crash", "hang"]);
        let first = Run { detected_s: Some(1.2), well_s: Some(1.7), recovered_s: Some(5.0) };
        assert_eq!(own.of("crash"), [first, Run { detected_s: None, well_s: None, recovered_s: None }]);
        assert_eq!(peer.of("crash"), [Run { detected_s: Some(0.9), well_s: Some(2.1), recovered_s: None }]);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values = || (1..=10).map(|n| Some(f64::from(n)));
        assert_eq!((quantile(values(), 0.5), quantile(values(), 0.95)), (Some(5.0), Some(10.0)));
        assert_eq!(
            (quantile([None].into_iter(), 0.5), quantile([Some(3.0)].into_iter(), 0.0)),
            (None, Some(3.0))
        );
    }
}
