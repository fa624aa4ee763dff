//! What reading costs: for each kernel file the agent samples, its size, the CPU time of one bare
//! `pread` from a kept descriptor, how many numbers are in it, and CPU time per number. The sum over
//! the files of the fast families is the floor no sampler that reads them can go below.
//!
//! `cargo run --release -p fettle-agent --example floor [-- ROUNDS]`

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// Files of the fast families, but for the processes'.
const FAST: &[&str] = &[
    "stat",
    "meminfo",
    "vmstat",
    "pressure/cpu",
    "pressure/memory",
    "pressure/io",
    "pressure/irq",
    "diskstats",
    "net/dev",
];
/// Files of the slower ones.
const SLOW: &[&str] = &[
    "loadavg",
    "uptime",
    "sys/fs/file-nr",
    "net/snmp",
    "net/netstat",
    "net/sockstat",
    "net/sockstat6",
    "net/snmp6",
    "net/softnet_stat",
    "interrupts",
    "softirqs",
    "schedstat",
    "self/mounts",
    "self/io",
    "self/schedstat",
    "self/status",
    "self/stat",
];

/// CPU time of this thread in µs.
fn cpu_us() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    t.tv_sec as f64 * 1e6 + t.tv_nsec as f64 / 1e3
}

struct Cost {
    bytes: usize,
    us: f64,
    numbers: usize,
}

/// Reads one file again and again. `None` when it cannot be read.
fn measure(path: &PathBuf, rounds: u32) -> Option<Cost> {
    let file = File::open(path).ok()?;
    let mut buf = vec![0; 256 * 1024];
    let bytes = file.read_at(&mut buf, 0).ok()?;
    for _ in 0..rounds / 10 {
        file.read_at(&mut buf, 0).ok()?;
    }
    let before = cpu_us();
    for _ in 0..rounds {
        file.read_at(&mut buf, 0).ok()?;
    }
    let us = (cpu_us() - before) / f64::from(rounds);
    let starts = buf[..bytes].windows(2).filter(|w| w[1].is_ascii_digit() && !w[0].is_ascii_digit());
    let numbers = starts.count() + usize::from(buf[0].is_ascii_digit());
    Some(Cost { bytes, us, numbers })
}

#[allow(clippy::print_stdout)]
fn main() {
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(200);
    println!("{:<28}{:>8}{:>10}{:>9}{:>12}", "file", "bytes", "us", "numbers", "us/number");
    let row = |name: &str, cost: &Cost| {
        let per = cost.us / cost.numbers.max(1) as f64;
        println!("{name:<28}{:>8}{:>10.2}{:>9}{per:>12.4}", cost.bytes, cost.us, cost.numbers);
    };
    let mut fast = Cost { bytes: 0, us: 0.0, numbers: 0 };
    let mut add = |cost: &Cost| {
        fast.bytes += cost.bytes;
        fast.us += cost.us;
        fast.numbers += cost.numbers;
    };
    for name in FAST {
        if let Some(cost) = measure(&PathBuf::from("/proc").join(name), rounds) {
            row(name, &cost);
            add(&cost);
        }
    }
    let mut processes = Cost { bytes: 0, us: 0.0, numbers: 0 };
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path().join("stat");
        let is_process = entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit());
        if let Some(cost) = is_process.then(|| measure(&path, rounds)).flatten() {
            add(&cost);
            processes.bytes += cost.bytes;
            processes.us += cost.us;
            processes.numbers += cost.numbers;
            count += 1;
        }
    }
    row(&format!("{count} x PID/stat"), &processes);
    row("fast families, one scan", &fast);
    println!();
    for name in SLOW {
        if let Some(cost) = measure(&PathBuf::from("/proc").join(name), rounds) {
            row(name, &cost);
        }
    }
}
