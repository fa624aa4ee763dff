//! Benchmark 3, put together: Fettle's whole path beside VictoriaMetrics, over the same samples.

use std::path::Path as FilePath;

use crate::disk::{samples_in_tables, wrong_rollups, Disk};
use crate::ingest::{prepare, run, Costs, Load, Outcome, Path};
use crate::machine::Machine;
use crate::recording::Recording;
use crate::report::{mib, number, Aim, Report, Table};
use crate::settings::Settings;
use crate::stack::Stack;
use crate::victoria::{self, Food, Victoria};

/// What the comparison is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Agents that are replayed.
    pub(crate) agents: usize,
    /// Leave VictoriaMetrics out.
    pub(crate) alone: bool,
}

/// Disk of ClickHouse at rest and after OPTIMIZE FINAL, and what was checked in the tables.
struct Kept {
    rest: Disk,
    optimized: Disk,
    samples: f64,
    wrong_rollups: f64,
}

/// Benchmark 3.
pub(crate) async fn ingest(settings: &Settings, recording: &FilePath, scale: Scale) -> anyhow::Result<()> {
    let mut machine = Machine::look();
    machine.add_version("fettle-collector", None, "--version");
    machine.add_version("nats-server", Some("FETTLE_NATS_SERVER"), "--version");
    machine.add_version("victoria-metrics", None, "-version");
    let recording = Recording::read(recording)?;
    let frames_each = usize::try_from(settings.seconds_or(180))?.min(recording.len());
    let load = prepare(&recording, scale.agents, frames_each)?;
    let state = settings.state()?;
    let path = Path::start(&Stack::below(state.path())?).await?;
    let version = path.sql.rows("SELECT version()").await?.concat().concat();
    machine.add("ClickHouse, embedded", &version);
    let title = format!(
        "Whole path: {} samples in {} frames of {} agents, {frames_each} s each",
        number(load.samples as f64),
        number((load.frames.len() * frames_each) as f64),
        scale.agents,
    );
    let mut report = Report::new("ingest", &title, machine);
    let mut outcome = run(&path, &load).await?;
    let rest = Disk::of(&path.sql).await?;
    let samples = samples_in_tables(&path.sql, "agent-%").await?;
    let wrong_rollups = wrong_rollups(&path.sql, "agent-%").await?;
    Disk::optimize(&path.sql).await?;
    let optimized = Disk::of(&path.sql).await?;
    path.stop().await?;
    let kept = Kept { rest, optimized, samples, wrong_rollups };
    let mut peers = Vec::new();
    if !scale.alone {
        let measured = fed(&mut report, state.path(), &load).await;
        match measured {
            Ok(found) => peers = found,
            Err(error) => report.note(format!("VictoriaMetrics was not measured: {error:#}")),
        }
    }
    aims(&mut report, &load, &outcome, &kept, &peers);
    report.table(side_by_side(&load, &outcome, &kept, &peers));
    report.table(parts(&outcome));
    report.table(std::mem::take(&mut outcome.insight));
    report.table(tables(&kept, load.samples));
    notes(&mut report, &load, &outcome, &kept, &peers);
    report.publish(&settings.results)?;
    Ok(())
}

/// VictoriaMetrics, fed in every way.
async fn fed(report: &mut Report, state: &FilePath, load: &Load) -> anyhow::Result<Vec<Victoria>> {
    let one = victoria::measure(state, Food::Lines(&load.frames, 1), false).await?;
    let ten = victoria::measure(state, Food::Lines(&load.frames, 10), true).await?;
    let (Some((one, _)), Some((ten, exported))) = (one, ten) else {
        report.note("VictoriaMetrics is not installed (benchmarks/setup-peers).");
        return Ok(Vec::new());
    };
    if exported.is_empty() {
        report.note("VictoriaMetrics gave no native export, so that its import was not measured.");
        return Ok(vec![one, ten]);
    }
    let native = match victoria::measure(state, Food::Native(&exported, load.samples), false).await {
        Ok(native) => native.map(|(native, _)| native),
        Err(error) => {
            report.note(format!("VictoriaMetrics' native import was not measured: {error:#}"));
            None
        }
    };
    Ok([Some(one), Some(ten), native].into_iter().flatten().collect())
}

