//! How far a vector lies from the middle of its usual cloud, seen along the cloud's own axes: the
//! squared Mahalanobis distance, with exponentially forgotten mean and covariance.
//!
//! The covariance gets a small diagonal (the floor), so that duplicated and constant features are no
//! division by zero; it is factored anew every few rows, in place. Far vectors are learned with less
//! weight, or one incident would widen the cloud for weeks.

use serde::{Deserialize, Serialize};

use super::numbers::{dot, Numbers};

/// Rows between two factorisations.
const REFACTOR: u32 = 16;
/// Mean squared distance a feature from which a row is learned with less weight.
const FAR: f64 = 3.0;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Spread {
    size: usize,
    floor: f64,
    mean: Numbers<f64>,
    /// Covariance, lower triangle in rows of `size`.
    covariance: Numbers<f64>,
    /// Its Cholesky factor; the diagonal holds reciprocals.
    factor: Numbers<f64>,
    apart: Numbers<f64>,
    age: u32,
}

impl Spread {
    pub fn new(size: usize, floor: f64) -> Self {
        let mut new = Self {
            size,
            floor,
            mean: Numbers::of(0.0, size),
            covariance: Numbers::of(0.0, size * size),
            factor: Numbers::of(0.0, size * size),
            apart: Numbers::of(0.0, size),
            age: 0,
        };
        for i in 0..size {
            new.covariance[i * size + i] = 1.0;
        }
        new.refactor();
        new
    }

    pub fn bytes(&self) -> usize {
        self.mean.bytes() + self.covariance.bytes() + self.factor.bytes() + self.apart.bytes()
    }

    /// Squared distance of `vector` divided by the number of features; learned afterwards at `rate` (an
    /// average over everything while that is faster) times `weight`, and if `wary` less when far.
    pub fn update(&mut self, vector: &[f64], rate: f64, weight: f64, wary: bool) -> f64 {
        let far = self.distance(vector);
        let wary = if wary && self.age > 100 && far > FAR { FAR / far } else { 1.0 };
        let rate = rate.max(1.0 / (f64::from(self.age) + 2.0)) * weight * wary;
        let size = self.size;
        for ((mean, apart), value) in self.mean.iter_mut().zip(self.apart.iter_mut()).zip(vector) {
            *apart = value - *mean;
            *mean += rate * *apart;
        }
        for i in 0..size {
            let d = self.apart[i];
            let row = &mut self.covariance[i * size..i * size + i + 1];
            for (c, other) in row.iter_mut().zip(self.apart.iter()) {
                *c += rate * (d * other - *c);
            }
        }
        if self.age.is_multiple_of(REFACTOR) {
            self.refactor();
        }
        self.age = self.age.saturating_add(1);
        far
    }

    /// Forgets how much was seen, so that the next rows count a lot.
    pub fn loosen(&mut self, rows: u32) {
        self.age = self.age.min(rows);
    }

    fn distance(&mut self, vector: &[f64]) -> f64 {
        let size = self.size;
        let mut sum = 0.0;
        for i in 0..size {
            let row = &self.factor[i * size..i * size + i + 1];
            let before = dot(&row[..i], &self.apart[..i]);
            let solved = (vector[i] - self.mean[i] - before) * row[i];
            self.apart[i] = solved;
            sum += solved * solved;
        }
        sum / size.max(1) as f64
    }

    fn refactor(&mut self) {
        let size = self.size;
        for i in 0..size {
            let (above, rest) = self.factor.split_at_mut(i * size);
            let row = &mut rest[..size];
            row[..=i].copy_from_slice(&self.covariance[i * size..i * size + i + 1]);
            row[i] += self.floor * self.floor;
            for j in 0..i {
                let other = &above[j * size..j * size + j + 1];
                let sum = dot(&other[..j], &row[..j]);
                row[j] = (row[j] - sum) * other[j];
            }
            let square = row[i] - dot(&row[..i], &row[..i]);
            // The floor keeps the square positive but for rounding.
            row[i] = 1.0 / square.max(self.floor * self.floor * 0.1).sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dice::Dice;
    use super::*;

    #[test]
    fn distance_sees_a_broken_tie() {
        let mut spread = Spread::new(2, 0.01);
        let mut dice = Dice::new(7);
        let mut far = 0.0;
        for _ in 0..2000 {
            let a = dice.normal();
            far = spread.update(&[a, a + 0.1 * dice.normal()], 1e-4, 1.0, true);
        }
        assert!(far < 10.0, "an ordinary row: {far}");
        // (1, -1) is near for each feature alone, but they go together: about 2²/0.1² / 2 apart.
        let broken = spread.update(&[1.0, -1.0], 0.0, 0.0, true);
        assert!((100.0..400.0).contains(&broken), "{broken}");
    }

    #[test]
    fn constant_and_doubled_features_are_no_division_by_zero() {
        let mut spread = Spread::new(3, 0.03);
        let mut dice = Dice::new(7);
        for _ in 0..5000 {
            let a = dice.normal();
            let far = spread.update(&[a, a, 0.0], 1e-3, 1.0, true);
            assert!(far.is_finite());
        }
    }
}
