//! Benchmark 6, its timed half: NATS and then ClickHouse are killed with -9 under the agent's full
//! rate and stay away; how soon the line has caught up after that, and whether anything is missing.

use std::time::Duration;

use anyhow::{bail, Context as _};
use tokio::time::Instant;

use crate::disk::samples_in_tables;
use crate::ingest::Path;
use crate::report::{mib, number, Aim, Report, Table};
use crate::scrape::Page;
use crate::stack::{Budget, Part, Stack, AGENT};

/// The line settles before anything is taken away.
const WARM_UP: Duration = Duration::from_secs(5);
/// Caught up is a line whose newest stored sample is not older than this.
const CURRENT_S: f64 = 3.0;
/// Longest wait for that.
const CATCH_UP: Duration = Duration::from_secs(300);

/// What the outages showed.
#[derive(Debug)]
pub(crate) struct Outages {
    /// Which part was away, and how many seconds after its return the line was current again.
    caught_up_s: Vec<(&'static str, f64)>,
    /// Frames sealed by the agent.
    frames: f64,
    /// Frames of these in the ledger.
    stored: f64,
    /// Samples the ledger counts, and the tables hold.
    samples: (f64, f64),
    /// Samples the agent gave up.
    dropped: f64,
    /// Rows of `ledger_gaps`.
    gaps: f64,
    /// Most resident memory of the agent.
    agent_peak: u64,
}

/// Takes NATS and ClickHouse away for this long each.
pub(crate) async fn run(stack: &Stack, away: Duration) -> anyhow::Result<Outages> {
    let mut path = Path::start(stack).await?;
    let agent = stack.agent(&path.nats, Budget::Lifted).await?;
    tokio::time::sleep(WARM_UP).await;
    let mut caught_up_s = Vec::new();
    path.nats.child.kill()?;
    tokio::time::sleep(away).await;
    path.nats = stack.nats_at(path.nats.address).await?;
    caught_up_s.push(("nats-server", caught_up(&path).await?));
    path.clickhouse.child.kill()?;
    tokio::time::sleep(away).await;
    (path.clickhouse, path.sql) = stack.clickhouse_at(path.clickhouse.address).await?;
    caught_up_s.push(("ClickHouse", caught_up(&path).await?));
    let outages = check(&path, agent, caught_up_s).await?;
    path.stop().await?;
    Ok(outages)
}

async fn caught_up(path: &Path) -> anyhow::Result<f64> {
    let began = Instant::now();
    let query =
        format!("SELECT toFloat64(now64(3)) - toFloat64(max(last)) FROM ledger WHERE agent = '{AGENT}'");
    while path.sql.number(&query).await? > CURRENT_S {
        if began.elapsed() > CATCH_UP {
            bail!("the line had not caught up after {CATCH_UP:?}; {}", path.collector.child.tail());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(began.elapsed().as_secs_f64())
}

async fn check(path: &Path, agent: Part, caught_up_s: Vec<(&'static str, f64)>) -> anyhow::Result<Outages> {
    let page = Page::of(agent.address).await?;
    let figure = |name: &str| page.value(name).with_context(|| format!("the agent's page has no {name}"));
    let frames = figure("fettle_agent_last_seq")?;
    let dropped = figure("fettle_agent_dropped_samples_total")?;
    let agent_peak = agent.child.usage()?.peak_bytes;
    agent.child.stop().await?;
    let count = format!("SELECT count() FROM ledger WHERE agent = '{AGENT}' AND seq <= {frames}");
    let began = Instant::now();
    while path.sql.number(&count).await? < frames && began.elapsed() < CATCH_UP {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // What the agent sealed last is stored within a batch or two.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let ledger = format!("SELECT sum(samples) FROM ledger WHERE agent = '{AGENT}' AND status = 'stored'");
    Ok(Outages {
        caught_up_s,
        frames,
        stored: path.sql.number(&count).await?,
        samples: (path.sql.number(&ledger).await?, samples_in_tables(&path.sql, AGENT).await?),
        dropped,
        gaps: path.sql.number("SELECT count() FROM ledger_gaps").await?,
        agent_peak,
    })
}

impl Outages {
    /// Adds what was found.
    pub(crate) fn report(&self, report: &mut Report) {
        report.aim("frames sealed and not in the ledger", "", self.frames - self.stored, Aim::AtMost(0.0));
        report.aim(
            "samples in the tables off the ledger",
            "",
            (self.samples.0 - self.samples.1).abs(),
            Aim::AtMost(0.0),
        );
        report.aim("samples given up", "", self.dropped, Aim::AtMost(0.0));
        report.aim("rows of ledger_gaps", "", self.gaps, Aim::AtMost(0.0));
        let mut table = Table::new("Away, with the agent at its full rate", &["part", "current again after"]);
        for (part, seconds) in &self.caught_up_s {
            table.row(&[part, &format!("{} s", number(*seconds))]);
        }
        report.table(table);
        report.note(format!(
            "{} frames, {} samples; the agent's memory peaked at {}.",
            number(self.frames),
            number(self.samples.0),
            mib(self.agent_peak)
        ));
    }
}
