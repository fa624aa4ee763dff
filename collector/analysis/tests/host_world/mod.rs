//! A made-up host: features that follow a daily load, each with noise and a memory of its own, into
//! which faults can be put at known places.

#![allow(dead_code, reason = "each test binary uses its part")]

use fettle_analysis::detect::host::{HostConfig, HostDetector, HostVerdict};

/// Features of the made-up host.
pub const FEATURES: usize = 24;
/// Seconds between rows.
pub const SECONDS: i64 = 300;

/// One row with its time in µs.
pub type Row = (i64, [f32; FEATURES]);

/// A small generator of its own, so that the tests' data never changes with a dependency.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.share() * bound as f64) as usize
    }
}

/// What is done to a feature; sizes in units in which it swings by 0.3 to 1 over the day, at a level of 3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    Step(f64),
    Restless(f64),
    Dead,
}

/// A fault in some features from a row on, for some rows.
#[derive(Debug, Clone)]
pub struct Injection {
    pub begin: usize,
    pub rows: usize,
    pub features: Vec<usize>,
    pub fault: Fault,
}

/// `rows` rows of a host with the faults put in. Feature 0 never moves, feature 2 doubles feature 1.
pub fn host(seed: u64, rows: usize, faults: &[Injection]) -> Vec<Row> {
    let mut chance = Chance::new(seed);
    let gains: [f64; FEATURES] = std::array::from_fn(|_| 0.3 + 0.7 * chance.share());
    let levels: [f64; FEATURES] = std::array::from_fn(|_| 10.0f64.powf(4.0 * chance.share()));
    let mut own = [0.0; FEATURES];
    let mut load = 0.0;
    (0..rows)
        .map(|t| {
            let day = (t as f64 * SECONDS as f64 / 86_400.0 * std::f64::consts::TAU).sin();
            load = 0.9 * load + 0.1 * chance.normal();
            let mut row: [f32; FEATURES] = std::array::from_fn(|i| {
                own[i] = 0.7 * own[i] + 0.1 * chance.normal();
                let value = gains[i] * (day + load) + own[i] + 0.05 * chance.normal();
                (levels[i] * (3.0 + value)) as f32
            });
            row[0] = 7.0;
            row[2] = row[1];
            for fault in faults.iter().filter(|fault| (fault.begin..fault.begin + fault.rows).contains(&t)) {
                for feature in &fault.features {
                    let i = *feature;
                    match fault.fault {
                        Fault::Step(by) => row[i] += (levels[i] * by) as f32,
                        Fault::Restless(by) => row[i] += (levels[i] * by * chance.normal()) as f32,
                        Fault::Dead => row[i] = 0.0,
                    }
                }
            }
            (t as i64 * SECONDS * 1_000_000, row)
        })
        .collect()
}

/// A detector with the settings as shipped.
pub fn detector() -> HostDetector {
    HostDetector::new((0..FEATURES).map(|i| format!("f{i}")).collect(), &HostConfig::default())
}

/// Streams rows through a detector.
pub fn judge(detector: &mut HostDetector, rows: &[Row]) -> Vec<HostVerdict> {
    rows.iter().map(|(at_us, row)| detector.update(*at_us, row)).collect()
}