/// Samples a CPU-second of collector and engine, to rest.
fn per_cpu_second(load: &Load, outcome: &Outcome, at: &Costs) -> f64 {
    load.samples as f64 / at.pair_since(&outcome.before).max(0.001)
}

fn aims(report: &mut Report, load: &Load, outcome: &Outcome, kept: &Kept, peers: &[Victoria]) {
    let own = per_cpu_second(load, outcome, &outcome.settled) / 1e6;
    let own_bytes = kept.rest.raw.bytes as f64 / load.samples as f64;
    let common = peers.iter().filter(|peer| peer.common);
    if let Some(best) = common.min_by(|a, b| a.cpu_settled_s.total_cmp(&b.cpu_settled_s)) {
        let theirs = best.samples as f64 / best.cpu_settled_s.max(0.001) / 1e6;
        let what = format!("samples per CPU-second against VictoriaMetrics ({})", best.path);
        report.aim(&what, "×", own / theirs, Aim::AtLeast(4.0));
        let bytes = best.bytes_per_sample(best.disk);
        report.aim(
            "bytes per sample against VictoriaMetrics, both at rest",
            "×",
            own_bytes / bytes,
            Aim::AtMost(0.5),
        );
    }
    report.aim("samples per CPU-second of collector + engine, at rest", "M", own, Aim::AtLeast(10.0));
    let wall = load.samples as f64 / outcome.stored_s / 1e6;
    report.aim("samples/s wall, publisher and nats-server on the same cores", "M", wall, Aim::AtLeast(5.0));
    let peak = outcome.peak_pair as f64 / f64::from(1 << 20);
    report.aim("RSS of collector + engine, most", "MiB", peak, Aim::AtMost(512.0));
    report.aim("bytes per sample on disk, raw tables at rest", "B", own_bytes, Aim::AtMost(0.1));
    report.aim(
        "samples missing or double in the tables",
        "",
        (kept.samples - load.samples as f64).abs(),
        Aim::AtMost(0.0),
    );
    report.aim("rows of ledger_gaps", "", outcome.gaps, Aim::AtMost(0.0));
    report.aim("10 s roll-up rows that differ from the raw rows", "", kept.wrong_rollups, Aim::AtMost(0.0));
}

fn side_by_side(load: &Load, outcome: &Outcome, kept: &Kept, peers: &[Victoria]) -> Table {
    let columns = [
        "path",
        "M samples per CPU-s, accepted",
        "M samples per CPU-s, at rest",
        "M samples/s wall",
        "RSS peak",
        "B/sample at rest",
        "B/sample after forced merge",
    ];
    let mut table = Table::new("Side by side, the same samples", &columns);
    let samples = load.samples as f64;
    table.row(&[
        "Fettle: collector + engine, 10 s roll-ups made",
        &number(per_cpu_second(load, outcome, &outcome.stored) / 1e6),
        &number(per_cpu_second(load, outcome, &outcome.settled) / 1e6),
        &number(samples / outcome.stored_s / 1e6),
        &mib(outcome.peak_pair),
        &number(kept.rest.raw.bytes as f64 / samples),
        &number(kept.optimized.raw.bytes as f64 / samples),
    ]);
    for peer in peers {
        let samples = peer.samples as f64;
        table.row(&[
            &format!("VictoriaMetrics: {}", peer.path),
            &number(samples / peer.cpu_s.max(0.001) / 1e6),
            &number(samples / peer.cpu_settled_s.max(0.001) / 1e6),
            &number(samples / peer.seconds / 1e6),
            &mib(peer.peak_bytes),
            &number(peer.bytes_per_sample(peer.disk)),
            &number(peer.bytes_per_sample(peer.disk_merged)),
        ]);
    }
    table
}

