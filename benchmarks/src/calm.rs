//! What is said of a host with nothing wrong: this host is left alone for an hour, or what a running Fettle stored of
//! its hosts is taken, and then `fettle replay --calibrate` counts how often each rarity was claimed against how often
//! it was due, and how many incidents there were. Whoever types meanwhile is part of what is seen.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use crate::child::find_program;
use crate::ingest::Path;
use crate::machine::Machine;
use crate::report::{number, Aim, Report, Table};
use crate::settings::Settings;
use crate::sql::Sql;
use crate::stack::{Budget, Stack};

/// What has been recorded already, by a Fettle that runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Recorded {
    /// Its ClickHouse, as 127.0.0.1:8123; without it this host is recorded now.
    #[arg(long, value_name = "ADDRESS", requires = "from")]
    clickhouse: Option<SocketAddr>,
    /// From when on nothing was wrong, as `fettle replay` takes it.
    #[arg(long, value_name = "TIME", requires = "clickhouse", allow_hyphen_values = true)]
    from: Option<String>,
    /// Until when.
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    to: String,
}

/// Ratios of what was said to what was due that count as meaning it.
const TWICE: f64 = 2.0;
/// Progress is told this often.
const TOLD: Duration = Duration::from_secs(300);

/// The benchmark.
pub(crate) async fn calm(settings: &Settings, recorded: &Recorded) -> anyhow::Result<()> {
    let mut machine = Machine::look();
    machine.add_version("fettle", None, "--version");
    if let (Some(address), Some(from)) = (recorded.clickhouse, &recorded.from) {
        let page = replay(address, from, &recorded.to).await?;
        // Questions are asked as a reader; nobody's password is needed.
        let live = live_incidents(&Sql::new(address, "".into()), &page).await?;
        report(machine, &page, live, None)?.publish(&settings.results)?;
        return Ok(());
    }
    let state = settings.state()?;
    let (page, live, costs) = record(settings, state.path()).await?;
    report(machine, &page, live, Some(costs))?.publish(&settings.results)?;
    Ok(())
}

/// CPU of each part, in shares of a core.
struct Costs {
    engine: f64,
    collector: f64,
    nats: f64,
    agent: f64,
}

/// Leaves this host alone, with everything as shipped.
async fn record(settings: &Settings, state: &FilePath) -> anyhow::Result<(Value, f64, Costs)> {
    let stack = Stack::below(state)?;
    let path = Path::start(&stack).await?;
    let agent = stack.agent(&path.nats, Budget::Default).await?;
    let from = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (begun, before, agent_before) = (Instant::now(), path.usage()?, agent.child.usage()?);
    let whole = Duration::from_secs(settings.seconds_or(3_600));
    while begun.elapsed() < whole {
        tokio::time::sleep(TOLD.min(whole.saturating_sub(begun.elapsed()))).await;
        let minutes = begun.elapsed().as_secs() / 60;
        writeln!(std::io::stderr(), "{minutes} of {} minutes; leave this host alone", whole.as_secs() / 60)?;
    }
    let (took, after, agent_after) = (begun.elapsed().as_secs_f64(), path.usage()?, agent.child.usage()?);
    let costs = Costs {
        engine: (after.engine.cpu_s - before.engine.cpu_s) / took,
        collector: (after.collector.cpu_s - before.collector.cpu_s) / took,
        nats: (after.nats.cpu_s - before.nats.cpu_s) / took,
        agent: (agent_after.cpu_s - agent_before.cpu_s) / took,
    };
    // The replay begins with the next whole second, and does not know what was sampled before it.
    let ago = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - from;
    let page = replay(path.clickhouse.address, &format!("-{ago}s"), "now").await?;
    let live = live_incidents(&path.sql, &page).await?;
    agent.child.stop().await?;
    path.stop().await?;
    Ok((page, live, costs))
}

/// What the detectors say of the time, and how often each rarity was due and said.
async fn replay(clickhouse: SocketAddr, from: &str, to: &str) -> anyhow::Result<Value> {
    let program = find_program("fettle", None).context("fettle was not found; run deploy/up --setup-only")?;
    let output = Command::new(program)
        .args(["replay", "--json", "--calibrate", "--url", &format!("http://{clickhouse}")])
        .args([format!("--from={from}"), format!("--to={to}")])
        .kill_on_drop(true)
        .output()
        .await
        .context("fettle replay cannot be started")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("fettle replay did not answer with JSON")
}

