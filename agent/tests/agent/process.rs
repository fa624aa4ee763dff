//! The binary itself: started, stopped, killed, and asked.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

use crate::collector::{Collector, Received};
use crate::nats::{free_port, Nats};
use crate::page::until;

fn agent() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fettle-agent"))
}

fn ask(args: &[&str]) -> Output {
    agent().args(args).output().unwrap()
}

fn run(nats: &Nats, dir: &Path, metrics: &str) -> Child {
    agent()
        .args(["run", "--agent", "a", "--metrics", metrics, "--nats", &nats.url(), "--spool"])
        .arg(dir)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn terminate(mut child: Child) -> i32 {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let asked = Instant::now();
    let code = child.wait().unwrap().code();
    assert!(asked.elapsed() < Duration::from_secs(6), "stopping took {:?}", asked.elapsed());
    code.expect("it ends by itself")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn total(received: &Received) -> u64 {
    received.numbers.values().map(|numbers| numbers.len() as u64).sum()
}

#[test]
fn a_stopped_agent_has_sent_its_last_frame() {
    runtime().block_on(async {
        let (nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
        let child = run(&nats, dir.path(), "off");
        let collector = Collector::start(&nats.url(), Received::default());
        collector.until("three frames", |received| total(received) >= 3).await;
        assert_eq!(terminate(child), 0);
        let mut kept = (0, 0);
        fettle_agent::spool::list(dir.path(), |frame| {
            kept = (u64::from_str_radix(&frame.boot, 16).unwrap(), frame.seq);
        })
        .unwrap();
        let (boot, last) = kept;
        collector.until("the last frame", |received| received.upto(boot) == last).await;
    });
}

#[test]
fn a_killed_agent_leaves_no_hole() {
    runtime().block_on(async {
        let (nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
        let collector = Collector::start(&nats.url(), Received::default());
        for round in 1..4 {
            let before = total(&collector.received());
            let mut child = run(&nats, dir.path(), "off");
            collector.until("two more", |received| total(received) >= before + 2).await;
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(collector.received().numbers.len(), 1, "one boot in round {round}");
        }
        let child = run(&nats, dir.path(), "off");
        let boot = *collector.received().numbers.keys().next().unwrap();
        let before = total(&collector.received());
        collector.until("two more", |received| total(received) >= before + 2).await;
        assert_eq!(terminate(child), 0);
        let is_whole = |received: &Received| received.numbers[&boot].last() == Some(&received.upto(boot));
        collector.until("no number is missing", is_whole).await;
    });
}

#[test]
fn an_agent_without_nats_stops_at_once_and_keeps_its_frames() {
    let (nats, dir) = (Nats::down(), tempfile::tempdir().unwrap());
    let child = run(&nats, dir.path(), "off");
    let deadline = Instant::now() + Duration::from_secs(30);
    let frames = || fettle_agent::spool::status(dir.path()).map_or(0, |status| status.frames);
    while frames() < 2 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(terminate(child), 0);
    let out = ask(&["spool", "status", "--json", "--spool", dir.path().to_str().unwrap()]);
    let status: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(status["unconfirmed_frames"].as_u64().unwrap() >= 2, "{status}");
    assert_eq!(status["damaged_bytes"], 0);
    let out = ask(&["spool", "list", "--spool", dir.path().to_str().unwrap()]);
    assert!(String::from_utf8(out.stdout).unwrap().contains("waiting"));
}

#[test]
fn metrics_are_served() {
    let (nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
    let address = format!("127.0.0.1:{}", free_port());
    let child = run(&nats, dir.path(), &address);
    runtime().block_on(async {
        until(&address, "connected", |connected| connected == 1.0).await;
        until(&address, "publish_ack_seconds_count", |acks| acks >= 1.0).await;
    });
    assert_eq!(terminate(child), 0);
}

#[test]
fn questions_are_answered_and_mistakes_said_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, "[spool]\nquotum = 1\n").unwrap();
    let config = file.to_str().unwrap();
    let nowhere = dir.path().join("none").to_str().unwrap().to_owned();
    for (args, expected) in [
        (&["check", "--config", config][..], "line 2: there is no key `quotum` here"),
        (&["--check", "--config", &nowhere], "cannot be read"),
        (&["run", "--agent", "a b"], "--agent: \"a b\" cannot be an agent's name"),
        (&["run", "--spool", config, "--metrics", "off"], "make it a directory that this user may write to"),
        (&["spool", "status", "--spool", &nowhere], "there is no spool at"),
    ] {
        let out = ask(args);
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && said.contains(expected), "{args:?} says {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    let scan = ask(&["sample", "--once", "--format", "json"]);
    let scan: serde_json::Value = serde_json::from_slice(&scan.stdout).unwrap();
    assert_eq!(scan["families"]["memory"].as_array().unwrap().len(), 1);
    let good = ask(&["--check", "--agent", "web-1"]);
    assert!(good.status.success());
    assert!(String::from_utf8(good.stdout).unwrap().contains("agent = \"web-1\""));
}
