//! What the sampler costs on this host: runs the scan thread for some seconds at a rate, with sealed
//! frames thrown away, and prints CPU time per metric next to the bare `pread` floor of `floor.rs`.
//!
//! `cargo run --release -p fettle-agent --example scan_cost [-- SECONDS [RATE]]`

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use fettle_agent::sample::{run_scan_thread, Figures, Identity, Sampler, SamplerSettings};
use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::FrameBuilder;

/// Bare `pread`s over the files of the fast families, all descriptors kept, at the sampler's own pace
/// so that caches are as cold as they are for it. CPU time of one round in µs.
fn bare_reads(interval: Duration, rounds: u32) -> f64 {
    const FILES: &[&str] = &[
        "stat",
        "meminfo",
        "vmstat",
        "pressure/cpu",
        "pressure/memory",
        "pressure/io",
        "diskstats",
        "net/dev",
    ];
    let mut files: Vec<File> = FILES.iter().filter_map(|f| File::open(format!("/proc/{f}")).ok()).collect();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
            files.extend(File::open(entry.path().join("stat")));
        }
    }
    let mut buf = vec![0; 16 * 1024];
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        std::thread::sleep(interval);
        let before = thread_cpu();
        for file in &files {
            let _ = std::hint::black_box(file.read_at(&mut buf, 0));
        }
        spent += thread_cpu() - before;
    }
    spent.as_secs_f64() * 1e6 / f64::from(rounds)
}

fn thread_cpu() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

#[allow(clippy::print_stdout)]
fn main() {
    let argument =
        |n: usize, default: f64| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let seconds = argument(1, 10.0) as usize;
    let settings = SamplerSettings {
        target_rate: argument(2, 100_000.0),
        cpu_budget_percent: 100.0,
        ..Default::default()
    };
    let sampler = Sampler::open(settings, catalogue()).expect("/proc can be opened");
    let figures = Arc::new(Figures::default());
    let stop = AtomicBool::new(false);
    let identity = Identity { agent: "bench".into(), boot: 1, first_seq: 1 };
    let mut frames = Vec::new();
    let result = run_scan_thread(
        sampler,
        FrameBuilder::new(catalogue()),
        identity,
        &figures,
        &stop,
        |header, bytes| {
            frames.push((header.samples, header.rows, bytes.len(), figures.cpu_us.get()));
            stop.store(frames.len() > seconds, Ordering::Release);
        },
    );
    result.expect("the scan thread runs");
    // The first frame holds the start-up.
    let whole = &frames[1..frames.len() - 1];
    let samples: u64 = whole.iter().map(|f| f.0).sum();
    let bytes: usize = whole.iter().map(|f| f.2).sum();
    let cpu = frames[frames.len() - 1].3 - frames[1].3;
    println!("seconds            {}", whole.len());
    println!("metrics/s          {:.0}", samples as f64 / whole.len() as f64);
    println!("CPU                {:.2} % of one core", cpu as f64 / whole.len() as f64 / 1e4);
    println!("CPU per metric     {:.4} us", cpu as f64 / samples as f64);
    println!(
        "frame              {:.0} bytes, {:.3} a metric",
        bytes as f64 / whole.len() as f64,
        bytes as f64 / samples as f64
    );
    figures.each(|name, value| {
        let show = name.starts_with("scan")
            || name.starts_with("gaps")
            || matches!(name, "entities" | "rss_bytes" | "open_fds");
        if show {
            println!("{name:<19}{value}");
        }
    });
    let interval = Duration::from_micros(figures.scan_interval_us.get());
    let floor = bare_reads(interval, 150);
    let per_scan = samples as f64 / whole.len() as f64 * interval.as_secs_f64();
    println!(
        "bare reads         {floor:.0} us a round at the same pace, {:.4} us a metric",
        floor / per_scan
    );
}
