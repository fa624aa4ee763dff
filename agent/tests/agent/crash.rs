//! kill -9 while frames are appended: every frame that was acknowledged to the caller is there, and
//! no number comes twice.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use fettle_agent::spool::{list, Spool, SpoolSettings};

use crate::frames::frame;

const DIR: &str = "FETTLE_TEST_SPOOL";

/// The child: appends as fast as it can and says after each frame which one is kept. Does nothing
/// when it is run as a test like the others.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let settings = SpoolSettings { segment: 64 << 10, quota: 64 << 20, ..SpoolSettings::at(dir) };
    let (mut spool, _) = Spool::open(settings, "a").unwrap();
    let mut out = std::io::stdout().lock();
    for tag in 0.. {
        spool.append(frame("a", tag).1, Instant::now());
        writeln!(out, "kept {:x} {}", spool.boot(), spool.counters().last_seq).unwrap();
    }
}

/// Runs the child until it has said `count` frames, kills it, and gives the last it said.
fn crash(dir: &Path, count: usize) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_appends_until_it_is_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut last = (0, 0);
    let mut said = 0;
    for line in lines {
        let Some(kept) = line.strip_prefix("kept ") else { continue };
        let (boot, seq) = kept.split_once(' ').unwrap();
        last = (u64::from_str_radix(boot, 16).unwrap(), seq.parse().unwrap());
        said += 1;
        if said == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    last
}

#[test]
fn a_killed_agent_keeps_all_it_has_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    let mut boot = 0;
    for round in 0..20 {
        let (said_boot, said) = crash(dir.path(), 1 + round * 37 % 101);
        assert!(said > before, "numbers go on");
        assert!(boot == 0 || boot == said_boot, "in the same boot");
        boot = said_boot;
        let mut next = 1;
        list(dir.path(), |frame| {
            assert_eq!(frame.seq, next, "no number is missing and none comes twice");
            next += 1;
        })
        .unwrap();
        assert!(next > said, "frame {said} was acknowledged, {} is the last on disk", next - 1);
        before = said;
    }
}
