//! The agent and a real systemd, in a host that `systemd-nspawn` boots: units are seen as they are, orders do what
//! they say, and a unit that was killed, stopped or broken by a release is mended with nobody touching anything.
//! The agent runs from the unit file that is shipped, as root and without.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

#[path = "systemd/host.rs"]
mod host;
#[path = "systemd/orders.rs"]
mod orders;

use std::time::{Duration, Instant};

use fettle_shared::command::{Action, Outcome};
use fettle_shared::signing::key_to_text;
use fettle_tests::machine::Machine;
use fettle_tests::mended::{Given, Mended, Service, HOST};
use fettle_tests::stranger::{order, signer, Stranger};
use fettle_tests::wait::{until, when};
use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;

use host::{boot, install_agent, install_services, LOOKS};

/// Longest wait for anything, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_are_seen_as_they_are() {
    let logs = tempfile::tempdir().unwrap();
    let Some(machine) = boot(logs.path()).await else { return };
    for (unit, text) in LOOKS {
        machine.write(&format!("/etc/systemd/system/{unit}.service"), &format!("[Service]\n{text}\n"));
    }
    machine.say(&["systemctl", "daemon-reload"]);
    machine.say(&["systemctl", "mask", "--quiet", "masked.service"]);
    let started =
        LOOKS.iter().map(|(unit, _)| format!("{unit}.service")).filter(|unit| unit != "idle.service");
    let started: Vec<String> = started.collect();
    let mut start = vec!["systemctl", "start", "--no-block"];
    start.extend(started.iter().map(String::as_str));
    machine.say(&start);
    until("all units are as they are to be", SOON, || async {
        let state =
            |unit: &str| machine.property(unit, "ActiveState") + " " + &machine.property(unit, "SubState");
        let wanted = [
            ("good.service", "active running"),
            ("hung.service", "active running"),
            ("crashed.service", "failed failed"),
            ("stuck.service", "activating start"),
            ("looping.service", "activating auto-restart"),
            ("oneshot.service", "active exited"),
        ];
        let other = wanted
            .into_iter()
            .map(|(unit, state)| (unit, state.to_owned()))
            .find(|(unit, wanted)| state(unit) != *wanted);
        other.map_or(Ok(()), Err)
    })
    .await;
    let hung = machine.property("hung.service", "MainPID");
    machine.say(&["kill", "-STOP", &hung]);
    until("it has stopped", SOON, || async {
        let state = machine.say(&["ps", "-o", "state=", "-p", &hung]);
        when(state.trim().to_owned(), |state| state == "T")
    })
    .await;
    let names = LOOKS.iter().map(|(unit, _)| *unit).chain(["masked", "missing"]);
    let text: String = names
        .map(|name| {
            format!("[components.{name}]\nruns = {{ unit = \"{name}.service\" }}\ntimeout = \"10s\"\n")
        })
        .collect();
    machine.write("/etc/fettle/components.toml", &text);
    let seen = look(&machine);
    for (name, wanted) in [
        ("good", ""),
        ("oneshot", ""),
        ("crashed", "crashed.service is failed: its main process ended with 3"),
        ("stuck", "stuck.service is activating (start)"),
        ("looping", "looping.service is activating (auto-restart): its main process ended with 1"),
        ("idle", "idle.service is inactive (dead)"),
        ("masked", "masked.service is inactive, and its unit file is masked"),
        ("missing", "missing.service is not there: systemd finds no such unit"),
        ("hung", "0 of 1 processes run, 1 stopped by a signal"),
    ] {
        assert_eq!(error(&seen, name), wanted);
        assert_eq!(seen[name]["now"]["well"], wanted.is_empty(), "{name}");
    }
    let main: i64 = machine.property("good.service", "MainPID").parse().unwrap();
    assert_eq!(seen["good"]["now"]["processes"], serde_json::json!([main]));

    the_bus_hangs_and_is_gone(&machine);
}

fn error<'a>(seen: &'a Value, name: &str) -> &'a str {
    seen[name]["now"]["error"].as_str().unwrap()
}

/// One round of checks, by the agent's own command.
fn look(machine: &Machine) -> Value {
    let said = machine.say(&["fettle-agent", "components", "--json"]);
    serde_json::from_str::<Value>(&said).unwrap()["components"].clone()
}

