//! The echo state network: a fixed random recurrent network whose state echoes its inputs.
//!
//! Jaeger 2001; leaky units after Jaeger et al. 2007. Each unit has a leak of its own, spread over the
//! scales from a fraction of the horizon to twice it, so that no single memory has to be chosen. Only
//! the read-out is learned. Weights come from the seed through splitmix64 (Vigna), so a model can be
//! made again anywhere.

use serde::{Deserialize, Serialize};

use super::features::Smoothing;

/// Units.
const SIZE: usize = 240;
/// Other units that each listens to.
const LISTENS: usize = 8;
/// Largest eigenvalue of the recurrent weights.
const RADIUS: f64 = 0.9;
/// Spread of the summed inputs of a unit, for inputs of spread 1.
const INPUT: f64 = 0.5;
/// Slowest and fastest leak, times the horizon in steps.
const LEAKS: [f64; 2] = [0.6, 4.0];

/// Weights of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reservoir {
    /// `SIZE` rows of one weight an input.
    input: Vec<f64>,
    bias: Vec<f64>,
    leak: Vec<f64>,
    /// `SIZE` rows of (unit listened to, weight).
    recurrent: Vec<(u32, f64)>,
}

impl Reservoir {
    pub(super) fn new(inputs: usize, horizon: u32, seed: u64) -> Self {
        let mut random = Random(seed);
        let each = INPUT / (inputs.max(1) as f64).sqrt();
        let input = (0..SIZE * inputs).map(|_| random.normal() * each).collect();
        let bias = (0..SIZE).map(|_| random.normal() * 0.5).collect();
        let [slow, fast] = LEAKS.map(|leak| leak / f64::from(horizon.max(1)));
        let leak = (0..SIZE).map(|_| (slow * (fast / slow).powf(random.uniform())).min(1.0)).collect();
        let recurrent =
            (0..SIZE * LISTENS).map(|_| ((random.next() % SIZE as u64) as u32, random.normal())).collect();
        let mut reservoir = Self { input, bias, leak, recurrent };
        let radius = reservoir.radius(&mut random).max(1e-9);
        reservoir.recurrent.iter_mut().for_each(|(_, weight)| *weight *= RADIUS / radius);
        reservoir
    }

    pub(super) fn size(&self) -> usize {
        self.bias.len()
    }

    /// Moves the state on by one row of inputs.
    pub(super) fn step(&self, state: &mut [f64], inputs: &[f64]) {
        let before = state.to_vec();
        for (unit, value) in state.iter_mut().enumerate() {
            let mut sum = self.bias[unit];
            let weights = &self.input[unit * inputs.len()..(unit + 1) * inputs.len()];
            sum += weights.iter().zip(inputs).map(|(w, i)| w * i).sum::<f64>();
            sum += self.heard(unit, &before);
            *value += self.leak[unit] * (sum.tanh() - *value);
        }
    }

    fn heard(&self, unit: usize, state: &[f64]) -> f64 {
        let listens = &self.recurrent[unit * LISTENS..(unit + 1) * LISTENS];
        listens.iter().map(|(other, weight)| weight * state[*other as usize]).sum()
    }

    /// Growth of a random vector under the recurrent weights: the largest eigenvalue's size, also when
    /// that one is complex and the vector turns.
    fn radius(&self, random: &mut Random) -> f64 {
        const WARM: u32 = 60;
        const MEASURED: u32 = 60;
        let mut vector: Vec<f64> = (0..self.size()).map(|_| random.normal()).collect();
        let mut growth = 0.0;
        for round in 0..WARM + MEASURED {
            let next: Vec<f64> = (0..self.size()).map(|unit| self.heard(unit, &vector)).collect();
            let length = next.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-300);
            if round >= WARM {
                growth += length.ln();
            }
            vector = next.iter().map(|v| v / length).collect();
        }
        (growth / f64::from(MEASURED)).exp()
    }
}

/// What the read-out multiplies: a constant, age, the fast means, the state.
pub(super) fn terms(state: &[f64], smoothing: &Smoothing, life: f64, terms: &mut Vec<f64>) {
    terms.clear();
    terms.extend([1.0, smoothing.age(life)]);
    terms.extend_from_slice(smoothing.fast());
    terms.extend_from_slice(state);
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Close to a standard normal: twelve uniforms, centred.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}
