//! The sampler over the real /proc while processes start and end between scans.
#![allow(clippy::unwrap_used)]

mod tree;

use std::process::{Child, Command, Stdio};

use fettle_agent::sample::{GapCause, SamplerSettings, ScanClock};
use std::time::Duration;
use tree::{keys, Bench};

fn child(command: &str, arguments: &[&str]) -> Child {
    Command::new(command).args(arguments).stdout(Stdio::null()).spawn().unwrap()
}

fn settings() -> SamplerSettings {
    SamplerSettings { discovery_interval: Duration::from_millis(1), ..SamplerSettings::default() }
}

/// Descriptors of this process that are stat files of /proc.
fn open_stat_files() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = links.filter_map(|e| std::fs::read_link(e.path()).ok());
    targets
        .filter(|t| {
            t.to_string_lossy().ends_with("/stat") && t.parent() != Some(std::path::Path::new("/proc"))
        })
        .count()
}

#[test]
fn processes_that_come_and_go_are_followed_and_let_go() {
    let mut bench = Bench::new(settings());
    bench.clock = ScanClock::now();
    bench.scan_after(1);
    let mut ended = Vec::new();
    for round in 0..40 {
        let mut living: Vec<Child> = (0..5).map(|_| child("sleep", &["60"])).collect();
        bench.scan_after(60_000);
        let pids: Vec<String> = living.iter().map(|c| c.id().to_string()).collect();
        for one in &mut living {
            one.kill().unwrap();
            one.wait().unwrap();
        }
        bench.scan_after(60_000);
        if round % 8 == 0 {
            let all = bench.seal();
            let seen = keys(&all, "process");
            for pid in &pids {
                assert!(seen.iter().any(|k| k.starts_with(&format!("{pid}|"))), "{pid} was missed");
            }
        }
        ended.extend(pids);
    }
    let vanished = bench.sampler.gaps().get(GapCause::Vanished);
    assert!(vanished >= ended.len() as u64, "{vanished} of {}", ended.len());
    bench.seal();
    bench.scan_after(60_000);
    let now = keys(&bench.seal(), "process");
    for pid in ended {
        assert!(!now.iter().any(|k| k.starts_with(&format!("{pid}|"))), "{pid} has ended");
    }
    assert!(open_stat_files() <= now.len() + 2, "descriptors of ended processes are closed");
}

#[test]
fn an_exec_changes_the_name_of_a_living_process() {
    let mut bench = Bench::new(settings());
    bench.clock = ScanClock::now();
    // The shell waits for a line, then becomes another program under the same pid.
    let mut shell =
        Command::new("sh").args(["-c", "read line; exec sleep 60"]).stdin(Stdio::piped()).spawn().unwrap();
    let pid = shell.id();
    let mut wait_for = |name: &'static str| {
        let found = (0..5000).any(|_| {
            bench.scan_after(60_000);
            let is = |k: &String| k.starts_with(&format!("{pid}|")) && k.ends_with(&format!("|{name}"));
            keys(&bench.seal(), "process").iter().any(is)
        });
        assert!(found, "{name} was never seen");
    };
    wait_for("sh");
    use std::io::Write as _;
    shell.stdin.take().unwrap().write_all(b"go\n").unwrap();
    wait_for("sleep");
    shell.kill().unwrap();
    shell.wait().unwrap();
}
