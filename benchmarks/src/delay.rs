//! How soon a real fault is an anomaly that can be asked for: stress-ng takes this host's processors, memory,
//! disks, processes and sockets for some seconds each, with calm between, and ClickHouse is asked again and
//! again for an anomaly that was not there before. Time runs from the start of the fault's process to the
//! answer that shows the row.

use std::process::Stdio;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::process::Command;
use tokio::time::Instant;

use crate::child::find_program;
use crate::ingest::Path;
use crate::machine::Machine;
use crate::report::{number, Aim, Report, Table};
use crate::scrape::Page;
use crate::settings::{median, Settings};
use crate::stack::{Budget, Stack, AGENT};

/// Nothing is reported of a host's first 300 s; a young host has seen little, and needs more to speak.
const LEARNING: Duration = Duration::from_secs(600);
/// How long a fault lasts, and the calm after it. The calm is longer than the hold-off below.
const FAULT_S: u64 = 5;
const CALM: Duration = Duration::from_secs(11);
/// A fault whose row is not there after this long was missed.
const LONGEST: Duration = Duration::from_secs(10);
/// Pause between two questions; they are asked all the time, or they would themselves be what is new.
const PAUSE: Duration = Duration::from_millis(100);
/// As shipped but for two things that say how often is reported, not how soon: after a trouble a minute of
/// calm would be waited for, and each report would raise what the next one needs.
const CONFIGURATION: &str = "[analysis]\ncalm_s = 8\nreport_step = 0.0\n";

/// Kind and arguments of each fault; sizes are kept small enough for a host of 4 GiB.
const FAULTS: [(&str, &str); 22] = [
    ("cpu, all processors", "--cpu 0"),
    ("memory, 512 MiB written", "--vm 1 --vm-bytes 512m"),
    ("disk, written", "--hdd 1 --hdd-bytes 256m"),
    ("forks", "--fork 2"),
    ("context switches", "--switch 2"),
    ("cpu, one processor", "--cpu 1"),
    ("sync", "--io 2"),
    ("pipes", "--pipe 2"),
    ("mapped memory", "--mmap 1 --mmap-bytes 256m"),
    ("sockets", "--sock 1"),
    ("matrix products", "--matrix 0"),
    ("page faults", "--fault 1"),
    ("allocations", "--malloc 2 --malloc-bytes 256m"),
    ("datagrams", "--udp 1"),
    ("timers", "--timer 1 --timer-freq 100000"),
    ("open files", "--open 1"),
    ("threads", "--pthread 1"),
    ("mixed input and output", "--iomix 1 --iomix-bytes 128m"),
    ("futexes", "--futex 1"),
    ("directory entries", "--dentry 1"),
    ("messages", "--msg 1"),
    ("memory, grown", "--bigheap 1 --bigheap-growth 16m"),
];

/// What became of one fault.
struct Outcome {
    kind: &'static str,
    delay_s: Option<f64>,
    what: String,
}

