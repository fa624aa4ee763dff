//! Benchmarks 5 and 6: the tests that kill parts and take them away, run at full length, with what
//! they print turned into a result. The tests judge; this only calls them and counts.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::machine::Machine;
use crate::outage;
use crate::report::{number, Aim, Report, Table};
use crate::settings::Settings;
use crate::stack::Stack;

/// What a run of a test printed.
pub(crate) struct Output {
    /// Its lines.
    pub(crate) lines: Vec<String>,
    passed: bool,
    seconds: f64,
}

/// Benchmark 5: kills and wipes.
pub(crate) async fn crash(settings: &Settings, kills: u64, seed: Option<u64>) -> anyhow::Result<()> {
    let machine = Machine::look();
    let mut environment = vec![("FETTLE_CRASH_KILLS", kills.to_string())];
    environment.extend(seed.map(|seed| ("FETTLE_CRASH_SEED", seed.to_string())));
    let output = run("crash", &environment).await?;
    let mut struck: BTreeMap<String, u64> = BTreeMap::new();
    for line in output.lines.iter().filter(|line| line.starts_with("kill ")) {
        let name = line.split_once(": ").and_then(|(_, rest)| rest.split(';').next()).unwrap_or("?");
        *struck.entry(name.to_owned()).or_default() += 1;
    }
    let wipes =
        struck.iter().filter(|(name, _)| name.contains("wiped")).map(|(_, count)| *count).sum::<u64>();
    let all = struck.values().sum::<u64>();
    let mut report = Report::new("crash", &format!("{all} kills with -9 under load"), machine);
    report.aim("kills and wipes", "", all as f64, Aim::AtLeast(100.0));
    report.aim("wipes of NATS's disk", "", wipes as f64, Aim::AtLeast(3.0));
    report.aim("runs in which something was lost, double or wrong", "", failures(&output), Aim::AtMost(0.0));
    let mut table = Table::new("What was struck", &["part", "times"]);
    for (name, count) in &struck {
        table.row(&[name, &number(*count as f64)]);
    }
    report.table(table);
    finish(report, &output, &["FETTLE_CRASH_SEED", "slots"], settings)
}

/// Benchmark 6: NATS away, ClickHouse away, quota reached, disks full and failing.
pub(crate) async fn away(settings: &Settings) -> anyhow::Result<()> {
    let machine = Machine::look();
    let seconds = settings.seconds_or(60);
    let state = settings.state()?;
    let outages = outage::run(&Stack::below(state.path())?, Duration::from_secs(seconds)).await?;
    let output = run("away", &[("FETTLE_AWAY_SECONDS", seconds.to_string())]).await?;
    let title = format!("Parts away for {seconds} s, quotas reached, disks full and failing");
    let mut report = Report::new("away", &title, machine);
    outages.report(&mut report);
    report.aim("tests failed", "", failures(&output), Aim::AtMost(0.0));
    let mut table = Table::new("Tests", &["test", "outcome"]);
    let mut tests = 0;
    for line in &output.lines {
        // With --nocapture a test's own words may stand between its name and its outcome.
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.split(" ... ").next()) {
            if line.contains(" ... ") {
                tests += 1;
                let outcome = line.rsplit(" ... ").next().unwrap_or_default();
                table.row(&[name, if outcome.is_empty() { "see the notes" } else { outcome }]);
            }
        }
    }
    report.aim("tests run", "", f64::from(tests), Aim::AtLeast(1.0));
    report.table(table);
    finish(report, &output, &[], settings)
}

fn failures(output: &Output) -> f64 {
    f64::from(u8::from(!output.passed))
}

/// Adds what every run of a test tells, and lines that hold one of the keys, and publishes.
pub(crate) fn finish(
    mut report: Report,
    output: &Output,
    keys: &[&str],
    settings: &Settings,
) -> anyhow::Result<()> {
    report.figure("seconds", output.seconds);
    report.note(format!("It took {} s.", number(output.seconds)));
    let told = output.lines.iter().filter(|line| {
        line.starts_with("test result")
            || line.contains("panicked")
            || keys.iter().any(|key| line.contains(key))
    });
    for line in told.filter(|line| !line.starts_with("kill ")) {
        report.note(format!("`{line}`"));
    }
    if !output.passed {
        for line in output.lines.iter().rev().take(30).rev() {
            report.note(format!("last words: `{line}`"));
        }
    }
    report.publish(&settings.results)?;
    Ok(())
}

/// Runs one test file of the tests crate in release, passing on what it prints.
pub(crate) async fn run(test: &str, environment: &[(&str, String)]) -> anyhow::Result<Output> {
    let began = Instant::now();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["test", "--release", "--locked", "-p", "fettle-tests", "--test", test, "--"];
    let mut child = Command::new(cargo)
        .args(arguments)
        .args(["--nocapture", "--test-threads", "1"])
        .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cargo cannot be started")?;
    let mut out = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut errors = BufReader::new(child.stderr.take().context("no output")?).lines();
    let mut lines = Vec::new();
    let (mut out_open, mut errors_open) = (true, true);
    while out_open || errors_open {
        let line = tokio::select! {
            line = out.next_line(), if out_open => { let line = line?; out_open = line.is_some(); line }
            line = errors.next_line(), if errors_open => { let line = line?; errors_open = line.is_some(); line }
        };
        if let Some(line) = line {
            use std::io::Write as _;
            writeln!(std::io::stderr(), "{line}")?;
            lines.push(line);
        }
    }
    let passed = child.wait().await?.success();
    Ok(Output { lines, passed, seconds: began.elapsed().as_secs_f64() })
}
