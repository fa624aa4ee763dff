//! The sampler when open files are few. A test binary of its own: the limit is the process's.
#![allow(clippy::unwrap_used)]

mod tree;

use std::fs::File;
use std::process::{Child, Command, Stdio};

use fettle_agent::sample::{GapCause, SamplerSettings, ScanClock};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use tree::{keys, Bench};

/// Processes that live as long as the test: others of this machine come and go while it counts.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn start(count: usize) -> Self {
        let sleeper = |_| Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        Self((0..count).map(sleeper).collect())
    }

    /// How many of them are not among these.
    fn missed(&self, seen: &[String]) -> usize {
        let is_missed = |one: &&Child| {
            let key = format!("{}|", one.id());
            !seen.iter().any(|seen| seen.starts_with(&key))
        };
        self.0.iter().filter(is_missed).count()
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for one in &mut self.0 {
            let _ = one.kill();
            let _ = one.wait();
        }
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn few_descriptors_are_enough_and_none_left_is_survived() {
    let processes = |bench: &mut Bench| {
        bench.scan_after(1_000_000);
        keys(&bench.seal(), "process")
    };
    let sleepers = Sleepers::start(30);
    let none = open_files();
    let mut roomy = Bench::new(SamplerSettings::default());
    roomy.clock = ScanClock::now();
    assert_eq!(sleepers.missed(&processes(&mut roomy)), 0);
    let with_all = open_files();
    assert!(with_all >= none + 30, "{with_all}: a stat file of each process is kept");
    drop(roomy);

    // 64 are reserved, so six stat files may be kept; the others are opened at each scan.
    let mut tight = Bench::new(SamplerSettings { max_open_files: 70, ..SamplerSettings::default() });
    tight.clock = ScanClock::now();
    let seen = processes(&mut tight);
    assert_eq!(sleepers.missed(&seen), 0, "although few descriptors are kept");
    assert!(open_files() + 20 < with_all, "{} is not few", open_files());
    drop(tight);

    // A limit in the kernel, and somebody else who takes every descriptor below it.
    let before = getrlimit(Resource::Nofile);
    let limit = open_files() as u64 + 120;
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
    let mut starved = Bench::new(SamplerSettings::default());
    starved.clock = ScanClock::now();
    assert_eq!(sleepers.missed(&processes(&mut starved)), 0);
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    for _ in 0..20 {
        starved.scan_after(1_100_000);
    }
    assert!(starved.sampler.gaps().get(GapCause::TooManyFiles) > 0);
    assert!(File::open("/dev/null").is_ok(), "the sampler gave descriptors back");
    drop(taken);
    let seen = processes(&mut starved);
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(sleepers.missed(&seen), 0, "once there is room again");
}
