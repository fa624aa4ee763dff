//! Generated series for the tests of the per-series detector: each kind of noise that hosts make.

// Each test file takes what it needs.
#![allow(dead_code)]

/// A small generator (xorshift64*), so that a test's series is the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..16 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// In (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// What a quiet series may look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Normal,
    Uniform,
    Exponential,
    LogNormal,
    /// Student's t with two degrees of freedom: no variance.
    Heavy,
    /// Autoregressive, 0.9.
    Sluggish,
    /// A daily sine with noise.
    Seasonal,
    /// Whole numbers around a rate.
    Counter,
    /// Zero, but for one point in a hundred.
    ZeroInflated,
    /// Constant, but for a step every thousand points.
    RareSteps,
}

pub const KINDS: [Kind; 10] = [
    Kind::Normal,
    Kind::Uniform,
    Kind::Exponential,
    Kind::LogNormal,
    Kind::Heavy,
    Kind::Sluggish,
    Kind::Seasonal,
    Kind::Counter,
    Kind::ZeroInflated,
    Kind::RareSteps,
];

/// Makes a series point by point.
pub struct Source {
    kind: Kind,
    random: Random,
    state: f64,
}

impl Source {
    pub fn new(kind: Kind, seed: u64) -> Self {
        Self { kind, random: Random::new(seed), state: 0.0 }
    }

    /// The value at this second.
    pub fn at(&mut self, second: i64) -> f64 {
        let random = &mut self.random;
        match self.kind {
            Kind::Normal => random.normal(),
            Kind::Uniform => random.uniform(),
            Kind::Exponential => -random.uniform().ln(),
            Kind::LogNormal => (1.5 * random.normal()).exp(),
            Kind::Heavy => random.normal() / (-random.uniform().ln()).sqrt(),
            Kind::Sluggish => {
                self.state = 0.9 * self.state + random.normal();
                self.state
            }
            Kind::Seasonal => {
                let day = (second % 86_400) as f64 / 86_400.0;
                10.0 * (std::f64::consts::TAU * day).sin() + random.normal()
            }
            Kind::Counter => (100.0 + 10.0 * random.normal()).round(),
            Kind::ZeroInflated if random.uniform() < 0.01 => (1.0 + 5.0 * random.normal().abs()).round(),
            Kind::ZeroInflated => 0.0,
            Kind::RareSteps => {
                if random.uniform() < 0.001 {
                    self.state = (5.0 * random.uniform()).floor();
                }
                self.state
            }
        }
    }
}
