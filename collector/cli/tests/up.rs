//! `fettle up` with every real part: ready, restart, order of stopping, and the end of its parts with it.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod support;

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{mknodat, FileType, Mode, CWD};
use rustix::process::{kill_process, Pid, Signal};
use support::{err, fettle, is_alive, out, part, send, state_of, until, Running};

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
    // Twice at once is one wish, not haste: both wait for it when it goes on.
    up.signal(Signal::STOP);
    until(|| (state_of(up.pid()) == Some('T')).then_some(()));
    up.signal(Signal::TERM);
    up.signal(Signal::INT);
    up.signal(Signal::CONT);
    assert_eq!(up.wait(), Some(0), "{:#?}", up.seen);
    let stopped: Vec<&String> = up.seen.iter().filter(|line| line.contains(" stopped (")).collect();
    for (name, line) in ["agent", "collector", "clickhouse", "nats"].iter().zip(&stopped) {
        assert!(line.starts_with(name), "{stopped:#?}");
    }
    assert_eq!(stopped.len(), 4, "{:#?}", up.seen);
    assert!(!pids.into_iter().any(is_alive));
}

#[test]
fn a_host_is_sampled_while_the_engine_is_still_starting() {
    assert!(support::siblings_are_built(), "build the workspace's binaries first (deploy/test does)");
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (secret, word) = (state.join("engine/writer.password"), "a password of the test's own\n");
    // Whoever reads it waits until somebody writes: an engine that takes its time.
    std::fs::create_dir_all(secret.parent().unwrap()).unwrap();
    mknodat(CWD, secret.as_path(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut up = start(&state);
    up.line("agent       ready");
    let ready = |name: &str| up.seen.iter().any(|line| line.starts_with(name) && line.contains("ready"));
    assert!(!ready("clickhouse") && !ready("collector"), "{:#?}", up.seen);
    let (agent, spool) =
        (Path::new(env!("CARGO_BIN_EXE_fettle")).with_file_name("fettle-agent"), state.join("agent/spool"));
    until(|| {
        let asked = std::process::Command::new(&agent)
            .args(["spool", "status", "--json", "--spool"])
            .arg(&spool)
            .output();
        let status: serde_json::Value = serde_json::from_slice(&asked.unwrap().stdout).ok()?;
        (status["unconfirmed_frames"].as_u64()? > 0).then_some(())
    });

    // The engine goes on, and what was sampled before is stored.
    let mut waited_for = OpenOptions::new().write(true).open(&secret).unwrap();
    let aside = state.join("engine/aside");
    std::fs::write(&aside, word).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&aside, &secret).unwrap();
    // To the microsecond: a frame is sealed before its second ends, so this may be the second of the very first one.
    let let_go = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    waited_for.write_all(word.as_bytes()).unwrap();
    drop(waited_for);
    up.line("ready in ");
    up.line("  logs  ");
    let sql = url(&up, "SQL");
    let question = format!("SELECT countIf(toUnixTimestamp64Micro(ts) < {let_go}) > 0 FROM cpu");
    until(|| {
        let asked = fettle(&["sql", "--url", &sql, "--format", "CSV", &question]).output().unwrap();
        (out(&asked).trim() == "1").then_some(())
    });
    up.signal(Signal::TERM);
    assert_eq!(up.wait(), Some(0), "{:#?}", up.seen);
    let stopped: Vec<&String> = up.seen.iter().filter(|line| line.contains(" stopped (")).collect();
    assert!(stopped[0].starts_with("agent") && stopped[1].starts_with("collector"), "{stopped:#?}");
}

/// What NATS says to somebody who comes without a login and wants to hear everything.
fn says_to_a_stranger(address: &str) -> String {
    let mut stream = TcpStream::connect(address.trim_start_matches("nats://")).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n").unwrap();
    let mut said = Vec::new();
    // Closed over what it has not read, the connection is reset; what it said before has come.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn nobody_reaches_its_nats_without_a_login_and_an_agent_with_one_is_stored() {
    assert!(support::siblings_are_built(), "build the workspace's binaries first (deploy/test does)");
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut up = start(&state);
    up.line("ready in ");
    up.line("  logs  ");
    let nats = url(&up, "NATS");
    let said = says_to_a_stranger(&nats);
    assert!(said.contains("Authorization Violation") && !said.contains("PONG"), "{said}");

    // No secret stands where other users may look.
    for name in ["collector.nk", "agent.nk"] {
        let path = state.join("logins").join(name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let seed = std::fs::read_to_string(&path).unwrap();
        for name in PARTS {
            let pid = part(&state, name).unwrap().0;
            for place in ["cmdline", "environ"] {
                let words = std::fs::read(format!("/proc/{pid}/{place}")).unwrap();
                assert!(!String::from_utf8_lossy(&words).contains(seed.trim()), "{name}: {place}");
            }
        }
        assert!(!std::fs::read_to_string(state.join("run/users.conf")).unwrap().contains(seed.trim()));
    }

    // Another agent may log in once it was given a key, without a restart of anything.
    let made = fettle(&["login", "web-1", "--state-dir", &state.display().to_string()]).output().unwrap();
    assert!(made.status.success() && out(&made).contains("may log in now"), "{}{}", out(&made), err(&made));
    let (key, spool) = (state.join("logins/agents/web-1.nk"), directory.path().join("spool"));
    let agent = Path::new(env!("CARGO_BIN_EXE_fettle")).with_file_name("fettle-agent");
    let mut command = std::process::Command::new(agent);
    command.args(["run", "--agent", "web-1", "--nats", &nats, "--metrics", "off", "--nats-nkey-file"]);
    command.arg(&key).arg("--spool").arg(&spool);
    let _agent = Running::start(command);
    let sql = url(&up, "SQL");
    for host in ["web-1", &rustix::system::uname().nodename().to_string_lossy()] {
        let question = format!("SELECT count() > 0 FROM load WHERE host = '{host}'");
        until(|| {
            let asked = fettle(&["sql", "--url", &sql, "--format", "CSV", &question]).output().unwrap();
            (out(&asked).trim() == "1").then_some(())
        });
    }
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
    for pid in pids.iter().filter_map(|&pid| Pid::from_raw(i32::try_from(pid).unwrap())) {
        // The first may have ended by the word of the other already.
        let _ = kill_process(pid, Signal::TERM);
    }
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
