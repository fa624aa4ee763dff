//! Real faults on a real host, each mended by nobody but Fettle: how soon it is noticed, how soon the host is
//! well again for its users, how soon samples prove it, and how often.
//!
//! `FETTLE_CHAOS_KINDS` names the kinds (`all`, or some by comma; without it a few quick ones),
//! `FETTLE_CHAOS_RUNS` says how many runs of each, one by default. A line for each run, times in seconds from
//! the fault: `chaos KIND detected S well S recovered S`. With `FETTLE_CHAOS_MONIT`, the path of Monit's program,
//! the same faults are done to the same services under Monit: `monit KIND detected S well S`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "chaos/faults.rs"]
mod faults;
#[path = "chaos/host.rs"]
mod host;
#[path = "chaos/monit.rs"]
mod monit;
#[path = "chaos/outside.rs"]
mod outside;
#[path = "chaos/world.rs"]
mod world;

use std::path::PathBuf;
use std::time::Duration;

use faults::{Fault, KINDS};
use monit::Watched;
use world::{now_us, World};

/// For a fault to be mended.
const PATIENCE: Duration = Duration::from_secs(75);
/// For the host to be calm before the next.
const CALM: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

fn runs() -> usize {
    std::env::var("FETTLE_CHAOS_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Kinds that every test run goes through.
const QUICK: &str = "crash,hang,dependency_down,permission,bad_release,primary_lost";

fn kinds() -> Vec<Fault> {
    let named = std::env::var("FETTLE_CHAOS_KINDS").unwrap_or_else(|_| QUICK.into());
    let all = named == "all";
    for name in named.split(',').filter(|_| !all) {
        assert!(KINDS.iter().any(|kind| kind.name() == name), "there is no kind {name:?} of chaos");
    }
    KINDS.into_iter().filter(|kind| all || named.split(',').any(|one| one == kind.name())).collect()
}

/// One fault, in µs since 1970.
#[derive(Debug, Clone, Copy)]
struct Run {
    struck_us: i64,
    detected_us: Option<i64>,
    well_us: Option<i64>,
    /// Well, and proven to be.
    recovered_us: Option<i64>,
}

impl Run {
    fn new(struck_us: i64) -> Self {
        Self { struck_us, detected_us: None, well_us: None, recovered_us: None }
    }

    fn show(&self, at_us: Option<i64>) -> String {
        at_us.map_or_else(|| "never".into(), |us| format!("{:.2}", (us - self.struck_us) as f64 / 1e6))
    }

    /// Notes whether it is well at the moment, and since when.
    fn is_well(&mut self, well: bool) {
        self.well_us = if well { self.well_us.or_else(|| Some(now_us())) } else { None };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_faults_are_mended() {
    let mut world = World::start().await;
    let mut all = Vec::new();
    for _ in 0..runs() {
        for kind in kinds() {
            if kind.needs_disk() && world.host.disk.is_none() {
                continue;
            }
            let run = under_fettle(&mut world, kind).await;
            let [detected, well, recovered] =
                [run.detected_us, run.well_us, run.recovered_us].map(|at_us| run.show(at_us));
            println!("chaos {} detected {detected} well {well} recovered {recovered}", kind.name());
            if run.recovered_us.is_none() {
                for what in ["plans", "plan", "alerts"] {
                    println!("{what}: {}", world.mended.ask(what).await);
                }
            }
            all.push((kind, run));
        }
    }
    let actions = outside::nothing_was_done(&world).await;
    let mended = all.iter().filter(|(_, run)| run.recovered_us.is_some()).count();
    println!("chaos in all: {mended} of {} recovered, {actions} actions, none outside policy", all.len());
    assert!(actions > 0);
    assert!(mended * 100 >= all.len() * 95, "{all:#?}");
}

/// Faults come at any moment of the second in which both watchers look; the last one ended at a certain one.
async fn any_moment() {
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..1000))).await;
}

/// Breaks it, and waits until it is noticed, well again, and proven to be.
async fn under_fettle(world: &mut World, kind: Fault) -> Run {
    if let Err(why) = world.becomes_calm(kind, CALM).await {
        println!("{} is not begun: {why}", kind.name());
        return Run::new(now_us());
    }
    any_moment().await;
    let mut run = Run::new(now_us());
    kind.strike_world(world).await;
    let mut collector_lives = true;
    while now_us() - run.struck_us < PATIENCE.as_micros() as i64 {
        kind.strike_again(&mut world.host);
        run.is_well(kind.is_well(&world.host).await);
        let done = world.done(kind, run.struck_us).await;
        run.detected_us = run.detected_us.or(done.noticed_us);
        if collector_lives && kind.kills_collector(done) {
            collector_lives = false;
            world.mended.stack.collector.kill();
            world.mended.stack.collector.start();
        }
        if let (Some(well_us), Some(proven_us)) = (run.well_us, done.proven_us) {
            run.recovered_us = Some(well_us.max(proven_us));
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    kind.clear_world(world).await;
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monit_is_measured_beside_it() {
    let Some(program) = std::env::var_os("FETTLE_CHAOS_MONIT").map(PathBuf::from) else { return };
    let mut watched = Watched::start(program).await;
    let kinds: Vec<Fault> = kinds().into_iter().filter(|kind| monit::KINDS.contains(kind)).collect();
    for _ in 0..runs() {
        for kind in kinds.iter().copied() {
            if kind.needs_disk() && watched.host.disk.is_none() {
                continue;
            }
            let run = under_monit(&mut watched, kind).await;
            let [detected, well] = [run.detected_us, run.well_us].map(|at_us| run.show(at_us));
            println!("monit {} detected {detected} well {well}", kind.name());
        }
    }
}

/// Breaks it, and waits until it is told of and well again.
async fn under_monit(watched: &mut Watched, kind: Fault) -> Run {
    if !watched.becomes_calm(kind, CALM).await {
        println!("{} is not begun under monit: it is not calm", kind.name());
        return Run::new(now_us());
    }
    any_moment().await;
    let log_len = watched.log_len();
    let mut run = Run::new(now_us());
    kind.strike(&mut watched.host).await;
    while now_us() - run.struck_us < PATIENCE.as_micros() as i64 {
        kind.strike_again(&mut watched.host);
        run.is_well(kind.is_well(&watched.host).await);
        if run.detected_us.is_none() && watched.has_noticed(kind, log_len) {
            run.detected_us = Some(now_us());
        }
        if run.detected_us.is_some() && run.well_us.is_some() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    kind.clear(&mut watched.host).await;
    run
}
