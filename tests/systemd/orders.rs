//! Orders about units, each followed to its end: what systemd then says of the unit is what the order asked for,
//! and where it is not, the receipt says why.

use std::time::Instant;

use fettle_shared::command::{Action, Order, Outcome, Receipt, Refusal};
use fettle_tests::machine::Machine;
use fettle_tests::mended::HOST;
use fettle_tests::stranger::{order, Stranger};
use fettle_tests::wait::{until, when};

use crate::SOON;

fn limit(resource: &str, value: u64) -> Action {
    Action::Limit { resource: resource.into(), value }
}

fn failed(receipt: &Receipt) -> &str {
    match &receipt.outcome {
        Outcome::Failed { error } => error,
        other => panic!("{other:?}"),
    }
}

/// An order with little time, which it is to take and no more.
async fn in_two_seconds(stranger: &Stranger, component: &str, action: Action) -> Receipt {
    let begun = Instant::now();
    let receipt = stranger.receipt(&Order { timeout_s: 2, ..order(HOST, component, action) }).await;
    assert_eq!(receipt.outcome, Outcome::TimedOut, "{receipt:?}");
    assert!(receipt.output.contains("systemd goes on with its job"), "{receipt:?}");
    assert!((2.0..10.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    receipt
}

/// All of them.
pub async fn follow(machine: &Machine, stranger: &Stranger) {
    tokio::join!(
        starts_and_stops(machine, stranger),
        takes_its_time(machine, stranger),
        says_why_not(machine, stranger),
    );
    limits_and_niceness(machine, stranger).await;
}

async fn starts_and_stops(machine: &Machine, stranger: &Stranger) {
    let state = || machine.property("box.service", "ActiveState");
    let done = async |action| {
        let receipt = stranger.receipt(&order(HOST, "box", action)).await;
        assert_eq!(receipt.outcome, Outcome::Succeeded, "{receipt:?}");
        receipt.output
    };
    // First of all: one that has just been started may not listen yet.
    done(Action::Signal { signal: "USR1".into() }).await;
    until("the main process has heard", SOON, || async {
        when(machine.run(&["test", "-e", "/run/heard"]), Result::is_ok)
    })
    .await
    .unwrap();
    assert_eq!(done(Action::Stop).await, "stop of box.service is done; it is inactive");
    assert_eq!(state(), "inactive");
    assert_eq!(done(Action::Start).await, "start of box.service is done; it is active");
    assert_eq!(state(), "active");
    let refused = stranger.finish("box", Action::Restart).await;
    assert_eq!(refused, Outcome::Refused { reason: Refusal::NotAllowed });
    let refused = stranger.finish("dbus", Action::Restart).await;
    assert_eq!(refused, Outcome::Refused { reason: Refusal::UnknownComponent });
}

/// A start that does not come to its end, and a unit that does not want to stop.
async fn takes_its_time(machine: &Machine, stranger: &Stranger) {
    in_two_seconds(stranger, "slow", Action::Start).await;
    assert_eq!(machine.property("slow.service", "ActiveState"), "activating");
    machine.say(&["systemctl", "start", "stubborn.service"]);
    // It has started before it does not listen.
    until("it listens to nobody", SOON, || async {
        when(machine.run(&["test", "-e", "/run/stubborn"]), Result::is_ok)
    })
    .await
    .unwrap();
    in_two_seconds(stranger, "stubborn", Action::Stop).await;
    assert_eq!(machine.property("stubborn.service", "ActiveState"), "deactivating");
    let killed = stranger.finish("stubborn", Action::Signal { signal: "KILL".into() }).await;
    assert_eq!(killed, Outcome::Succeeded);
    until("it has ended", SOON, || async {
        when(machine.property("stubborn.service", "MainPID"), |pid| pid == "0")
    })
    .await;
}

async fn says_why_not(machine: &Machine, stranger: &Stranger) {
    let broken = stranger.receipt(&order(HOST, "broken", Action::Start)).await;
    // systemd calls a job done once a simple service is forked; what it runs may yet not be there.
    assert!(matches!(&broken.outcome, Outcome::Succeeded | Outcome::Failed { .. }), "{broken:?}");
    until("it has failed", SOON, || async {
        when(machine.property("broken.service", "ActiveState"), |state| state == "failed")
    })
    .await;
    let missing = stranger.receipt(&order(HOST, "missing", Action::Restart)).await;
    assert!(failed(&missing).contains("missing.service not found"), "{missing:?}");
    // A unit that crashed too often is refused by systemd itself, until somebody sets its count back.
    let _ = machine.run(&["systemctl", "start", "tired.service"]);
    until("it has crashed too often", SOON, || async {
        when(machine.property("tired.service", "ActiveState"), |state| state == "failed")
    })
    .await;
    machine.say(&["touch", "/run/rested"]);
    assert!(machine.run(&["systemctl", "restart", "tired.service"]).is_err(), "systemd refuses it");
    let restarted = stranger.receipt(&order(HOST, "tired", Action::Restart)).await;
    assert_eq!(restarted.outcome, Outcome::Succeeded, "{restarted:?}");
    assert_eq!(machine.property("tired.service", "ActiveState"), "active");
}

async fn limits_and_niceness(machine: &Machine, stranger: &Stranger) {
    const MIB: u64 = 1 << 20;
    let first = stranger.receipt(&order(HOST, "box", limit("memory_bytes", 64 * MIB))).await;
    assert_eq!(first.outcome, Outcome::Succeeded, "{first:?}");
    assert_eq!(machine.property("box.service", "MemoryMax"), (64 * MIB).to_string());
    assert_eq!(first.before.get("value"), None, "there was no limit");
    for (resource, value, name, said) in
        [("cpu_percent", 50, "CPUQuotaPerSecUSec", "500ms"), ("pids", 20, "TasksMax", "20")]
    {
        assert_eq!(stranger.finish("box", limit(resource, value)).await, Outcome::Succeeded);
        assert_eq!(machine.property("box.service", name), said);
    }
    let above = stranger.finish("box", limit("pids", 101)).await;
    assert_eq!(above, Outcome::Refused { reason: Refusal::NotAllowed });
    let again = until("it has cooled down", SOON, || async {
        let receipt = stranger.receipt(&order(HOST, "box", limit("memory_bytes", 32 * MIB))).await;
        when(receipt, |receipt| receipt.outcome != Outcome::Refused { reason: Refusal::CoolingDown })
    })
    .await;
    assert_eq!(again.outcome, Outcome::Succeeded, "{again:?}");
    assert_eq!(again.before["value"], (64 * MIB).to_string(), "what a policy puts it back to");

    let nice = stranger.receipt(&order(HOST, "box", Action::Renice { nice: 7 })).await;
    assert!(nice.outcome == Outcome::Succeeded && nice.before.contains_key("nice"), "{nice:?}");
    let main = machine.property("box.service", "MainPID");
    assert_eq!(machine.say(&["ps", "-o", "ni=", "-p", &main]).trim(), "7");
}
