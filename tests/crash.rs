//! Everything is killed with -9, again and again, under load, at moments drawn from a seed, and NATS
//! loses its disk in between: every frame that the spool ever took is in ClickHouse exactly once,
//! with the right values, and the roll-ups say what the raw rows say.
//!
//! `FETTLE_CRASH_KILLS` sets how many kills (8), `FETTLE_CRASH_SEED` repeats a run. The moments are
//! drawn at random on purpose, so this is the one test that lets time pass without a condition.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use fettle_tests::producer::Producer;
use fettle_tests::proof;
use fettle_tests::stack::{Stack, START};
use fettle_tests::wait::until;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const AGENT: &str = "crash-1";
const CONFIG: &str = "[ingest]\nrecover_timeout_s = 600\n";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Kills one part, or wipes NATS, and starts it again after a while.
async fn strike(stack: &mut Stack, producer: &mut Producer, random: &mut StdRng, wipe: bool) -> &'static str {
    let down = Duration::from_millis(random.random_range(0..800));
    if wipe {
        stack.wipe_nats();
        return "nats, wiped";
    }
    let part = match random.random_range(0..4) {
        0 => &mut producer.process,
        1 => &mut stack.collector,
        2 => &mut stack.engine,
        _ => &mut stack.nats,
    };
    part.kill();
    tokio::time::sleep(down).await;
    part.start();
    part.name()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_twice() {
    let kills = setting("FETTLE_CRASH_KILLS", 8);
    let seed = setting("FETTLE_CRASH_SEED", rand::random());
    eprintln!("FETTLE_CRASH_SEED={seed} FETTLE_CRASH_KILLS={kills}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut stack = Stack::new(CONFIG);
    stack.start().await;
    let mut producer = Producer::new(&stack, env!("CARGO_BIN_EXE_fettle-test-producer"), AGENT, &[]);
    producer.process.start();
    producer.has_taken(10, START).await;
    let wipes = [kills / 4, kills / 2, 3 * kills / 4];
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(100..3_000))).await;
        let name = strike(&mut stack, &mut producer, &mut random, wipes.contains(&kill)).await;
        let taken = producer.journal().len();
        eprintln!("kill {kill}: {name}; {taken} slots taken");
        producer.has_taken(taken + 2, START).await;
        stack.nobody_fell();
    }
    producer.stop_sampling();
    stack.healthy(Duration::from_secs(120)).await;
    producer.is_confirmed(Duration::from_secs(180)).await;
    // A minute is rolled up long after it is over: too long for a short run.
    prove(&stack, &producer, kills >= 40).await;
}

async fn prove(stack: &Stack, producer: &Producer, minutes: bool) {
    let sql = stack.sql();
    proof::ledger_is_whole(&sql).await.unwrap();
    let slots = proof::slots_are_whole(&sql, AGENT).await.unwrap();
    proof::values_are_right(&sql, AGENT).await.unwrap();
    proof::ledger_agrees_with_rows(&sql, AGENT, &slots).await.unwrap();
    let taken = producer.journal();
    let lost: Vec<&u64> = taken.keys().filter(|slot| !slots.contains(slot)).collect();
    assert!(lost.is_empty(), "{} of {} slots are lost: {lost:?}", lost.len(), taken.len());
    let mut windows = 0;
    for level in if minutes { &["10s", "1m"][..] } else { &["10s"][..] } {
        windows += until("the roll-ups agree with the raw rows", Duration::from_secs(330), || {
            proof::rollups_agree(&sql, AGENT, level)
        })
        .await;
    }
    let samples: u64 = taken.values().map(|(_, samples)| samples).sum();
    eprintln!("{} slots, {samples} samples, {windows} roll-up rows, each exactly once", slots.len());
}
