//! What is stored stays stored, once: deduplication tokens, kill -9, restarts, orderly stops.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;

use support::{eventually, Engine};

const TABLE: &str = "CREATE TABLE kept (a UInt64, b String) ENGINE = MergeTree ORDER BY a \
                     SETTINGS non_replicated_deduplication_window = 1000";

fn insert(engine: &Engine, token: &str, rows: &str) {
    let request = engine.writer("/").parameter("query", "INSERT INTO kept FORMAT CSV");
    request.parameter("insert_deduplication_token", token).body(rows).send().ok();
}

fn count(engine: &Engine) -> String {
    engine.ask("SELECT count(), uniqExact(a) FROM kept")
}

#[test]
fn a_token_stores_its_block_once_across_kills_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let mut engine = Engine::start_on(&path);
    engine.run(TABLE);
    insert(&engine, "t:1", "1,x\n2,y\n");
    insert(&engine, "t:1", "1,x\n2,y\n");
    insert(&engine, "t:2", "3,z\n");
    assert_eq!(count(&engine), "3\t3");
    let password = engine.password.clone();
    engine.kill();
    let mut engine = Engine::start_on(&path);
    assert_eq!(engine.password, password, "the writer's password stays");
    insert(&engine, "t:1", "1,x\n2,y\n");
    insert(&engine, "t:2", "3,z\n");
    assert_eq!(count(&engine), "3\t3");
    assert!(engine.stop(), "an orderly stop succeeds");
    let engine = Engine::start_on(&path);
    insert(&engine, "t:2", "3,z\n");
    insert(&engine, "t:3", "4,w\n");
    assert_eq!(count(&engine), "4\t4");
}

/// Kills the engine while inserts run, again and again; each block is sent until it is confirmed.
#[test]
fn kill_minus_nine_loses_nothing_that_was_confirmed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let mut engine = Engine::start_on(&path);
    engine.run(TABLE);
    let block = |number: u64| -> String {
        (0..20_000).map(|row| format!("{},{}\n", number * 20_000 + row, "v".repeat(20))).collect()
    };
    let mut sent = 0_u64;
    for round in 0..6_u64 {
        let rows = block(sent);
        let request = engine.writer("/").parameter("query", "INSERT INTO kept FORMAT CSV");
        let mut stream =
            request.parameter("insert_deduplication_token", &sent.to_string()).open_with_length(rows.len());
        // Killed at different moments: with half the data sent, with all of it, or when it runs.
        let cut = if round % 3 == 0 { rows.len() / 2 } else { rows.len() };
        stream.write_all(&rows.as_bytes()[..cut]).unwrap();
        if round % 3 == 2 {
            eventually("the insert runs or has run", || {
                engine.ask("SELECT (SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO kept%') + (SELECT count() FROM kept) > 0") == "1"
            });
        }
        engine.kill();
        drop(stream);
        engine = Engine::start_on(&path);
        let found: u64 = engine.ask("SELECT count() FROM kept").parse().unwrap();
        assert!(
            found == sent * 20_000 || found == (sent + 1) * 20_000,
            "a block is stored whole or not: {found}"
        );
        insert(&engine, &sent.to_string(), &rows);
        sent += 1;
        assert_eq!(count(&engine), format!("{0}\t{0}", sent * 20_000));
    }
    assert_eq!(engine.ask("SELECT sum(a) FROM kept"), (0..sent * 20_000).sum::<u64>().to_string());
}

#[test]
fn one_block_of_half_a_million_rows_and_sixty_columns_is_one_part() {
    let engine = Engine::shared();
    let columns: Vec<String> = (0..60).map(|n| format!("m{n} UInt64")).collect();
    engine.run(&format!(
        "CREATE TABLE wide (ts DateTime64(6, 'UTC'), {}) ENGINE = MergeTree PARTITION BY toYYYYMMDD(ts) ORDER BY ts \
         SETTINGS non_replicated_deduplication_window = 100",
        columns.join(", ")
    ));
    let values: Vec<String> = (0..60).map(|n| format!("intDiv(number, {n} + 2) AS m{n}")).collect();
    let sql = format!(
        "SELECT toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + number / 10000 AS ts, {} FROM numbers(500000) \
         SETTINGS max_block_size = 1000000, max_threads = 1 FORMAT Native",
        values.join(", ")
    );
    let native = engine.reader("/").body(sql).send().body;
    let column = engine.ask("SELECT 1").len();
    assert!(native.len() > 200 << 20 && column == 1);
    for _ in 0..2 {
        let request = engine.writer("/").parameter("query", "INSERT INTO wide FORMAT Native");
        request.parameter("insert_deduplication_token", "wide:1").body(native.clone()).send().ok();
    }
    let made =
        engine.ask("SELECT count(), sum(rows), max(level) FROM system.parts WHERE table = 'wide' AND active");
    assert_eq!(made, "1\t500000\t0");
}

#[test]
fn a_running_insert_ends_well_at_an_orderly_stop() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let mut engine = Engine::start_on(&path);
    engine.run(TABLE);
    let rows: String = (0..1000).map(|row| format!("{row},x\n")).collect();
    let request = engine.writer("/").parameter("query", "INSERT INTO kept FORMAT CSV");
    let mut stream = request.open_with_length(rows.len());
    stream.write_all(&rows.as_bytes()[..100]).unwrap();
    eventually("the insert runs", || {
        engine.ask("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO kept%'") == "1"
    });
    engine.ask_to_stop();
    eventually("no connection is taken any more", || std::net::TcpStream::connect(&engine.address).is_err());
    stream.write_all(&rows.as_bytes()[100..]).unwrap();
    assert_eq!(support::read_answer(stream).status, 200);
    assert!(engine.stop());
    let engine = Engine::start_on(&path);
    assert_eq!(count(&engine), "1000\t1000");
}

#[test]
fn async_inserts_are_stored_when_they_are_answered() {
    let engine = Engine::shared();
    engine.run("CREATE TABLE gathered (a UInt64) ENGINE = MergeTree ORDER BY a");
    for n in 0..3 {
        let request = engine.writer("/?async_insert=1&wait_for_async_insert=1");
        request.parameter("query", "INSERT INTO gathered FORMAT CSV").body(format!("{n}\n")).send().ok();
    }
    assert_eq!(engine.ask("SELECT count() FROM gathered"), "3");
}

#[test]
fn what_cannot_start_says_why() {
    let engine = Engine::shared();
    let path = tempfile::tempdir().unwrap();
    let taken = fettle_engine::ServeSettings::new(path.path().join("x"), engine.address.parse().unwrap());
    let (ready, _told) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(fettle_engine::serve(taken, ready, std::future::pending())).unwrap_err();
    assert!(error.to_string().contains("choose another address with --listen"), "{error}");
    assert!(!path.path().join("x").exists(), "a port in use is told before anything is made");
}
