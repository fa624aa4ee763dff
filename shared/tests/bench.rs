//! Runs the benchmark with few rounds, so that it cannot rot, and holds its bytes a sample to the
//! budget of half a byte.
#![allow(dead_code, unreachable_pub)]

#[path = "../benches/frame.rs"]
mod frame;

#[test]
fn the_benchmark_runs_and_a_sample_takes_less_than_half_a_byte() {
    let costs = frame::run(frame::TYPICAL, 2);
    let samples = frame::TYPICAL.processes * frame::TYPICAL.scans;
    assert!(costs.samples as usize >= 2 * samples, "{costs:?}");
    assert!(costs.bytes_per_sample() < 0.5, "{} bytes a sample", costs.bytes_per_sample());
}
