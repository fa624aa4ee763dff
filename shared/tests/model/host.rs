//! A synthetic host: processes with counters and gauges, a share of which change between two scans.
//! Seeded and without a clock, so that it says the same today and in ten years.

use super::{Handle, OwnKey, Recorder};

/// A small generator with a fixed sequence (Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators", 2014): golden frames must not depend on a crate's choice of algorithm.
#[derive(Debug, Clone)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Size of a synthetic host's second.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Processes.
    pub processes: usize,
    /// Scans.
    pub scans: usize,
    /// Of 100 rows, how many change between two scans.
    pub changing: u64,
}

/// One process: its next row.
pub fn step(row: &mut [i64], random: &mut SplitMix) {
    for (at, value) in row.iter_mut().enumerate() {
        match at % 4 {
            0 => *value += random.below(5) as i64,
            1 => *value += if random.below(3) == 0 { 4096 * (random.below(9) as i64 - 4) } else { 0 },
            2 => *value += if random.below(10) == 0 { 1 } else { 0 },
            _ => *value += random.below(2000) as i64,
        }
    }
}

/// A process's first row.
pub fn first_row(width: usize, random: &mut SplitMix) -> Vec<i64> {
    (0..width).map(|at| random.below(1 << (8 + 4 * (at % 6))) as i64).collect()
}

/// Adds the host's processes.
pub fn processes(recorder: &mut Recorder, shape: Shape, random: &mut SplitMix) -> Vec<(Handle, Vec<i64>)> {
    let width = recorder.width(11);
    (0..shape.processes)
        .map(|at| (recorder.add(11, &[OwnKey::Int(300 + 7 * at as u64)]), first_row(width, random)))
        .collect()
}

/// Scans the processes once a `1 / scans` second from `start_us`.
pub fn second(
    recorder: &mut Recorder,
    processes: &mut [(Handle, Vec<i64>)],
    shape: Shape,
    start_us: i64,
    random: &mut SplitMix,
) {
    for scan in 0..shape.scans {
        recorder.scan(11, start_us + (1_000_000 * scan / shape.scans) as i64);
        for (handle, row) in processes.iter_mut() {
            if random.below(100) < shape.changing {
                step(row, random);
            }
            recorder.push(handle, row);
        }
    }
}