/// A bus that hangs costs a check its time and no more; one that is gone is said to be.
fn the_bus_hangs_and_is_gone(machine: &Machine) {
    machine.write("/etc/fettle/components.toml", "[components.good]\nruns = { unit = \"good.service\" }\n");
    let bus = machine.pid_of(&machine.property("dbus.service", "MainPID"));
    let bus = Pid::from_raw(bus).unwrap();
    kill_process(bus, Signal::STOP).unwrap();
    let begun = Instant::now();
    let hanging = look(machine);
    kill_process(bus, Signal::CONT).unwrap();
    assert_eq!(error(&hanging, "good"), "no answer within 1s");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // It may take its time after that.
    let patient = "[components.good]\nruns = { unit = \"good.service\" }\ntimeout = \"10s\"\n";
    machine.write("/etc/fettle/components.toml", patient);
    assert_eq!(error(&look(machine), "good"), "");
    machine.say(&["mv", "/run/dbus/system_bus_socket", "/run/dbus/away"]);
    assert!(error(&look(machine), "good").starts_with("the system bus cannot be reached: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_are_mended_and_orders_reach_systemd() {
    let [web, shop, release] = [(); 3].map(|()| Service::new(host::PROGRAM));
    let keys = [key_to_text(&signer().public())];
    let given = Given { keys: &keys, ..Given::default() };
    let mended = Mended::prepare(given, |_| host::components(&web, &shop, &release)).await;
    let Some(machine) = boot(&mended.stack.logs()).await else { return };
    install_services(&machine, &web, &shop, &release);
    install_agent(&machine, &mended);
    for component in ["web", "shop", "release", "box", "kept"] {
        mended.sees(component, true, SOON).await;
    }

    // A crash, somebody's `systemctl stop`, and a release that does not run: all at once.
    let main = machine.property("web.service", "MainPID");
    let begun = Instant::now();
    kill_process(Pid::from_raw(machine.pid_of(&main)).unwrap(), Signal::KILL).unwrap();
    machine.say(&["systemctl", "stop", "shop.service"]);
    machine.say(&["ln", "-sfn", "releases/2", "/srv/release/current"]);
    machine.say(&["systemctl", "restart", "release.service"]);
    for (component, doing) in [("web", "restart"), ("shop", "restart"), ("release", "roll_back")] {
        let plan = mended.plan_ends(component, "succeeded", SOON).await;
        assert_eq!(plan["doing"], doing, "{plan}");
        assert_eq!(machine.property(&format!("{component}.service"), "ActiveState"), "active");
    }
    eprintln!("three units mended and verified {:.1} s after", begun.elapsed().as_secs_f64());
    assert_ne!(machine.property("web.service", "MainPID"), main);
    assert_eq!(machine.say(&["readlink", "/srv/release/current"]).trim(), "releases/1");
    for service in [&web, &shop, &release] {
        service.is_well(SOON).await;
    }
    mended.is_told("component_down", "resolved", SOON).await;

    let stranger = Stranger::on(&mended.stack.nats_url()).await;
    orders::follow(&machine, &stranger).await;
    lives_through_a_restart_of_the_agent(&machine, &mended).await;
    runs_without_root(&machine, &mended, &stranger).await;
}

/// What the agent supervises is not its unit's to end.
async fn lives_through_a_restart_of_the_agent(machine: &Machine, mended: &Mended) {
    let kept = || machine.run(&["pgrep", "--full", "^/bin/sleep 100000$"]);
    let before = kept().unwrap();
    let agent = machine.property("fettle-agent.service", "MainPID");
    machine.say(&["systemctl", "restart", "fettle-agent.service"]);
    until("another agent runs", SOON, || async {
        when(machine.property("fettle-agent.service", "MainPID"), |now| *now != agent && now != "0")
    })
    .await;
    let since = fettle_tests::stranger::now_us();
    let sql = mended.stack.sql();
    let query = format!(
        "SELECT count() FROM fettle.component WHERE host = '{HOST}' AND component = 'kept' AND up = 1 \
         AND toUnixTimestamp64Micro(ts) > {since}"
    );
    until("it is seen by the new agent", SOON, || async {
        when(sql.number(&query).await.unwrap_or(0), |rows| *rows > 0)
    })
    .await;
    assert_eq!(kept().unwrap(), before, "it lives on and is not started twice");
}

/// The shipped drop-in and polkit rule: what the rule names works, all else is refused with the remedy.
async fn runs_without_root(machine: &Machine, mended: &Mended, stranger: &Stranger) {
    host::take_root_away(machine);
    let agent = machine.property("fettle-agent.service", "MainPID");
    let user = machine.say(&["stat", "--format", "%U", &format!("/proc/{agent}")]);
    assert_eq!(user.trim(), "fettle-agent");
    mended.sees("web", true, SOON).await;
    let before = machine.property("web.service", "MainPID");
    assert_eq!(stranger.finish("web", Action::Restart).await, Outcome::Succeeded);
    assert_ne!(machine.property("web.service", "MainPID"), before);
    let refused = stranger.is_over(&order(HOST, "shop", Action::Restart)).await;
    let Outcome::Failed { error } = &refused else { panic!("{refused:?}") };
    assert!(error.contains("run the agent as root or give its user the right"), "{error}");
    assert!(machine.property("shop.service", "ActiveState") == "active");
}
