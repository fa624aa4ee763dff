//! Benchmarks 1 and 2: what the agent takes on this host, what its frames weigh, and next to it the
//! floor and the peers. The agent publishes to a real nats-server; a sink confirms what comes, so the
//! spool works as it does in service.

use std::time::Duration;

use anyhow::Context as _;
use fettle_shared::catalogue::catalogue;

use crate::child::{words, Start};
use crate::floor::{write_plan, Pace};
use crate::machine::Machine;
use crate::peers::{self, Peer};
use crate::plan::{self, Plan};
use crate::report::{mib, number, Aim, Report, Table};
use crate::scrape::Page;
use crate::settings::{Settings, State};
use crate::sink::{Seen, Sink};
use crate::stack::{Budget, Part, Stack};
use crate::usage::Usage;

/// The agent settles before it is measured: files are opened, buffers grow to their size.
const WARM_UP: Duration = Duration::from_secs(5);
/// The agent's own jitter figures are about its last ten seconds.
const JITTER_WINDOW: Duration = Duration::from_secs(10);

/// What one run of the agent showed.
#[derive(Debug)]
struct Run {
    seen: Seen,
    seconds: f64,
    cpu_s: f64,
    usage: Usage,
    /// Samples, as the agent's own counter says.
    own_samples: f64,
    /// (p50, p99, max) of the scan's lateness in µs, one each ten seconds.
    jitter: Vec<[f64; 3]>,
    mode: f64,
    plan: Plan,
}

/// Benchmark 1.
pub(crate) async fn agent(settings: &Settings) -> anyhow::Result<()> {
    let mut machine = Machine::look();
    machine.add_version("fettle-agent", None, "--version");
    machine.add_version("nats-server", Some("FETTLE_NATS_SERVER"), "--version");
    machine.add_version("netdata", None, "-v");
    machine.add_version("prometheus-node-exporter", None, "--version");
    let state = settings.state()?;
    let length = Duration::from_secs(settings.seconds_or(60));
    let run = measure(&state, length, Budget::Default).await?;
    // It slowed down: what the full rate would take is worth knowing, beside the figure that counts.
    let lifted = if run.mode == 0.0 { None } else { Some(measure(&state, length, Budget::Lifted).await?) };
    let floor = run_floor(&state, &run.plan.paces, length.min(Duration::from_secs(30))).await?;
    let title = format!("Agent on this host for {} s", length.as_secs());
    let mut report = Report::new("agent", &title, machine);
    let mut peers = Vec::new();
    let peer_length = length.min(Duration::from_secs(30));
    for found in [
        peers::netdata(state.path(), peer_length).await,
        peers::node_exporter(state.path(), peer_length).await,
    ] {
        match found {
            Ok(Some(peer)) => peers.push(peer),
            Ok(None) => report.note("A peer is not installed (benchmarks/setup-peers)."),
            Err(error) => report.note(format!("A peer could not be measured: {error:#}")),
        }
    }
    write(&mut report, &run, &floor, &peers);
    if let Some(lifted) = lifted {
        report.note(format!(
            "The agent slowed down to keep its budget. With the budget lifted: {} metrics/s, {} % of a core, \
             {} µs a metric, RSS {}.",
            number(lifted.seen.samples as f64 / lifted.seconds),
            number(100.0 * lifted.cpu_s / lifted.seconds),
            number(lifted.cpu_s * 1e6 / lifted.seen.samples.max(1) as f64),
            mib(lifted.usage.rss_bytes),
        ));
    }
    report.publish(&settings.results)?;
    Ok(())
}

/// Benchmark 2.
pub(crate) async fn wire(settings: &Settings) -> anyhow::Result<()> {
    let mut machine = Machine::look();
    machine.add_version("fettle-agent", None, "--version");
    let state = settings.state()?;
    let run = measure(&state, Duration::from_secs(settings.seconds_or(60)), Budget::Lifted).await?;
    let title = format!("Bytes on the wire for {} s of this host", number(run.seconds));
    let mut report = Report::new("wire", &title, machine);
    let seen = &run.seen;
    let per_metric = |bytes: u64| bytes as f64 / seen.samples.max(1) as f64;
    report.aim("bytes per metric, headers included", "B", per_metric(seen.bytes), Aim::AtMost(0.5));
    let mut table = Table::new("Frames", &["figure", "value"]);
    table.row(&["frames", &number(seen.frames as f64)]);
    table.row(&["samples", &number(seen.samples as f64)]);
    table.row(&["rows", &number(seen.rows as f64)]);
    table.row(&["metrics/s", &number(seen.rate())]);
    table.row(&["bytes per frame", &number(seen.bytes as f64 / seen.frames.max(1) as f64)]);
    table.row(&["bytes per metric before compression", &number(per_metric(seen.raw_bytes))]);
    table.row(&["bytes/s", &number(seen.bytes as f64 / run.seconds)]);
    report.table(table);
    report.table(families(seen, run.seconds));
    report.publish(&settings.results)?;
    Ok(())
}

