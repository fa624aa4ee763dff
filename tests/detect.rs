//! Detection beside the line, with real parts: a program that goes mad on this host becomes an anomaly that can be asked
//! for, health is scored, and a collector that starts again goes on with what it had learned.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use fettle_tests::process::Process;
use fettle_tests::stack::{Stack, START};
use fettle_tests::wait::{until, when};
use serde_json::Value;

const AGENT: &str = "detect-1";
const SOON: Duration = Duration::from_secs(60);
/// Short times to learn, so that a test need not wait for minutes; and however much other tests make of this host,
/// the next report needs no more than the one before.
const SETTINGS: &str = "[analysis]\nlearning_s = 30\nhost_learning_s = 60\nyoungest_s = 5\ncalm_s = 3\n\
                        report_step = 0.0\nsnapshot_interval_s = 1\n[analysis.series]\nlearning_points = 20\n\
                        [analysis.surge]\nyoung_s = 60.0\n";
/// Seconds after which the host is known: series say nothing in their first points, and the panel ranks nothing in
/// its first minute after that.
const LEARNED_S: u64 = 90;
/// A program that nobody else runs.
const MAD: &str = "fettle-mad";
async fn metric(stack: &Stack, name: &str) -> u64 {
    let text = stack.metrics().await.unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(&format!("fettle_collector_{name} ")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

async fn reaches(stack: &Stack, name: &str, least: u64, deadline: Duration) {
    until(&format!("{name} reaches {least}"), deadline, || async {
        when(metric(stack, name).await, |value| *value >= least)
    })
    .await;
}

async fn ask(stack: &Stack, path: &str) -> (u16, Value) {
    let url = format!("http://127.0.0.1:{}/api/v3/{path}", stack.http_port);
    let answer = fettle_tests::sql::http_client().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The row about a program that takes a whole processor and never ran before, and the program, which runs on.
async fn found_mad(stack: &Stack) -> (Value, Process) {
    let program = stack.path(MAD);
    std::fs::copy("/bin/sh", &program).unwrap();
    let mut mad = Process::new(MAD, program, &["-c", "while :; do :; done"], &stack.logs());
    mad.start();
    let query = format!(
        "SELECT * FROM fettle.anomalies FINAL WHERE host = '{AGENT}' AND kind = 'host' \
         AND position(attribution, 'comm={MAD}') > 0 ORDER BY ts LIMIT 1"
    );
    let sql = stack.sql();
    let row = until("a row that names the program", SOON, || async {
        sql.rows(&query).await.ok().and_then(|mut rows| rows.pop()).ok_or("no row yet")
    })
    .await;
    (row, mad)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_gone_mad_is_an_anomaly_that_can_be_asked_for() {
    let mut stack = Stack::new(SETTINGS);
    stack.start().await;
    let mut agent = stack.agent(AGENT);
    agent.start();
    reaches(&stack, "watch_seconds_total", LEARNED_S, 3 * SOON).await;
    let (found, mut mad) = found_mad(&stack).await;
    let (status, rows) = ask(&stack, &format!("monitoring/anomalies?host={AGENT}")).await;
    assert_eq!(status, 200, "{rows}");
    let told = rows["anomalies"].as_array().unwrap();
    let same = |row: &&Value| row["reason"] == found["reason"] && row["incident"] == found["incident"];
    let row = told.iter().find(same).unwrap_or_else(|| panic!("{found} is not in {rows}"));
    for column in ["host", "ts", "kind", "severity", "reason", "incident", "attribution", "entity"] {
        assert!(row.get(column).is_some(), "{column} is missing in {row}");
    }
    assert_eq!(row["host"], AGENT);
    assert!(!row["reason"].as_str().unwrap().is_empty(), "{row}");
    let incident = row["incident"].as_str().unwrap();
    assert!(incident.starts_with(AGENT), "{incident}");
    // What moved together is said when the incident is some seconds old, if it moves still.
    let told = format!("SELECT count() FROM fettle.anomalies WHERE host = '{AGENT}' AND kind = 'together'");
    let sql = stack.sql();
    until("what moved together is said", SOON, || async {
        when(sql.number(&told).await.unwrap_or(0), |rows| *rows > 0)
    })
    .await;
    mad.kill();
    health_is_scored(&stack).await;
    the_hot_view_is_there(&stack).await;
    refusals(&stack).await;
    assert_eq!(stack.collector.terminate(SOON).await, Some(0), "{}", stack.collector.last_words(20));
}

/// Each series' own alarms, from memory.
async fn the_hot_view_is_there(stack: &Stack) {
    let path = format!("monitoring/anomalies/recent?host={AGENT}");
    let (status, body) = ask(stack, &path).await;
    assert_eq!((status, body["host"].as_str()), (200, Some(AGENT)), "{body}");
    let rows = body["anomalies"].as_array().unwrap();
    assert!(!rows.is_empty() && body["count"].as_u64() == Some(rows.len() as u64), "{body}");
    assert!(
        rows.windows(2).all(|two| two[0]["ts"].as_str() >= two[1]["ts"].as_str()),
        "newest first: {body}"
    );
    let series = rows[0]["series"].as_str().unwrap();
    let encoded: String = series.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (_, one) = ask(stack, &format!("{path}&series={encoded}&limit=10")).await;
    let of_it = one["anomalies"].as_array().unwrap();
    assert!(!of_it.is_empty() && of_it.iter().all(|row| row["series"] == series), "{series}: {one}");
    assert!(of_it.iter().all(|row| row["score"].as_f64().unwrap() >= 0.5), "{one}");
    assert_eq!(ask(stack, "monitoring/anomalies/recent?host=nobody").await.0, 404);
}

async fn health_is_scored(stack: &Stack) {
    let one = until("the host has a score", SOON, || async {
        let (_, body) = ask(stack, &format!("analytics/performance-score?host={AGENT}")).await;
        when(body, |body| body["score"].is_number())
    })
    .await;
    let score = one["score"].as_f64().unwrap();
    assert!((0.0..=100.0).contains(&score), "{one}");
    assert!(one["cpu"].is_number() && one["memory"].is_number() && one["disk"].is_number(), "{one}");
    let (status, fleet) = ask(stack, "analytics/performance-score").await;
    assert_eq!(status, 200);
    assert_eq!(fleet["hosts"].as_array().unwrap().len(), 1, "{fleet}");
    assert!(fleet["score"].is_number(), "{fleet}");
}

async fn refusals(stack: &Stack) {
    for path in [
        "monitoring/anomalies?severity=terrible",
        "monitoring/anomalies?limit=0",
        "monitoring/anomalies?from=yesterday",
        "monitoring/anomalies?hostt=x",
        "monitoring/forecasts?host=a%27b",
        "analytics/performance-score?limit=1",
        "monitoring/anomalies/recent",
        "monitoring/anomalies/recent?host=x&series=nonsense",
        "monitoring/anomalies/recent?host=x&limit=0",
    ] {
        let (status, body) = ask(stack, path).await;
        assert_eq!(status, 400, "{path}: {body}");
        assert!(body["error"].as_str().is_some_and(|words| !words.contains('\n')), "{path}: {body}");
    }
    for path in ["monitoring/forecasts", "monitoring/predictions"] {
        let (status, body) = ask(stack, path).await;
        assert_eq!((status, body["count"].is_u64()), (200, true), "{path}: {body}");
    }
}

/// What is learned outlives the process: after an orderly stop to the last second, after a kill as of the last
/// snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_collector_goes_on_with_what_it_had_learned() {
    let mut stack = Stack::new(SETTINGS);
    stack.start().await;
    let mut agent = stack.agent(AGENT);
    agent.start();
    reaches(&stack, "watch_seconds_total", 10, 2 * SOON).await;
    assert_eq!(metric(&stack, "snapshots_restored_total").await, 0);
    assert_eq!(stack.collector.terminate(SOON).await, Some(0), "{}", stack.collector.last_words(20));
    stack.collector.start();
    stack.healthy(START).await;
    reaches(&stack, "snapshots_restored_total", 1, SOON).await;
    reaches(&stack, "snapshots_saved_total", 1, SOON).await;
    stack.collector.kill();
    stack.collector.start();
    stack.healthy(START).await;
    reaches(&stack, "snapshots_restored_total", 1, SOON).await;
    assert_eq!(metric(&stack, "snapshots_refused_total").await, 0, "{}", stack.collector.last_words(20));
    let series = until("its series are judged again", SOON, || async {
        when(metric(&stack, "watch_series").await, |series| *series > 300)
    })
    .await;
    assert!(series > 300);
}
