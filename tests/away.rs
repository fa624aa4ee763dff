//! Parts that are away, hang, or have no room: nothing is lost but what the spool's quota drops, and
//! that is counted to the sample.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use fettle_tests::faults::{FailingCalls, SmallDisk};
use fettle_tests::producer::Producer;
use fettle_tests::proof;
use fettle_tests::stack::{Stack, START};
use fettle_tests::wait::{until, when};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(120);

async fn running(agent: &'static str, more: &[&str]) -> (Stack, Producer) {
    let mut stack = Stack::new("");
    stack.start().await;
    let mut producer = Producer::new(&stack, env!("CARGO_BIN_EXE_fettle-test-producer"), agent, more);
    producer.process.start();
    producer.has_taken(5, START).await;
    (stack, producer)
}

/// Lets everything arrive, and proves that it did.
async fn all_is_there(stack: &Stack, producer: &Producer) {
    producer.stop_sampling();
    producer.is_confirmed(SOON).await;
    let sql = stack.sql();
    proof::ledger_is_whole(&sql).await.unwrap();
    let slots = proof::slots_are_whole(&sql, producer.agent).await.unwrap();
    proof::values_are_right(&sql, producer.agent).await.unwrap();
    proof::ledger_agrees_with_rows(&sql, producer.agent, &slots).await.unwrap();
    let taken = producer.journal();
    let lost: Vec<&u64> = taken.keys().filter(|slot| !slots.contains(slot)).collect();
    assert!(lost.is_empty(), "{} of {} slots are lost: {lost:?}", lost.len(), taken.len());
    assert_eq!(producer.status()["dropped_samples"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_away() {
    let (mut stack, producer) = running("away-nats", &[]).await;
    stack.nats.kill();
    until("health says that NATS is away", SOON, || async {
        when(stack.health().await.map_or(0, |(status, _)| status), |status| *status == 503)
    })
    .await;
    producer.has_taken(producer.journal().len() + 50, SOON).await;
    stack.nats.start();
    stack.healthy(SOON).await;
    all_is_there(&stack, &producer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clickhouse_away_and_then_hanging() {
    let (mut stack, producer) = running("away-clickhouse", &[]).await;
    stack.engine.kill();
    producer.has_taken(producer.journal().len() + 40, SOON).await;
    stack.engine.start();
    stack.healthy(SOON).await;
    stack.engine.signal(Signal::STOP);
    producer.has_taken(producer.journal().len() + 40, SOON).await;
    stack.engine.signal(Signal::CONT);
    stack.healthy(SOON).await;
    all_is_there(&stack, &producer).await;
}

/// With no collector and no room, the spool drops its oldest frames and says which; with the
/// collector back, the ledger knows each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_quota_drops_is_counted_to_the_sample() {
    let (mut stack, mut producer) = running("away-quota", &["--quota", "400000"]).await;
    stack.nats.kill();
    until("the quota is reached", SOON, || async {
        when(producer.status(), |status| status["dropped_frames"].as_u64() > Some(5))
    })
    .await;
    // Killed between two slots: one that the spool has taken and the journal does not know could be among those it drops.
    producer.stop_sampling();
    producer.rests(SOON).await;
    producer.process.kill();
    producer.forget_status();
    producer.sample_again();
    producer.process.start();
    until("a restarted producer drops on", SOON, || async {
        when(producer.status(), |status| status["dropped_frames"].as_u64() > Some(10))
    })
    .await;
    stack.nats.start();
    producer.stop_sampling();
    producer.is_confirmed(SOON).await;
    let sql = stack.sql();
    proof::ledger_is_whole(&sql).await.unwrap();
    let slots = proof::slots_are_whole(&sql, producer.agent).await.unwrap();
    proof::values_are_right(&sql, producer.agent).await.unwrap();
    let taken = producer.journal();
    let lost: Vec<(u64, u64)> =
        taken.iter().filter(|(slot, _)| !slots.contains(slot)).map(|(_, taken)| *taken).collect();
    let (rows, samples) = lost.iter().fold((0, 0), |(r, s), (rows, samples)| (r + rows, s + samples));
    let drops = sql.rows("SELECT * FROM fettle.ledger_drops").await.unwrap();
    assert!(lost.len() > 8, "{lost:?}");
    assert_eq!(drops[0]["samples_dropped"].as_u64(), Some(samples), "{drops:?}, {} slots", lost.len());
    assert_eq!(drops[0]["rows_dropped"].as_u64(), Some(rows), "{drops:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_room_under_the_spool() {
    let mut stack = Stack::new("");
    let Some(disk) = SmallDisk::at(&stack.path("spool"), "4m") else { return };
    stack.start().await;
    let program = env!("CARGO_BIN_EXE_fettle-test-producer");
    let mut producer = Producer::new(&stack, program, "full-spool", &[]);
    producer.process.start();
    producer.has_taken(5, START).await;
    stack.nats.kill();
    disk.fill();
    until("the disk refuses", SOON, || async {
        when(producer.status(), |status| status["spool_errors"].as_u64() > Some(0))
    })
    .await;
    producer.has_taken(producer.journal().len() + 20, SOON).await;
    disk.empty();
    stack.nats.start();
    stack.healthy(SOON).await;
    all_is_there(&stack, &producer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_room_under_the_engine() {
    let mut stack = Stack::new("");
    let Some(disk) = SmallDisk::at(&stack.path("engine"), "512m") else { return };
    stack.start().await;
    let program = env!("CARGO_BIN_EXE_fettle-test-producer");
    let mut producer = Producer::new(&stack, program, "full-engine", &[]);
    producer.process.start();
    producer.has_taken(5, START).await;
    disk.fill();
    until("health says that ClickHouse takes nothing", SOON, || async {
        when(stack.health().await.map_or(0, |(status, _)| status), |status| *status == 503)
    })
    .await;
    producer.has_taken(producer.journal().len() + 40, SOON).await;
    disk.empty();
    stack.healthy(SOON).await;
    all_is_there(&stack, &producer).await;
}

/// Every write of the spool fails for a while, then every fifth one: its frames are published from
/// memory, and none is lost or gets a number twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spools_disk_fails() {
    let (stack, producer) = running("eio-spool", &[]).await;
    for which in ["1+1", "5+5"] {
        let errors = until("it says how it is", SOON, || async {
            producer.status()["spool_errors"].as_u64().ok_or("not yet")
        })
        .await;
        let pid = producer.process.pid().unwrap();
        let Some(failing) = FailingCalls::of(pid, "pwrite64", which).await else { return };
        until("the disk fails", SOON, || async {
            when(producer.status()["spool_errors"].as_u64(), |seen| *seen > Some(errors))
        })
        .await;
        producer.has_taken(producer.journal().len() + 20, SOON).await;
        failing.end().await;
    }
    producer.has_taken(producer.journal().len() + 10, SOON).await;
    all_is_there(&stack, &producer).await;
}

/// Every second part of the engine cannot be moved into place for a while, its disk says EIO: what was not
/// stored is stored afterwards, once. (Its plain writes cannot be chosen: its network's wake-ups are writes.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engines_disk_fails() {
    let (stack, producer) = running("eio-engine", &[]).await;
    let pid = stack.engine.pid().unwrap();
    let Some(failing) = FailingCalls::of(pid, "rename,renameat,renameat2", "2+2").await else { return };
    until("health says that ClickHouse takes nothing", SOON, || async {
        when(stack.health().await.map_or(0, |(status, _)| status), |status| *status == 503)
    })
    .await;
    producer.has_taken(producer.journal().len() + 20, SOON).await;
    failing.end().await;
    stack.healthy(SOON).await;
    all_is_there(&stack, &producer).await;
}
