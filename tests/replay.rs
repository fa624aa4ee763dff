//! `fettle replay` and `fettle incidents` against a running system: an agent's seconds are replayed, marks are
//! written by the one user who may, compared with, and taken back; and a policy is gone through with the alerts
//! and actions of a service that was killed and mended.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};
use std::time::Duration;

use fettle_tests::binaries::fettle;
use fettle_tests::mended::{Mended, Service, HOST};
use fettle_tests::stack::Stack;
use fettle_tests::wait::{until, when};
use rustix::process::Signal;
use serde_json::Value;

const VICTIM: &str = env!("CARGO_BIN_EXE_fettle-test-victim");
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
    command.env("FETTLE_HTTP", format!("127.0.0.1:{}", stack.http_port));
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

    // Claims are counted of series that have learned enough to make some: here, within seconds.
    let quick = stack.path("quick.toml");
    std::fs::write(&quick, "[series]\nlearning_points = 5\n").unwrap();
    let quick = quick.display().to_string();
    let page = json(&stack, &["replay", "--from", "-10m", "--json", "--calibrate", "--detectors", &quick]);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_gone_through_with_what_really_happened() {
    let service = Service::new(VICTIM);
    let declared = format!("[components.web]\n{}allow = {{ restart = true }}\n", service.declared(&[]));
    let mended = Mended::start("", |_| declared).await;
    mended.sees("web", true, SOON).await;
    service.signal(Signal::KILL);
    mended.plan_ends("web", "succeeded", SOON).await;
    mended.is_told("component_down", "resolved", SOON).await;
    let sql = mended.stack.sql();
    let stored =
        "SELECT (SELECT count() FROM fettle.alerts WHERE rule = 'component_down' AND `from` = 'firing' \
                  AND `to` = 'resolved') * (SELECT count() FROM fettle.actions WHERE outcome = 'succeeded')";
    until("alert and action are in the history", SOON, || async {
        when(sql.number(stored).await.unwrap_or(0), |count| *count >= 1)
    })
    .await;

    // The policy of that time finds the restart that was given then, and nothing else was done.
    let replay = ["replay", "--from", "-10m", "--json", "--policies"];
    let with = |more: &[&str]| json(&mended.stack, &[&replay[..], more].concat());
    // It is healed once the past that is gone through holds the seconds that verify it.
    let page = until("it is healed in the past too", SOON, || async {
        when(with(&["built-in", "--assume-helps"]), |page| page["totals"]["verdicts"]["healed"] == 1)
    })
    .await;
    let rows = page["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["rule"] == "component_down").unwrap();
    assert_eq!((&row["fate"], &row["action"]), (&"ordered".into(), &"restart".into()), "{page}");
    assert_eq!((&row["host"], &row["component"]), (&HOST.into(), &"web".into()), "{page}");
    assert_eq!((&row["entry"], &row["verdict"]), (&"component_down".into(), &"healed".into()), "{page}");
    assert_eq!(
        (&row["really"][0]["action"], &row["really"][0]["outcome"]),
        (&"restart".into(), &"succeeded".into())
    );
    let totals = &page["totals"];
    assert_eq!((&totals["by_action"]["restart"], &totals["same"]), (&1.into(), &1.into()), "{page}");
    assert_eq!(totals["people_called"], 0, "{page}");
    // The collector was asked what the host's file allows.
    assert!(!page["notes"].to_string().contains("files allow"), "{page}");
    // By what really happened it was verified too, if the real mend was in time; at least that one order was given.
    let page = with(&["built-in"]);
    assert!(
        page["totals"]["orders"].as_u64().unwrap() >= 1 && page["totals"]["same"].as_u64() >= Some(1),
        "{page}"
    );

    // A policy that asks first does nothing, and says so of what was really done.
    let file = mended.stack.path("asks.yaml");
    let text = "entries:\n  down:\n    match: {rules: component_down}\n    strategies:\n      - {action: restart, approval: ask}\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let page = with(&[&file]);
    assert_eq!(page["totals"]["orders"], 0, "{page}");
    assert!(page["totals"]["only_really"].as_u64() >= Some(1), "{page}");
    assert_eq!(page["totals"]["refused"]["approval"], 1, "{page}");
    let words = told(&run(&mended.stack, &["replay", "--from", "-10m", "--policies", &file]));
    assert!(words.contains("needs a person's word") && words.contains("restart succeeded"), "{words}");
    std::fs::write(&file, "entries:\n  down:\n    strategys: []\n").unwrap();
    let wrong = run(&mended.stack, &["replay", "--from", "-10m", "--policies", &file]);
    assert!(
        !wrong.status.success() && told(&wrong).contains("3:5: `strategys` is unknown"),
        "{}",
        told(&wrong)
    );
}
