//! Benchmark 12: real faults on this host, foretold. Processes leak memory, use up descriptors, fill file
//! systems and lose their CPU until they fail, beside others that only look so; the agent samples them
//! once a second, the collector stores it, and what was stored teaches and judges.
//!
//! Judged is what was never learned: each kind of fault by a model that has seen the other three alone, and
//! half of the harmless processes. Beside it stands the baseline, the outlook of the resources that the
//! collector knows the capacity of. Time is compressed: the horizon is twenty seconds where the collector's
//! is ten minutes, and a step is a second where its is ten; the code is the same.

mod plan;
mod record;
mod score;
pub(crate) mod victim;

use crate::ingest::Path;
use crate::machine::Machine;
use crate::report::{number, Aim, Report, Table};
use crate::settings::Settings;
use crate::stack::Stack;

use score::{Scored, Seen, Who};

/// Seconds of recording.
const SECONDS: u64 = 480;
/// What the agent is told: everything that a victim may use up once a second.
const AGENT: &str = "[sample]\ncpu_budget = \"100%\"\nrediscover_interval = \"1s\"\n\
                     families.filesystem.interval = \"1s\"\nfamilies.process_detail.interval = \"1s\"\n";

/// Records victims and scores predictions about them.
pub(crate) async fn failure(settings: &Settings) -> anyhow::Result<()> {
    let machine = Machine::look();
    let state = settings.state()?;
    let stack = Stack::below(state.path())?;
    let path = Path::start(&stack).await?;
    let agent = stack.agent_with(&path.nats, Some(AGENT)).await?;
    let planned = plan::plan(settings.seconds_or(SECONDS) as f64);
    let runs = record::run(&planned, state.path()).await?;
    let recorded = record::read(&path.sql, runs).await?;
    agent.child.stop().await?;
    path.stop().await?;
    let seen = score::seen(&recorded);
    let failed = seen.iter().filter(|one| one.failed).count();
    let scored = score::score(&seen)?;
    let title = format!(
        "Real faults foretold: {} processes, {failed} of them failed, horizon {} s",
        seen.len(),
        score::HORIZON_S
    );
    let mut report = Report::new("failure", &title, machine);
    write(&mut report, &seen, &scored);
    report.publish(&settings.results)?;
    Ok(())
}

fn write(report: &mut Report, seen: &[Seen], scored: &[Scored]) {
    let of = |who: Who| scored.iter().find(|scored| scored.who == who).map(|scored| &scored.all);
    let (Some(blend), Some(baseline)) = (of(Who::Blend), of(Who::Baseline)) else { return };
    report.aim("recall at 0.5, unseen faults", "", blend.recall(), Aim::AtLeast(baseline.recall()));
    report.aim("precision at 0.5, unseen faults", "", blend.precision(), Aim::AtLeast(baseline.precision()));
    report.aim("median lead of those foretold", "s", blend.lead(0.5), Aim::AtLeast(5.0));
    report.aim("Brier score", "", blend.brier(), Aim::AtMost(baseline.brier()));
    let columns = [
        "who",
        "failures",
        "foretold",
        "false alarms",
        "recall",
        "precision",
        "lead, median",
        "lead, 9 of 10",
        "Brier",
    ];
    let mut table = Table::new("Every kind of fault judged by models that never saw it", &columns);
    for scored in scored {
        row(&mut table, scored.who.name(), &scored.all);
    }
    report.table(table);
    let mut columns = columns;
    columns[0] = "kind of fault, who";
    let mut table = Table::new("By kind", &columns);
    for scored in scored.iter().filter(|scored| matches!(scored.who, Who::Blend | Who::Baseline)) {
        for (kind, outcome) in &scored.by_kind {
            row(&mut table, &format!("{}, {}", kind.name(), scored.who.name()), outcome);
        }
    }
    report.table(table);
    let mut table = Table::new("Blend: what was said and what came", &["said", "came", "seconds"]);
    for bin in blend.reliability() {
        table.row(&[&number(bin.said), &number(bin.came), &number(bin.count as f64)]);
    }
    report.table(table);
    for kind in victim::Kind::FAULTS {
        let of_kind: Vec<&Seen> = seen.iter().filter(|one| one.kind == kind).collect();
        let failed = of_kind.iter().filter(|one| one.failed).count();
        report.note(format!("{}: {failed} of {} processes failed.", kind.name(), of_kind.len()));
    }
    report.note(
        "A failure is foretold by an alarm no earlier than three horizons before it; an alarm earlier than that, or of \
         a process that does not fail, is a false one. A process counts once of each. Harmless processes of odd \
         rounds are judged by each of the four models, those of even rounds teach.",
    );
    report.note("The baseline knows the capacity of memory and of file systems; of a process's descriptors it does not.");
}

fn row(table: &mut Table, name: &str, outcome: &score::Outcome) {
    table.row(&[
        name,
        &number(outcome.failures as f64),
        &number(outcome.foretold as f64),
        &number(outcome.false_alarms as f64),
        &number(outcome.recall()),
        &number(outcome.precision()),
        &format!("{} s", number(outcome.lead(0.5))),
        &format!("{} s", number(outcome.lead(0.9))),
        &number(outcome.brier()),
    ]);
}