async fn measure(state: &State, length: Duration, budget: Budget) -> anyhow::Result<Run> {
    // A spool of its own: frames that the run before left in it would come again and be counted.
    let place = state.path().join(if matches!(budget, Budget::Lifted) { "lifted" } else { "own" });
    std::fs::create_dir_all(&place)?;
    let stack = Stack::below(&place)?;
    let nats = stack.nats().await?;
    let mut sink = Sink::open(&format!("nats://{}", nats.address), true).await?;
    let agent = stack.agent(&nats, budget).await?;
    sink.listen(WARM_UP, |_| {}).await?;
    let run = watch(&agent, &mut sink, length).await?;
    agent.child.stop().await?;
    nats.child.stop().await?;
    Ok(run)
}

async fn watch(agent: &Part, sink: &mut Sink, length: Duration) -> anyhow::Result<Run> {
    let began = tokio::time::Instant::now();
    let before = agent.child.usage()?;
    let samples_before = own(&Page::of(agent.address).await?, "samples_taken");
    let mut seen = Seen::default();
    let mut jitter = Vec::new();
    while began.elapsed() < length {
        seen.merge(sink.listen(JITTER_WINDOW.min(length - began.elapsed()), |_| {}).await?);
        let page = Page::of(agent.address).await?;
        let late = |quantile: &str| {
            let series = format!("fettle_agent_scan_jitter_seconds{{quantile=\"{quantile}\"}}");
            page.value(&series).map_or(f64::NAN, |seconds| seconds * 1e6)
        };
        jitter.push(["0.5", "0.99", "1"].map(late));
    }
    let usage = agent.child.usage()?;
    let seconds = began.elapsed().as_secs_f64();
    let page = Page::of(agent.address).await?;
    let plan = plan::of(agent.child.pid(), &seen.scans, seconds);
    Ok(Run {
        seconds,
        cpu_s: usage.cpu_s - before.cpu_s,
        usage,
        own_samples: own(&page, "samples_taken") - samples_before,
        jitter,
        mode: own(&page, "mode"),
        plan,
        seen,
    })
}

/// One of the agent's own figures; NaN if its page does not have it.
fn own(page: &Page, figure: &str) -> f64 {
    let name = format!("fettle_agent_{figure}");
    page.value(&name).or_else(|| page.value(&format!("{name}_total"))).unwrap_or(f64::NAN)
}

/// CPU seconds, seconds and reads of the floor over the same files.
struct Floor {
    cpu_s: f64,
    seconds: f64,
    reads: f64,
    bytes: f64,
    files: usize,
}

async fn run_floor(state: &State, paces: &[Pace], length: Duration) -> anyhow::Result<Floor> {
    let plan = state.path().join("floor.plan");
    std::fs::write(&plan, write_plan(paces))?;
    let own = std::env::current_exe()?;
    let mut child = Start {
        name: "floor",
        program: &own,
        arguments: words([&"floor", &"--plan", &plan, &"--seconds", &length.as_secs().to_string()]),
        logs: state.path(),
        environment: Vec::new(),
    }
    .spawn()?;
    child.ended(length + Duration::from_secs(30)).await?;
    let output = child.output();
    let words: Vec<f64> = output.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [cpu_s, seconds, reads, bytes] = words[..] else {
        anyhow::bail!("the floor printed {output:?}");
    };
    Ok(Floor { cpu_s, seconds, reads, bytes, files: paces.iter().map(|pace| pace.paths.len()).sum() })
}

/// Runs the floor in this process and prints CPU seconds, seconds, reads and bytes.
pub(crate) fn floor(plan: &std::path::Path, seconds: u64) -> anyhow::Result<()> {
    use std::io::Write as _;
    let paces = crate::floor::read_plan(plan)?;
    let began = std::time::Instant::now();
    let work = crate::floor::run(&paces, Duration::from_secs(seconds))?;
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_s = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let elapsed = began.elapsed().as_secs_f64();
    writeln!(std::io::stdout(), "{cpu_s} {elapsed} {} {}", work.reads, work.bytes).context("cannot print")
}