/// Incidents that were reported while the samples came.
async fn live_incidents(sql: &Sql, page: &Value) -> anyhow::Result<f64> {
    let time = |key: &str| page[key].as_str().with_context(|| format!("the replay does not say {key}"));
    sql.number(&format!(
        "SELECT uniqExact(incident) FROM anomalies WHERE ts BETWEEN parseDateTime64BestEffort('{}', 6) \
         AND parseDateTime64BestEffort('{}', 6)",
        time("from")?,
        time("to")?
    ))
    .await
}

fn report(machine: Machine, page: &Value, live: f64, costs: Option<Costs>) -> anyhow::Result<Report> {
    let host_seconds = page["host_seconds"].as_f64().context("the replay does not say how long it was")?;
    let hours = host_seconds / 3_600.0;
    let title = format!("{} calm host-hours: what is claimed, and what is reported", number(hours));
    let mut report = Report::new("calm", &title, machine);
    let claims = page["calibration"]["claims"].as_array().context("the replay has no calibration")?;
    calibration(claims, &mut report);
    let mut seen = Table::new("Anomalies of the replay", &["at", "kind", "severity", "reason"]);
    for anomaly in page["anomalies"].as_array().map_or(&[][..], Vec::as_slice) {
        let text = |key: &str| anomaly[key].as_str().unwrap_or_default().replace('|', "/");
        seen.row(&[&text("at"), &text("kind"), &text("severity"), &text("reason")]);
    }
    report.table(seen);
    let replayed = page["incidents"].as_array().map_or(0, Vec::len);
    report.figure("points", page["calibration"]["points"].as_f64().unwrap_or(f64::NAN));
    report.figure("hours", hours);
    report.figure("incidents reported live", live);
    report.figure("incidents by replay", replayed as f64);
    report.note(format!(
        "{} incidents were reported live and {replayed} by the replay, in {} host-hours from {} to {}.",
        number(live),
        number(hours),
        page["from"].as_str().unwrap_or("?"),
        page["to"].as_str().unwrap_or("?"),
    ));
    report.note("The surprise carries a tail on beyond what a series remembers, to put series in order; it is no claim.");
    if let Some(costs) = costs {
        report.note(format!(
            "CPU, of a core: engine {:.1} %, collector {:.1} %, nats-server {:.1} %, agent {:.1} %.",
            100.0 * costs.engine,
            100.0 * costs.collector,
            100.0 * costs.nats,
            100.0 * costs.agent
        ));
    }
    Ok(report)
}

/// A row a power of ten; an aim where enough was due to say anything.
fn calibration(claims: &[Value], report: &mut Report) {
    let columns = [
        "claimed",
        "due",
        "said",
        "in seconds",
        "of the due",
        "due by surprise",
        "said",
        "in seconds",
        "of the due",
    ];
    let mut table = Table::new("Points said to be so rare, against those due", &columns);
    for line in claims {
        let k = line["k"].as_u64().unwrap_or(0);
        let figure = |key: &str| number(line[key].as_f64().unwrap_or(f64::NAN));
        let ratio =
            |key: &str| line[key].as_f64().map_or("too few due".to_owned(), |ratio| format!("{ratio:.2}"));
        table.row(&[
            &format!("1 in 10^{k}"),
            &figure("tail_due"),
            &figure("by_tail"),
            &figure("tail_seconds"),
            &ratio("tail_ratio"),
            &figure("surprise_due"),
            &figure("by_surprise"),
            &figure("surprise_seconds"),
            &ratio("surprise_ratio"),
        ]);
        if let Some(ratio) = line["tail_ratio"].as_f64() {
            let what = format!("1 in 10^{k} claimed: said, of what is due");
            report.aim(&what, "x", ratio, Aim::AtMost(TWICE));
            report.aim(&what, "x", ratio, Aim::AtLeast(1.0 / TWICE));
        }
        if let Some(ratio) = line["surprise_ratio"].as_f64() {
            report.figure(&format!("surprise of 1 in 10^{k}: said, of what is due"), ratio);
        }
    }
    report.table(table);
}
