//! The sampler when open files are few. A test binary of its own: the limit is the process's.
#![allow(clippy::unwrap_used)]

mod tree;

use std::fs::File;

use fettle_agent::sample::{GapCause, SamplerSettings, ScanClock};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use tree::{keys, Bench};

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn few_descriptors_are_enough_and_none_left_is_survived() {
    let processes = |bench: &mut Bench| {
        bench.scan_after(1_000_000);
        keys(&bench.seal(), "process").len()
    };
    let mut roomy = Bench::new(SamplerSettings::default());
    roomy.clock = ScanClock::now();
    let all = processes(&mut roomy);
    assert!(all > 10);
    let with_all = open_files();
    drop(roomy);

    // 64 are reserved, so six stat files may be kept; the others are opened at each scan.
    let mut tight = Bench::new(SamplerSettings { max_open_files: 70, ..SamplerSettings::default() });
    tight.clock = ScanClock::now();
    let seen = processes(&mut tight);
    assert!(seen + 5 >= all, "{seen} of {all} although few descriptors are kept");
    assert!(open_files() + all - 10 < with_all, "{} is not few", open_files());
    drop(tight);

    // A limit in the kernel, and somebody else who takes every descriptor below it.
    let before = getrlimit(Resource::Nofile);
    let limit = open_files() as u64 + 120;
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: before.maximum }).unwrap();
    let mut starved = Bench::new(SamplerSettings::default());
    starved.clock = ScanClock::now();
    let seen = processes(&mut starved);
    assert!(seen + 5 >= all);
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
    assert!(seen + 5 >= all, "{seen} of {all} once there is room again");
}
