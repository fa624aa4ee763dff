//! Real faults on a real host, each mended by nobody but Fettle: how soon it is noticed, how soon samples
//! prove that it is well again, and how often. `FETTLE_CHAOS_RUNS` runs of each kind (one by default), a line
//! for each: `chaos KIND detected S recovered S`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/host.rs"]
mod host;

use std::time::{Duration, Instant};

use serde_json::Value;

use faults::{Fault, KINDS};
use host::World;

const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);

fn runs() -> usize {
    std::env::var("FETTLE_CHAOS_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The kinds to run: those named in `FETTLE_CHAOS_KINDS`, `all` of them, or, as in every test, a few quick ones.
fn kinds() -> Vec<Fault> {
    let named = std::env::var("FETTLE_CHAOS_KINDS").unwrap_or_else(|_| "crash,hang,dependency_down".into());
    let named = if named == "all" { String::new() } else { named };
    KINDS
        .into_iter()
        .filter(|kind| named.is_empty() || named.split(',').any(|one| one == kind.name()))
        .collect()
}

#[derive(Debug)]
struct Run {
    detected_s: Option<f64>,
    recovered_s: Option<f64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_faults_are_mended() {
    let mut world = World::start().await;
    let mut table = Vec::new();
    for kind in kinds() {
        let mut all = Vec::new();
        for _ in 0..runs() {
            let run = one(&mut world, kind).await;
            let show = |s: Option<f64>| s.map_or("never".into(), |s| format!("{s:.2}"));
            println!(
                "chaos {} detected {} recovered {}",
                kind.name(),
                show(run.detected_s),
                show(run.recovered_s)
            );
            if run.recovered_s.is_none() {
                println!("plans: {}", world.mended.ask("plans").await);
                println!("now: {}", world.mended.ask("plan").await);
                println!("alerts: {}", world.mended.ask("alerts").await);
            }
            all.push(run);
        }
        table.push((kind, all));
    }
    let audit = world.mended.stack.sql();
    let outside = "SELECT count() FROM fettle.actions WHERE outcome NOT IN \
                   ('accepted', 'succeeded', 'failed', 'timed_out', 'never_completed', 'refused')";
    assert_eq!(audit.number(outside).await.unwrap(), 0);
    let (mut mended, mut broken) = (0, 0);
    for (kind, all) in &table {
        let good = all.iter().filter(|run| run.recovered_s.is_some()).count();
        mended += good;
        broken += all.len();
        println!("chaos {}: {good} of {} recovered", kind.name(), all.len());
    }
    println!("chaos in all: {mended} of {broken} recovered");
    assert!(mended * 100 >= broken * 90, "{table:#?}");
}

/// Breaks it, and waits until it is noticed and until it is proven well.
async fn one(world: &mut World, kind: Fault) -> Run {
    until_quiet(world, kind).await;
    let since_us = now_us();
    let began = Instant::now();
    kind.strike(world).await;
    let mut run = Run { detected_s: None, recovered_s: None };
    while began.elapsed() < PATIENCE {
        if run.detected_s.is_none() && noticed(world, kind, since_us).await {
            run.detected_s = Some(began.elapsed().as_secs_f64());
        }
        let proven = kind.is_local() || mended_since(world, kind, since_us).await;
        if proven && kind.is_well(world).await {
            run.recovered_s = Some(began.elapsed().as_secs_f64());
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    kind.clear(world).await;
    run
}

/// Waits until nothing of the kind's component fires or is being mended any more.
async fn until_quiet(world: &World, kind: Fault) {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let alerts = world.mended.ask("alerts").await;
        let fires = rows(&alerts).any(|row| row["state"] != "resolved" && is_about(row, kind));
        let plans = world.mended.ask("plans").await;
        let works = rows(&plans).any(|row| row["component"] == kind.component() && row["end"].is_null());
        if !fires && !works && kind.is_well(world).await {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn is_about(row: &Value, kind: Fault) -> bool {
    row["labels"]["component"] == kind.component()
}

async fn noticed(world: &World, kind: Fault, since_us: i64) -> bool {
    let alerts = world.mended.ask("alerts").await;
    // A fault is noticed by an alert about its component that was not there before it.
    let found = rows(&alerts).any(|row| {
        is_about(row, kind) && row["since"].as_str().is_some_and(|at| at >= &*time(since_us - 1_000_000))
    });
    found
}

async fn mended_since(world: &World, kind: Fault, since_us: i64) -> bool {
    let plans = world.mended.ask("plans").await;
    let found = rows(&plans).any(|row| {
        row["component"] == kind.component()
            && row["state"] == "succeeded"
            && row["changed"].as_str().is_some_and(|at| at >= &*time(since_us))
    });
    found
}

fn now_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// As the collector writes times.
fn time(us: i64) -> String {
    let seconds = us / 1_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil from days: Howard Hinnant, «chrono-compatible low-level date algorithms».
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:06}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        us % 1_000_000
    )
}
