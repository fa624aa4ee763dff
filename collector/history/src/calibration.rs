//! Whether a score means what it claims: a tail of 1 in 10,000 should be seen once in 10,000 points.
//!
//! Of every judged point the claim is counted: how many were said to be rarer than 10^-k, against how many
//! would be if the claims were exact. On a recording of a host with nothing wrong the ratio should lie
//! between one half and two. The tail is never below one in the points remembered (of a young series few),
//! so that small tails are claimed less often than they are due; the surprise carries the tail on beyond
//! what is remembered and is counted beside it. It is zero while a series is learnt, and those points count.

use serde::Serialize;

/// The powers of ten that are looked at.
pub const POWERS: [u32; 5] = [2, 3, 4, 5, 6];

/// Counts of claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claims {
    points: u64,
    tails: [u64; POWERS.len()],
    surprises: [u64; POWERS.len()],
}

/// One line of the report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Line {
    /// Power of ten that is claimed: points said to be rarer than 10^-k.
    pub k: u32,
    /// Points that were said to be, by their tail.
    pub by_tail: u64,
    /// Points that were said to be, by their surprise.
    pub by_surprise: u64,
    /// Points that would be if the claims were exact.
    pub expected: f64,
    /// `by_tail` over `expected`; none when less than one point is expected.
    pub tail_ratio: Option<f64>,
    /// `by_surprise` over `expected`; none when less than one point is expected.
    pub surprise_ratio: Option<f64>,
}

impl Claims {
    /// Counts a second: how many points were judged, and tail and surprise of those among them that claim to
    /// be rarer than one in a hundred.
    pub fn count(&mut self, points: usize, rare: &[(f64, f32)]) {
        self.points += points as u64;
        for (tail, surprise) in rare {
            self.claim(*tail, *surprise);
        }
    }

    fn claim(&mut self, tail: f64, surprise: f32) {
        for (at, k) in POWERS.into_iter().enumerate() {
            self.tails[at] += u64::from(tail <= 10f64.powi(-(k as i32)));
            self.surprises[at] += u64::from(surprise >= k as f32);
        }
    }

    /// Takes in what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.points += other.points;
        for at in 0..POWERS.len() {
            self.tails[at] += other.tails[at];
            self.surprises[at] += other.surprises[at];
        }
    }

    /// Points counted.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// The report, a line a power of ten.
    pub fn lines(&self) -> Vec<Line> {
        let lines = POWERS.into_iter().enumerate().map(|(at, k)| {
            let expected = self.points as f64 * 10f64.powi(-(k as i32));
            let ratio = |seen: u64| (expected >= 1.0).then(|| seen as f64 / expected);
            let (by_tail, by_surprise) = (self.tails[at], self.surprises[at]);
            let (tail_ratio, surprise_ratio) = (ratio(by_tail), ratio(by_surprise));
            Line { k, by_tail, by_surprise, expected, tail_ratio, surprise_ratio }
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_claims_have_a_ratio_of_one() {
        let mut claims = Claims::default();
        let points = 100_000u32;
        for at in 0..points {
            let tail = f64::from(at + 1) / f64::from(points);
            claims.count(1, &[(tail, -tail.log10() as f32)]);
        }
        let mut twice = claims;
        twice.merge(&claims);
        assert_eq!(twice.points(), 200_000);
        for line in twice.lines().iter().take(4) {
            assert!((line.tail_ratio.unwrap() - 1.0).abs() < 0.01, "{line:?}");
            assert!((line.surprise_ratio.unwrap() - 1.0).abs() < 0.01, "{line:?}");
        }
        assert_eq!(twice.lines()[4].tail_ratio, None, "0.2 points are expected");
    }
}