fn write(report: &mut Report, run: &Run, floor: &Floor, peers: &[Peer]) {
    let seen = &run.seen;
    let rate = seen.samples as f64 / run.seconds;
    let percent = 100.0 * run.cpu_s / run.seconds;
    let us = run.cpu_s * 1e6 / seen.samples.max(1) as f64;
    let floor_us = floor.cpu_s * 1e6 / (rate * floor.seconds).max(1.0);
    let worst = |at: usize| run.jitter.iter().map(|window| window[at]).fold(0.0, f64::max);
    let middle = crate::settings::median(&run.jitter.iter().map(|window| window[0]).collect::<Vec<_>>());
    report.aim("metrics/s, from the frames received", "", rate, Aim::AtLeast(100_000.0));
    report.aim("CPU of one core", "%", percent, Aim::AtMost(2.0));
    report.aim("CPU per metric", "µs", us, Aim::AtMost(0.2));
    let rss = run.usage.rss_bytes as f64 / f64::from(1 << 20);
    report.aim("RSS", "MiB", rss, Aim::AtMost(20.0));
    report.aim("scan jitter p99, worst 10 s", "ms", worst(1) / 1e3, Aim::AtMost(5.0));
    report.aim("against the floor", "×", us / floor_us, Aim::AtMost(1.5));
    report.aim(
        "wire, headers included",
        "B/metric",
        seen.bytes as f64 / seen.samples.max(1) as f64,
        Aim::AtMost(0.5),
    );
    let mut table = Table::new("The agent's own view", &["figure", "value"]);
    table.row(&["metrics/s, from its own counter", &number(run.own_samples / run.seconds)]);
    table.row(&["metrics/s, from the samples' times", &number(seen.rate())]);
    table.row(&["scan jitter p50, median of 10 s windows", &format!("{} µs", number(middle))]);
    table.row(&["scan jitter max", &format!("{} µs", number(worst(2)))]);
    table.row(&["RSS peak", &mib(run.usage.peak_bytes)]);
    table.row(&["RSS anonymous", &mib(run.usage.anonymous_bytes)]);
    table.row(&["mode at the end (0 is full)", &number(run.mode)]);
    report.table(table);
    let columns = ["collector", "metrics/s", "CPU of one core", "µs per metric", "× Fettle", "RSS"];
    let mut beside = Table::new("Beside it, on this host, in this run", &columns);
    let mut row = |name: &str, rate: f64, cpu: f64, us_each: f64, rss: Option<u64>| {
        let rss = rss.map_or("–".to_owned(), mib);
        beside.row(&[
            name,
            &number(rate),
            &format!("{} %", number(cpu * 100.0)),
            &number(us_each),
            &number(us_each / us),
            &rss,
        ]);
    };
    row("Fettle agent", rate, run.cpu_s / run.seconds, us, Some(run.usage.rss_bytes));
    row("floor: pread of the same files", rate, floor.cpu_s / floor.seconds, floor_us, None);
    for peer in peers {
        let rate = peer.metrics / peer.seconds;
        row(peer.name, rate, peer.cpu_s / peer.seconds, peer.us_per_metric(), Some(peer.rss_bytes));
    }
    report.table(beside);
    report.table(families(seen, run.seconds));
    report.note(format!(
        "The floor kept {} files open and made {} reads/s of {} bytes/s, for {} s; new processes were not looked for.",
        floor.files,
        number(floor.reads / floor.seconds),
        number(floor.bytes / floor.seconds),
        number(floor.seconds),
    ));
    if !run.plan.unknown.is_empty() {
        report.note(format!("Kept files of unknown pace, not in the floor: {:?}.", run.plan.unknown));
    }
}

fn families(seen: &Seen, seconds: f64) -> Table {
    let mut table = Table::new("By family", &["family", "scans/s", "metrics/s"]);
    for (id, samples) in &seen.family_samples {
        let name = catalogue().family_by_id(*id).map_or("?", |family| &family.name);
        let scans = seen.scans.get(id).copied().unwrap_or(0);
        table.row(&[name, &number(scans as f64 / seconds), &number(*samples as f64 / seconds)]);
    }
    table
}
