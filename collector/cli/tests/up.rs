//! `fettle up` with every real part: ready, restart, order of stopping, and the end of its parts with it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod support;

use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;
use support::{err, fettle, is_alive, out, part, send, until, Running};

const PARTS: [&str; 4] = ["nats", "clickhouse", "collector", "agent"];

fn start(state: &Path) -> Running {
    let directory = state.display().to_string();
    let any = "127.0.0.1:0";
    let arguments =
        ["up", "--state-dir", &directory, "--http", any, "--sql", any, "--nats", any, "--agent-metrics", any];
    Running::start(fettle(&arguments))
}

/// The URL on the line that starts with this word.
fn url(running: &Running, word: &str) -> String {
    let line = running.seen.iter().find(|line| line.trim_start().starts_with(word)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn everything_starts_answers_restarts_and_stops_in_order() {
    assert!(support::siblings_are_built(), "build the workspace's binaries first (deploy/test does)");
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let begun = Instant::now();
    let mut up = start(&state);
    up.line("ready in ");
    let took = begun.elapsed();
    up.line("  logs  ");
    eprintln!("ready after {took:?}");
    for name in PARTS {
        assert!(
            up.seen.iter().any(|line| line.starts_with(name) && line.contains("ready")),
            "{:#?}",
            up.seen
        );
        assert_eq!(part(&state, name).unwrap().1, "ready");
    }

    // A second one on the same directory is refused with one sentence.
    let second = fettle(&["up", "--state-dir", &state.display().to_string()]).output().unwrap();
    assert!(!second.status.success());
    assert!(err(&second).contains(&format!("(pid {})", up.pid())), "{}", err(&second));

    // What the agent sampled can be asked for in SQL.
    let sql = url(&up, "SQL");
    until(|| {
        let asked = fettle(&["sql", "--url", &sql, "--format", "CSV", "SELECT count() > 0 FROM cpu"])
            .output()
            .unwrap();
        (out(&asked).trim() == "1").then_some(())
    });

    // Whatever dies is started again, and everything is well afterwards.
    for name in PARTS {
        let (pid, _) = part(&state, name).unwrap();
        send(pid, Signal::KILL);
        let new = until(|| part(&state, name).filter(|(new, state)| *new != pid && state == "ready"));
        assert!(!is_alive(pid) && is_alive(new.0));
    }
    let pids: Vec<u32> = PARTS.iter().map(|name| part(&state, name).unwrap().0).collect();
    // Twice at once is one wish, not haste.
    up.signal(Signal::TERM);
    up.signal(Signal::TERM);
    assert_eq!(up.wait(), Some(0), "{:#?}", up.seen);
    let stopped: Vec<&String> = up.seen.iter().filter(|line| line.contains(" stopped (")).collect();
    for (name, line) in ["agent", "collector", "clickhouse", "nats"].iter().zip(&stopped) {
        assert!(line.starts_with(name), "{stopped:#?}");
    }
    assert_eq!(stopped.len(), 4, "{:#?}", up.seen);
    assert!(!pids.into_iter().any(is_alive));
}

#[test]
fn the_parts_die_with_it_and_the_next_start_finds_everything_free() {
    assert!(support::siblings_are_built(), "build the workspace's binaries first (deploy/test does)");
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut up = start(&state);
    up.line("ready in ");
    let pids: Vec<u32> = PARTS.iter().map(|name| part(&state, name).unwrap().0).collect();
    up.signal(Signal::KILL);
    up.wait();
    until(|| (!pids.iter().any(|&pid| is_alive(pid))).then_some(()));
    let mut again = start(&state);
    again.line("ready in ");
    // As service managers do it: everyone is told at once. What ends by itself is then not started again.
    let pids: Vec<u32> = PARTS.iter().map(|name| part(&state, name).unwrap().0).collect();
    again.signal(Signal::INT);
    pids.iter().for_each(|&pid| send(pid, Signal::TERM));
    assert_eq!(again.wait(), Some(0), "{:#?}", again.seen);
    assert!(!pids.into_iter().any(is_alive));
}

#[test]
fn a_bad_file_of_a_part_is_said_before_anything_starts() {
    assert!(support::siblings_are_built(), "build the workspace's binaries first (deploy/test does)");
    let directory = tempfile::tempdir().unwrap();
    let (state, bad) = (directory.path().join("state"), directory.path().join("bad.toml"));
    std::fs::write(&bad, "[operations]\npolicies = \"/nowhere/policies.yaml\"\n[smaple]\n").unwrap();
    let (state, file) = (state.display().to_string(), bad.display().to_string());
    for (flag, name) in [("--agent-config", "agent"), ("--collector-config", "collector")] {
        let any = "127.0.0.1:0";
        let ports = ["--http", any, "--sql", any, "--nats", any, "--agent-metrics", any];
        let refused =
            fettle(&[&["up", "--state-dir", &state, flag, &file][..], &ports[..]].concat()).output().unwrap();
        assert!(!refused.status.success());
        let words = err(&refused);
        let said = format!("nothing was started, because the {name} would not start with its files");
        assert!(words.contains(&said) && words.contains("bad.toml"), "{words}");
        assert!(!directory.path().join("state/logs/nats.log").exists());
    }
}
