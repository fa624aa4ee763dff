//! What the host detector costs: `cargo run --release -p fettle-analysis --example host_cost [FEATURES] [ROWS]`.
//! Generated features at a row a second; prints µs an update, and the bytes of a detector.

use std::time::{Duration, Instant};

use fettle_analysis::detect::host::{HostConfig, HostDetector};

#[allow(clippy::print_stdout, reason = "an example's answer")]
fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u32>());
    let mut number = |otherwise| words.next().and_then(Result::ok).unwrap_or(otherwise);
    let (features, rows) = (number(32), number(100_000));
    let names = (0..features).map(|at| format!("f{at}")).collect();
    let mut detector = HostDetector::new(names, &HostConfig::default());
    let mut state = 1u64;
    let mut row = vec![0.0f32; features as usize];
    let mut spent = Duration::ZERO;
    // The first rows, in which trees are grown all the time, are not what a host costs day by day.
    let first = rows / 10;
    for second in 0..rows {
        for (at, value) in row.iter_mut().enumerate() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let noise = (state >> 40) as f32 / (1u64 << 24) as f32;
            *value = (f64::from(second) * 0.001 * (1.0 + at as f64)).sin() as f32 + noise;
        }
        let begin = Instant::now();
        std::hint::black_box(detector.update(i64::from(second) * 1_000_000, &row));
        if second >= first {
            spent += begin.elapsed();
        }
    }
    let micros = spent.as_secs_f64() * 1e6 / f64::from((rows - first).max(1));
    println!("{features} features, a row a second: {micros:.2} µs an update, {} bytes", detector.bytes());
}
