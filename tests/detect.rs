//! Detection beside the line, with real parts: a burst on this host becomes an anomaly that can be asked for,
//! health is scored, and a collector that starts again goes on with what it had learned.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fettle_tests::stack::{Stack, START};
use fettle_tests::wait::{until, when};
use serde_json::Value;

const AGENT: &str = "detect-1";
const SOON: Duration = Duration::from_secs(60);
/// Short times to learn, so that a test need not wait for minutes.
const SETTINGS: &str =
    "[analysis]\nlearning_s = 40\nhost_learning_s = 60\nyoungest_s = 10\nsnapshot_interval_s = 1\n";

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

/// Processes that take the processors and touch much memory, until they are dropped.
struct Burst(Vec<Child>);

impl Burst {
    fn begin() -> Self {
        let work =
            "a=x; while [ ${#a} -lt 67108864 ]; do a=$a$a; done; while :; do b=$(echo $a | wc -c); done";
        let start = |_| {
            let mut command = Command::new("bash");
            command.args(["-c", work]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        Self((0..4).map(start).collect())
    }
}

impl Drop for Burst {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_on_this_host_is_an_anomaly_that_can_be_asked_for() {
    let mut stack = Stack::new(SETTINGS);
    stack.start().await;
    let mut agent = stack.agent(AGENT);
    agent.start();
    reaches(&stack, "watch_seconds_total", 75, 3 * SOON).await;
    let before = metric(&stack, "anomalies_found_total").await;
    let burst = Burst::begin();
    reaches(&stack, "anomalies_found_total", before + 1, SOON).await;
    let rows = until("the anomaly is there to be asked for", SOON, || async {
        let (status, body) = ask(&stack, &format!("monitoring/anomalies?host={AGENT}")).await;
        when((status, body), |(status, body)| *status == 200 && body["count"].as_u64() > Some(0))
    })
    .await
    .1;
    let row = &rows["anomalies"][0];
    for column in ["host", "ts", "kind", "severity", "reason", "incident", "attribution", "entity"] {
        assert!(row.get(column).is_some(), "{column} is missing in {row}");
    }
    assert_eq!(row["host"], AGENT);
    assert!(!row["reason"].as_str().unwrap().is_empty(), "{row}");
    let incident = row["incident"].as_str().unwrap();
    assert!(incident.starts_with(AGENT), "{incident}");
    // What moved together is said when the incident is some seconds old.
    let told = format!("SELECT count() FROM fettle.anomalies WHERE host = '{AGENT}' AND kind = 'together'");
    let sql = stack.sql();
    until("what moved together is said", SOON, || async {
        when(sql.number(&told).await.unwrap_or(0), |rows| *rows > 0)
    })
    .await;
    drop(burst);
    health_is_scored(&stack).await;
    refusals(&stack).await;
    assert_eq!(stack.collector.terminate(SOON).await, Some(0), "{}", stack.collector.last_words(20));
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
