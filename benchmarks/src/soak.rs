//! Benchmark 3's long half: many agents in real time for half an hour, and whether the memory of
//! collector and engine stays where it is. Flat is a slope of the last two thirds near zero.

use std::io::Write as _;
use std::path::Path as FilePath;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, MissedTickBehavior};

use crate::disk::Disk;
use crate::ingest::{Path, Publisher};
use crate::insight::Insight;
use crate::machine::Machine;
use crate::recording::{players, Recording, Restamper};
use crate::report::{mib, number, Aim, Report, Table};
use crate::settings::Settings;
use crate::stack::Stack;

/// Memory is looked at this often.
const LOOK: u64 = 5;

/// One look.
struct Look {
    second: f64,
    collector: u64,
    engine: u64,
    engine_anonymous: u64,
    nats: u64,
    parts: u64,
}

/// Runs for `settings.seconds` with this many agents.
pub(crate) async fn soak(settings: &Settings, recording: &FilePath, agents: usize) -> anyhow::Result<()> {
    let machine = Machine::look();
    let recording = Recording::read(recording)?;
    let state = settings.state()?;
    let path = Path::start(&Stack::below(state.path())?).await?;
    let publisher = Publisher::open(&path.nats).await?;
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
    let players = players(&recording, agents, 0, now_us);
    let insight = Insight::of(&path).await?;
    let mut restamper = Restamper::default();
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut looks, mut samples, began, before) = (Vec::new(), 0, Instant::now(), path.usage()?);
    for second in 0..settings.seconds_or(1800) {
        clock.tick().await;
        let mut frames = Vec::with_capacity(agents);
        for player in &players {
            let (header, bytes) = restamper.frame(&recording, player, usize::try_from(second)?)?;
            samples += header.samples;
            frames.push((player, second + 1, bytes));
        }
        publisher.publish(frames.into_iter()).await?;
        if second % LOOK == 0 {
            looks.push(look(&path, began).await?);
            if let (true, Some(last)) = (second % 60 == 0, looks.last()) {
                let (collector, engine) = (mib(last.collector), mib(last.engine));
                writeln!(std::io::stderr(), "{second} s: collector {collector}, engine {engine}")?;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_s = path.usage()?.pair_since(&before);
    let insight = Insight::of(&path).await?.table(&insight);
    let gaps = path.sql.number("SELECT count() FROM ledger_gaps").await?;
    let stored = path.sql.number("SELECT sum(samples) FROM ledger WHERE agent LIKE 'agent-%'").await?;
    path.stop().await?;
    let rate = samples as f64 / seconds;
    let title = format!("{} s in real time, {agents} agents, {} samples/s", number(seconds), number(rate));
    let mut report = Report::new("soak", &title, machine);
    let pair = |look: &Look| look.collector + look.engine;
    let most = looks.iter().map(pair).max().unwrap_or(0);
    report.aim(
        "RSS of collector + engine, most",
        "MiB",
        most as f64 / f64::from(1 << 20),
        Aim::AtMost(512.0),
    );
    let later = &looks[looks.len() / 3..];
    let slope =
        slope(later.iter().map(|look| (look.second / 3600.0, pair(look) as f64 / f64::from(1 << 20))));
    report.aim("growth over the last two thirds", "MiB/h", slope, Aim::AtMost(40.0));
    report.aim("rows of ledger_gaps", "", gaps, Aim::AtMost(0.0));
    report.figure("samples_per_second", rate);
    report.table(over_time(&looks));
    report.table(insight);
    report.note(format!("Collector and engine took {} % of a core.", number(100.0 * cpu_s / seconds)));
    report.note(format!(
        "{} of {} samples were in the ledger at the end.",
        number(stored),
        number(samples as f64)
    ));
    report.publish(&settings.results)?;
    Ok(())
}

async fn look(path: &Path, began: Instant) -> anyhow::Result<Look> {
    let costs = path.usage()?;
    let disk = Disk::of(&path.sql).await?;
    Ok(Look {
        second: began.elapsed().as_secs_f64(),
        collector: costs.collector.rss_bytes,
        engine: costs.engine.rss_bytes,
        engine_anonymous: costs.engine.anonymous_bytes,
        nats: costs.nats.rss_bytes,
        parts: disk.raw.parts + disk.rollups.parts + disk.books.parts,
    })
}

fn over_time(looks: &[Look]) -> Table {
    let columns = ["second", "collector", "engine", "engine, anonymous", "nats-server", "parts"];
    let mut table = Table::new("Over time", &columns);
    for look in looks.iter().step_by((looks.len() / 15).max(1)).chain(looks.last()) {
        table.row(&[
            &number(look.second),
            &mib(look.collector),
            &mib(look.engine),
            &mib(look.engine_anonymous),
            &mib(look.nats),
            &number(look.parts as f64),
        ]);
    }
    table
}

/// The slope of the least-squares line.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.clone().count() as f64;
    let (mean_x, mean_y) =
        points.clone().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x) * (x - mean_x);
    }
    if below == 0.0 {
        0.0
    } else {
        above / below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)].into_iter()) - 2.0).abs() < 1e-9);
        assert_eq!(slope([(1.0, 1.0)].into_iter()), 0.0);
    }
}