fn parts(outcome: &Outcome) -> Table {
    let columns = ["part", "CPU s, stored", "CPU s, at rest", "RSS at rest", "anonymous", "RSS peak"];
    let mut table = Table::new("Fettle's parts", &columns);
    let (before, stored, settled) = (&outcome.before, &outcome.stored, &outcome.settled);
    for (name, pick) in [
        ("collector", (|costs: &Costs| costs.collector) as fn(&Costs) -> _),
        ("engine", |costs| costs.engine),
        ("nats-server", |costs| costs.nats),
        ("publisher and questions (the benchmark)", |costs| costs.publisher),
    ] {
        let (before, stored, settled) = (pick(before), pick(stored), pick(settled));
        table.row(&[
            name,
            &number(stored.cpu_s - before.cpu_s),
            &number(settled.cpu_s - before.cpu_s),
            &mib(settled.rss_bytes),
            &mib(settled.anonymous_bytes),
            &mib(settled.peak_bytes),
        ]);
    }
    table
}

fn tables(kept: &Kept, samples: u64) -> Table {
    let columns = ["tables", "rows", "parts", "bytes", "B/sample", "bytes after OPTIMIZE FINAL"];
    let mut table = Table::new("On disk", &columns);
    let (rest, after) = (&kept.rest, &kept.optimized);
    let mut row = |name: &str, share: &crate::disk::Share, bytes_after: Option<u64>| {
        table.row(&[
            name,
            &number(share.rows as f64),
            &number(share.parts as f64),
            &number(share.bytes as f64),
            &number(share.bytes as f64 / samples as f64),
            &bytes_after.map_or("–".to_owned(), |bytes| number(bytes as f64)),
        ]);
    };
    row("raw, all families", &rest.raw, Some(after.raw.bytes));
    row("roll-ups", &rest.rollups, None);
    row("ledger, intents, logs", &rest.books, None);
    for (name, share) in rest.families.iter().filter(|(_, share)| share.bytes > rest.raw.bytes / 100) {
        let bytes_after =
            after.families.iter().find(|(other, _)| other == name).map(|(_, share)| share.bytes);
        row(&format!("raw: {name}"), share, bytes_after);
    }
    table
}

fn notes(report: &mut Report, load: &Load, outcome: &Outcome, kept: &Kept, peers: &[Victoria]) {
    report.note(format!(
        "Published within {} s, in the ledger after {} s, at rest after {} s; {} bytes of frames, {} a sample.",
        number(outcome.published_s),
        number(outcome.stored_s),
        number(outcome.settled_s),
        number(load.bytes as f64),
        number(load.bytes as f64 / load.samples as f64),
    ));
    let idle_s = (outcome.idle.0 + outcome.idle.1) * outcome.settled_s;
    let busy_s = (outcome.settled.pair_since(&outcome.before) - idle_s).max(0.001);
    report.note(format!(
        "Idle, the collector takes {} % and the engine {} % of a core. That is in the figures; without it, at \
         rest: {} M samples per CPU-second.",
        number(outcome.idle.0 * 100.0),
        number(outcome.idle.1 * 100.0),
        number(load.samples as f64 / busy_s / 1e6),
    ));
    report.note(format!(
        "Ledger: {} samples; counted in the raw tables: {}.",
        number(outcome.ledger_samples),
        number(kept.samples)
    ));
    for peer in peers {
        report.note(format!(
            "VictoriaMetrics, {}: {} samples sent as {} bytes of text in {} s, {} rows in its storage; \
             data {} and index {} bytes at rest.",
            peer.path,
            number(peer.samples as f64),
            number(peer.sent_bytes as f64),
            number(peer.seconds),
            number(peer.stored),
            number(peer.disk.0 as f64),
            number(peer.disk.1 as f64),
        ));
    }
    report.note(
        "VictoriaMetrics is fed JSON lines, its documented bulk import, by this one process over one \
         connection; what the process itself takes to write them is not counted against it.",
    );
}
