//! The loop closed on a real host: a service is broken, and it is noticed, told, mended and verified with
//! nobody touching anything; and the collector may be killed in between.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use fettle_tests::binaries::fettle;
use fettle_tests::mended::{Mended, Service};
use fettle_tests::wait::{until, when};
use rustix::process::Signal;

const VICTIM: &str = env!("CARGO_BIN_EXE_fettle-test-victim");
const SOON: Duration = Duration::from_secs(60);

fn web(service: &Service) -> String {
    format!("[components.web]\n{}allow = {{ restart = true }}\n", service.declared(&[]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_a_hung_service_are_mended_and_told_once() {
    let service = Service::new(VICTIM);
    let mended = Mended::start("", |_| web(&service)).await;
    mended.sees("web", true, SOON).await;
    let first = service.pids();
    assert_eq!(first.len(), 1);
    service.signal(Signal::KILL);
    let plan = mended.plan_ends("web", "succeeded", SOON).await;
    assert_eq!(plan["doing"], "restart", "{plan}");
    assert_ne!(service.pids(), first);
    service.is_well(SOON).await;
    mended.is_told("component_down", "resolved", SOON).await;
    assert_eq!(mended.told("component_down", "firing").len(), 1, "{:#?}", mended.sink.posted());

    // A hang: the process is there and answers nothing.
    service.signal(Signal::STOP);
    service.is_well(SOON).await;
    let sql = mended.stack.sql();
    until("both mends are in the audit", SOON, || async {
        when(
            sql.number("SELECT uniqExact(plan) FROM fettle.audit WHERE kind = 'verified'").await.unwrap_or(0),
            |n| *n >= 2,
        )
    })
    .await;
    let outcomes = "SELECT count() FROM fettle.actions WHERE outcome = 'succeeded' AND component = 'web'";
    assert!(sql.number(outcomes).await.unwrap() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_killed_in_the_middle_finishes_what_it_began() {
    let service = Service::new(VICTIM);
    let mut mended = Mended::start("", |_| web(&service)).await;
    mended.sees("web", true, SOON).await;
    service.signal(Signal::KILL);
    // Whatever it is doing now, it dies; the next one goes on.
    until("a plan is under way", SOON, || async {
        when(mended.ask("plans").await, |plans| plans.as_array().is_some_and(|all| !all.is_empty()))
    })
    .await;
    mended.stack.collector.kill();
    mended.stack.collector.start();
    mended.stack.healthy(SOON).await;
    mended.plan_ends("web", "succeeded", SOON).await;
    service.is_well(SOON).await;
    mended.is_told("component_down", "resolved", SOON).await;
    // Killed between the sending and the saving, it sends the same notification again: under the same id.
    let told = mended.told("component_down", "firing");
    let ids: BTreeSet<&str> = told.iter().filter_map(|body| body["id"].as_str()).collect();
    assert_eq!(ids.len(), 1, "{:#?}", mended.sink.posted());
    assert!(told.len() <= 2, "{:#?}", mended.sink.posted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_hosts_file_does_not_allow_is_not_done() {
    let service = Service::new(VICTIM);
    let mended = Mended::start("", |_| format!("[components.web]\n{}", service.declared(&[]))).await;
    mended.sees("web", true, SOON).await;
    service.signal(Signal::KILL);
    mended.sees("web", false, SOON).await;
    mended.is_told("component_down", "firing", SOON).await;
    until("it is said why nothing is done", SOON, || async {
        when(mended.ask("plan").await, |said| said["would_not"].as_array().is_some_and(|all| !all.is_empty()))
    })
    .await;
    assert!(service.pids().is_empty());
    let sql = mended.stack.sql();
    assert_eq!(
        sql.number("SELECT count() FROM fettle.actions WHERE outcome = 'succeeded'").await.unwrap(),
        0
    );
}

/// Runs `fettle` against the stack as ann; gives what it said, as an error when it failed.
fn try_to_say(mended: &Mended, arguments: &[&str]) -> Result<String, String> {
    let stack = &mended.stack;
    let mut command = Command::new(fettle("fettle"));
    for variable in ["FETTLE_SQL_USER", "FETTLE_SQL_PASSWORD", "FETTLE_SQL_DATABASE", "FETTLE_TOKEN_FILE"] {
        command.env_remove(variable);
    }
    command.env("FETTLE_SQL_URL", format!("http://127.0.0.1:{}", stack.sql_port));
    command.env("FETTLE_HTTP", format!("127.0.0.1:{}", stack.http_port));
    command.env("FETTLE_STATE_DIR", stack.path("")).env("FETTLE_AUTHOR", "ann");
    let output = command.args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

fn say(mended: &Mended, arguments: &[&str]) -> String {
    try_to_say(mended, arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_have_their_say_and_a_lost_state_keeps_the_audit_and_the_freeze() {
    let service = Service::new(VICTIM);
    let mut mended = Mended::start("", |_| web(&service)).await;
    mended.sees("web", true, SOON).await;
    say(&mended, &["freeze", "--reason", "a look first"]);
    service.signal(Signal::KILL);
    let alert = until("an alert fires", SOON, || async {
        let alerts = mended.ask("alerts").await;
        let mut all = alerts.as_array().into_iter().flatten();
        let id = all
            .find(|one| one["rule"] == "component_down" && one["state"] == "firing")
            .map(|one| one["id"].clone());
        id.and_then(|id| id.as_str().map(str::to_owned)).ok_or(alerts)
    })
    .await;
    for (verb, reason) in [("ack", "on it"), ("unack", "not on it"), ("resolve", "it is known")] {
        assert!(say(&mended, &["alerts", verb, &alert, "--reason", reason]).contains("done"));
    }
    let sql = mended.stack.sql();
    let told = format!(
        "SELECT toUInt64(countIf(text = 'by ann: on it') > 0 AND countIf(text = 'given back by ann: not on it') > 0 \
         AND countIf(`to` = 'resolved' AND text = 'by ann: it is known') > 0) FROM fettle.alerts WHERE id = '{alert}'"
    );
    let frozen = "SELECT count() FROM fettle.audit WHERE kind = 'frozen' AND who = 'ann'";
    until("all of it is in the history", SOON, || async {
        let (told, frozen) = (sql.number(&told).await.unwrap_or(0), sql.number(frozen).await.unwrap_or(0));
        when((told, frozen), |seen| *seen == (1, 1))
    })
    .await;

    // NATS loses everything while the collector is down: what is in ClickHouse is gone on from.
    mended.stack.collector.kill();
    mended.stack.wipe_nats();
    mended.stack.collector.start();
    mended.stack.healthy(SOON).await;
    until("the freeze is in force again", SOON, || async {
        when(mended.ask("operations").await, |said| {
            said["frozen"]["who"] == "ann" && said["states_refused"]["lost"] == 1
        })
    })
    .await;
    assert!(service.pids().is_empty());
    say(&mended, &["unfreeze"]);
    let plan = mended.plan_ends("web", "succeeded", 2 * SOON).await;
    // Somebody wants it thought about again: nothing is wrong any more, so nothing comes of it.
    let said = say(&mended, &["plans", "retry", plan["id"].as_str().unwrap(), "--reason", "sure?"]);
    assert!(said.contains("thought about again"), "{said}");
    let whole =
        "SELECT toUInt64(count() = max(seq) AND uniqExact(seq) = count()) * countIf(kind = 'resumed') * \
                 countIf(kind = 'retried') FROM fettle.audit";
    until("the audit is one chain", SOON, || async {
        when(sql.number(whole).await.unwrap_or(0), |count| *count == 1)
    })
    .await;
    // Its newest records may be on their way still.
    let verified =
        until("the audit is verified", SOON, || async { try_to_say(&mended, &["audit", "verify"]) }).await;
    assert!(verified.contains("the audit is whole"), "{verified}");
}