/// The benchmark; `faults` of them at most.
pub(crate) async fn delay(settings: &Settings, faults: usize) -> anyhow::Result<()> {
    let mut machine = Machine::look();
    machine.add_version("fettle-collector", None, "--version");
    machine.add_version("fettle-agent", None, "--version");
    machine.add_version("stress-ng", None, "--version");
    let stress =
        find_program("stress-ng", None).context("stress-ng was not found; run benchmarks/setup-peers")?;
    let state = settings.state()?;
    let stack = Stack::below(state.path())?;
    let path = Path::configured(&stack, CONFIGURATION).await?;
    let agent = stack.agent(&path.nats, Budget::Lifted).await?;
    let asker = Asker::default();
    let mut outcomes = Vec::new();
    let mut calm_rows = 0.0;
    let faults = async {
        tokio::time::sleep(LEARNING).await;
        calm_rows = rows_since(&path, 0).await?;
        for (kind, arguments) in FAULTS.into_iter().cycle().take(faults) {
            outcomes.push(fault(&asker, &stress, state.path(), kind, arguments).await?);
            tokio::time::sleep(CALM).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = faults => done?,
        failed = asker.ask(&path) => failed?,
    }
    let own = Page::of(path.collector.address).await?;
    agent.child.stop().await?;
    path.stop().await?;
    report(machine, &outcomes, calm_rows, &own).publish(&settings.results)?;
    Ok(())
}

/// Asks for the first anomaly after a moment, again and again.
#[derive(Debug, Default)]
struct Asker {
    /// µs since 1970.
    after_us: AtomicI64,
    /// The answer: when it was there, and the row. Never one to another question.
    first: Mutex<Option<(Instant, Vec<String>)>>,
}

impl Asker {
    /// Never ends by itself. What moved together is said of an incident 20 s after it began, which may be the one
    /// before, and does not count.
    async fn ask(&self, path: &Path) -> anyhow::Result<()> {
        loop {
            let after_us = self.after_us.load(Ordering::Relaxed);
            let query = format!(
                "SELECT toUnixTimestamp64Micro(ts), kind, series, severity, reason FROM anomalies \
                 WHERE host = '{AGENT}' AND kind != 'together' \
                 AND ts > fromUnixTimestamp64Micro({after_us}) ORDER BY ts, kind LIMIT 1"
            );
            if let [row, ..] = path.sql.rows(&query).await?.as_slice() {
                let at_us: i64 =
                    row.first().and_then(|text| text.parse().ok()).context("a time is no number")?;
                let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                // Another moment may have been given meanwhile, and this be the answer to the one before.
                if at_us > self.after_us.load(Ordering::Relaxed) {
                    first.get_or_insert_with(|| (Instant::now(), row[1..].to_vec()));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Looks for what comes after this moment from now on.
    fn begin(&self, after_us: i64) {
        self.after_us.store(after_us, Ordering::Relaxed);
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The answer, if it is there.
    fn first(&self) -> Option<(Instant, Vec<String>)> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.clone()
    }
}

/// Runs one fault and waits for its row.
async fn fault(
    asker: &Asker,
    stress: &std::path::Path,
    directory: &std::path::Path,
    kind: &'static str,
    arguments: &str,
) -> anyhow::Result<Outcome> {
    asker.begin(now_us());
    let began = Instant::now();
    let mut child = Command::new(stress)
        .args(arguments.split(' '))
        .args(["--timeout", &format!("{FAULT_S}s"), "--quiet", "--temp-path"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("stress-ng cannot be started")?;
    let mut outcome = Outcome { kind, delay_s: None, what: String::new() };
    while began.elapsed() < LONGEST {
        if let Some((seen, row)) = asker.first() {
            outcome.delay_s = Some(seen.duration_since(began).as_secs_f64());
            outcome.what = row.join(" ");
            break;
        }
        tokio::time::sleep(PAUSE / 4).await;
    }
    let status = child.wait().await.context("stress-ng cannot be waited for")?;
    // One that does nothing, since it is unknown here or not for root, is no fault.
    anyhow::ensure!(status.success(), "stress-ng {arguments} ended with {status}");
    Ok(outcome)
}

async fn rows_since(path: &Path, from_us: i64) -> anyhow::Result<f64> {
    path.sql
        .number(&format!(
            "SELECT uniqExact(incident) FROM anomalies WHERE host = '{AGENT}' AND ts > fromUnixTimestamp64Micro({from_us})"
        ))
        .await
}

fn report(machine: Machine, outcomes: &[Outcome], calm_rows: f64, own: &Page) -> Report {
    let mut delays: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.delay_s).collect();
    delays.sort_by(f64::total_cmp);
    let missed = outcomes.len() - delays.len();
    let title = format!("Fault to anomaly row, {} faults by stress-ng", outcomes.len());
    let mut report = Report::new("delay", &title, machine);
    // Of some twenty, the 99th percentile is the longest.
    let longest = delays.last().copied().unwrap_or(f64::NAN);
    report.aim("fault to row, p99 of those found", "s", longest, Aim::AtMost(3.0));
    report.aim("faults", "", outcomes.len() as f64, Aim::AtLeast(20.0));
    report.aim("faults missed", "", missed as f64, Aim::AtMost(0.0));
    report.figure("fault to row, p50", median(&delays));
    report.note(format!("p50 {} s.", number(median(&delays))));
    report.note(format!("{} incidents while nothing was done, before the first fault.", number(calm_rows)));
    let mut table =
        Table::new("Faults", &["fault", "s to the row", "first row: kind, series, severity, reason"]);
    for outcome in outcomes {
        let delay = outcome.delay_s.map_or("missed".to_owned(), number);
        table.row(&[outcome.kind, &delay, &outcome.what]);
    }
    report.table(table);
    let value = |name: &str| own.value(&format!("fettle_collector_{name}")).unwrap_or(f64::NAN);
    let per_second = value("watch_cpu_us_total") / value("watch_seconds_total").max(1.0);
    report.figure("CPU of detection, microseconds a second of the host", per_second);
    report.figure("series judged", value("watch_series"));
    report.note(format!(
        "Detection: {} series, {} µs of CPU a second of the host; {} seconds judged, {} skipped, {} too old.",
        number(value("watch_series")),
        number(per_second),
        number(value("watch_seconds_total")),
        number(value("watch_skipped_total")),
        number(value("watch_old_total")),
    ));
    report.note(format!(
        "Shipped settings but for `{}`: they say how often is reported, not how soon.",
        CONFIGURATION.trim().replace('\n', "; ")
    ));
    report.note("The agent's CPU budget was lifted, so that it held its rate whatever the faults did.");
    report
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
