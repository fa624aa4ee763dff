//! `fettle replay` and `fettle incidents` against a running system: an agent's seconds are replayed, marks are
//! written by the one user who may, compared with, and taken back.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};
use std::time::Duration;

use fettle_tests::binaries::fettle;
use fettle_tests::stack::Stack;
use fettle_tests::wait::{until, when};
use serde_json::Value;

const AGENT: &str = "replay-1";
const SOON: Duration = Duration::from_secs(60);
const SECONDS: u64 = 15;

/// Runs `fettle` against the stack's engine.
fn run(stack: &Stack, arguments: &[&str]) -> Output {
    let url = format!("http://127.0.0.1:{}", stack.sql_port);
    let mut command = Command::new(fettle("fettle"));
    for variable in ["FETTLE_SQL_USER", "FETTLE_SQL_PASSWORD", "FETTLE_SQL_DATABASE"] {
        command.env_remove(variable);
    }
    command.env("FETTLE_SQL_URL", url).env("FETTLE_STATE_DIR", stack.path(""));
    command.args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(stack: &Stack, arguments: &[&str]) -> Value {
    let output = run(stack, arguments);
    assert!(output.status.success(), "{}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", told(&output)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_seconds_are_replayed_and_compared_with_marks() {
    let mut stack = Stack::new("");
    stack.start().await;
    let empty = run(&stack, &["replay", "--from", "-1h"]);
    assert!(!empty.status.success() && told(&empty).contains("the store is empty"), "{}", told(&empty));
    let mut agent = stack.agent(AGENT);
    agent.start();
    let sql = stack.sql();
    let seconds = format!("SELECT uniqExact(toStartOfSecond(ts)) FROM fettle.load WHERE host = '{AGENT}'");
    until("some seconds are stored", 2 * SOON, || async {
        when(sql.number(&seconds).await.unwrap_or(0), |seen| *seen > SECONDS)
    })
    .await;

    let mark = ["incidents", "mark", "--host", AGENT, "--from", "-10s", "--to", "now", "--kind", "test"];
    let marked = run(&stack, &mark);
    assert!(marked.status.success() && told(&marked).contains(AGENT), "{}", told(&marked));
    let listed = json(&stack, &["incidents", "list", "--json"]);
    assert_eq!(
        (&listed["incidents"][0]["host"], &listed["incidents"][0]["kind"]),
        (&AGENT.into(), &"test".into())
    );

    let page = json(&stack, &["replay", "--from", "-10m", "--json", "--calibrate"]);
    assert_eq!(page["hosts"][0]["host"], AGENT);
    assert!(page["host_seconds"].as_u64().unwrap() >= SECONDS, "{page}");
    assert!(page["hosts"][0]["series"].as_u64().unwrap() > 100, "{page}");
    assert!(page["calibration"]["points"].as_u64().unwrap() > 1_000, "{page}");
    // Nothing is reported of so young a host.
    assert_eq!((&page["marked"]["missed"], &page["marked"]["found"]), (&1.into(), &0.into()), "{page}");

    let words = told(&run(&stack, &["replay", "--from", "-10m"]));
    assert!(words.contains("missed") && words.contains("x real time"), "{words}");
    let file = stack.path("try.toml");
    std::fs::write(&file, "youngest_s = 5\nyungest_s = 6\n").unwrap();
    let refused = run(&stack, &["replay", "--from", "-10m", "--detectors", &file.display().to_string()]);
    let words = told(&refused);
    assert!(!refused.status.success() && words.contains("line 2") && words.contains("yungest_s"), "{words}");
    let nobody = told(&run(&stack, &["replay", "--from", "-10m", "--host", "nobody"]));
    assert!(nobody.contains("nobody") && nobody.contains(AGENT), "{nobody}");

    let id = listed["incidents"][0]["id"].as_str().unwrap();
    let taken = run(&stack, &["incidents", "unmark", id]);
    assert!(taken.status.success(), "{}", told(&taken));
    assert_eq!(json(&stack, &["incidents", "list", "--json"])["incidents"], Value::Array(Vec::new()));
    let again = run(&stack, &["incidents", "unmark", id]);
    assert!(
        !again.status.success() && told(&again).contains("there is no marked incident"),
        "{}",
        told(&again)
    );
}
