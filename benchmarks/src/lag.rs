//! Benchmark 4: how long after a sample was taken a query sees it. Measured from outside and not
//! with Fettle's own histogram: ClickHouse is asked for the newest time again and again; a sample of
//! time t is queryable at the first answer that is not older than t.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::ingest::Path;
use crate::insight::Insight;
use crate::machine::Machine;
use crate::report::{number, Aim, Report, Table};
use crate::scrape::Page;
use crate::settings::Settings;
use crate::stack::{Budget, Stack, AGENT};

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(40);
/// Sample times are counted in steps of this.
const STEP_US: i64 = 5_000;
/// The line settles before it is measured.
const WARM_UP: Duration = Duration::from_secs(8);

/// What the questions showed.
struct Lags {
    histogram: Histogram<u64>,
    /// Greatest time between two answers, in µs: the measure's own coarseness.
    coarsest_us: i64,
    questions: u64,
}

/// Benchmark 4.
pub(crate) async fn lag(settings: &Settings) -> anyhow::Result<()> {
    let mut machine = Machine::look();
    machine.add_version("fettle-collector", None, "--version");
    machine.add_version("fettle-agent", None, "--version");
    let state = settings.state()?;
    let stack = Stack::below(state.path())?;
    let path = Path::start(&stack).await?;
    let agent = stack.agent(&path.nats, Budget::Lifted).await?;
    tokio::time::sleep(WARM_UP).await;
    let insight = Insight::of(&path).await?;
    let (before, agent_before) = (path.usage()?, agent.child.usage()?);
    let from_us = now_us();
    let lags = ask(&path, Duration::from_secs(settings.seconds_or(60))).await?;
    let seconds = (now_us() - from_us) as f64 / 1e6;
    let insight = Insight::of(&path).await?.table(&insight);
    let (after, agent_after) = (path.usage()?, agent.child.usage()?);
    let book = ledger_lag(&path, from_us).await?;
    let rate = format!(
        "SELECT sum(samples) / greatest(toFloat64(max(last)) - toFloat64(min(first)), 0.001) FROM ledger \
         WHERE agent = '{AGENT}' AND first >= fromUnixTimestamp64Micro({from_us})"
    );
    let rate = path.sql.number(&rate).await?;
    let own = Page::of(path.collector.address).await?;
    agent.child.stop().await?;
    path.stop().await?;
    let title = format!("Sample to queryable, {} s at {} metrics/s", number(seconds), number(rate));
    let mut report = Report::new("lag", &title, machine);
    let quantile = |q: f64| lags.histogram.value_at_quantile(q) as f64 / 1e6;
    report.aim("sample to queryable, p99", "s", quantile(0.99), Aim::AtMost(2.0));
    report.aim("metrics/s in the ledger", "", rate, Aim::AtLeast(95_000.0));
    let mut table = Table::new("Lag in seconds", &["how it was measured", "p50", "p99", "max"]);
    let row = |table: &mut Table, how: &str, values: [f64; 3]| {
        let cells = values.map(number);
        table.row(&[how, &cells[0], &cells[1], &cells[2]]);
    };
    row(
        &mut table,
        "every sample, by asking for the newest time",
        [quantile(0.5), quantile(0.99), quantile(1.0)],
    );
    row(&mut table, "the frame's first sample, to the ledger's stored_at", book);
    let of = |q: &str| own.find(&["sample_lag_seconds", &format!("\"{q}\"")]).unwrap_or(f64::NAN);
    row(&mut table, "the collector's own histogram, first sample", [of("0.5"), of("0.99"), of("1")]);
    report.table(table);
    let mut cpu = Table::new("CPU meanwhile, of one core", &["part", "%"]);
    for (name, used) in [
        ("agent", agent_after.cpu_s - agent_before.cpu_s),
        ("collector", after.collector.cpu_s - before.collector.cpu_s),
        ("engine (with the questions asked here)", after.engine.cpu_s - before.engine.cpu_s),
        ("nats-server", after.nats.cpu_s - before.nats.cpu_s),
    ] {
        cpu.row(&[name, &number(100.0 * used / seconds)]);
    }
    report.table(cpu);
    report.table(insight);
    report.note(format!(
        "{} questions; the greatest time between two answers was {} ms, which is the measure's own error, upwards.",
        lags.questions,
        number(lags.coarsest_us as f64 / 1e3)
    ));
    report.note("The agent's CPU budget was lifted, so that it held its rate whatever else the machine did.");
    report.publish(&settings.results)?;
    Ok(())
}

async fn ask(path: &Path, length: Duration) -> anyhow::Result<Lags> {
    let query = format!(
        "SELECT toUnixTimestamp64Micro(max(ts)) FROM memory WHERE host = '{AGENT}' AND ts > now() - INTERVAL 1 MINUTE"
    );
    let mut lags =
        Lags { histogram: Histogram::new_with_bounds(1, 3_600_000_000, 3)?, coarsest_us: 0, questions: 0 };
    let (mut newest_us, mut asked_us) = (0i64, now_us());
    let began = Instant::now();
    while began.elapsed() < length {
        let seen_us = path.sql.number(&query).await? as i64;
        let answered_us = now_us();
        lags.questions += 1;
        lags.coarsest_us = lags.coarsest_us.max(answered_us - asked_us);
        asked_us = answered_us;
        if newest_us > 0 {
            // Every time after the newest one before has become queryable with this answer.
            let mut at_us = newest_us + STEP_US;
            while at_us <= seen_us {
                lags.histogram.saturating_record((answered_us - at_us).max(0) as u64);
                at_us += STEP_US;
            }
        }
        newest_us = newest_us.max(seen_us);
        tokio::time::sleep(PAUSE).await;
    }
    // What is still not to be seen at the end counts with the lag it has by then.
    let mut at_us = newest_us + STEP_US;
    while newest_us > 0 && at_us < asked_us - 1_500_000 {
        lags.histogram.saturating_record((asked_us - at_us) as u64);
        at_us += STEP_US;
    }
    Ok(lags)
}

/// (p50, p99, max) in seconds, from the ledger.
async fn ledger_lag(path: &Path, from_us: i64) -> anyhow::Result<[f64; 3]> {
    let lag = "toUnixTimestamp64Micro(stored_at) - toUnixTimestamp64Micro(first)";
    let query = format!(
        "SELECT quantileExact(0.5)({lag}), quantileExact(0.99)({lag}), max({lag}) FROM ledger \
         WHERE agent = '{AGENT}' AND first >= fromUnixTimestamp64Micro({from_us})"
    );
    let rows = path.sql.rows(&query).await?;
    let cell = |at: usize| rows.first().and_then(|row| row.get(at)?.parse::<f64>().ok()).unwrap_or(f64::NAN);
    Ok([0, 1, 2].map(|at| cell(at) / 1e6))
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
