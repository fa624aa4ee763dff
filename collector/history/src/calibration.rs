//! Whether a score means what it claims: a tail of 1 in 10,000 should be seen once in 10,000 points.
//!
//! At each judged point the detector itself implies how likely it is to claim a rarity of 10^-k: with that very
//! probability, if it could claim anything. But a series that remembers fewer than 10^k points cannot claim it, one that
//! never moves claims nothing, and one that moves at one point in a thousand cannot claim one in a hundred more
//! often than that. So what is *due* is the sum over the points of what each series could claim then ([`Past::due`]),
//! known before the point is; held against that is how many were said to be so rare. On a recording of a host with nothing
//! wrong the ratio should lie between one half and two. (Sums of forecast probabilities against counts of what came:
//! Dawid 1984, "The prequential approach".) The due of naive counting, every point 10^-k, is shown beside it.
//!
//! The surprise carries the tail on beyond what one series remembers; it puts series in order and is no claim, but it is
//! counted too ([`Past::due_beyond`]).
//!
//! One event moves many series at once. So the seconds in which any point was said to be so rare are counted beside the
//! points: far fewer seconds than points is a few events, not series that claim too much each by itself.

use fettle_analysis::live::Claims as Second;
use serde::Serialize;

#[cfg(doc)]
use fettle_analysis::detect::series::Past;

/// The powers of ten that are looked at.
pub const POWERS: [u32; 5] = [2, 3, 4, 5, 6];

/// What was due and what was claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Claims {
    points: u64,
    tails: [Count; POWERS.len()],
    surprises: [Count; POWERS.len()],
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    due: f64,
    said: u64,
    seconds: u64,
}

impl Count {
    fn add(&mut self, due: f64, said: usize) {
        self.due += due;
        self.said += said as u64;
        self.seconds += u64::from(said > 0);
    }
}

/// One line of the report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Line {
    /// Power of ten that is claimed: points said to be rarer than 10^-k.
    pub k: u32,
    /// Points that would be if every point could claim it: 10^-k of all.
    pub all: f64,
    /// Points that are due by what each series could claim.
    pub tail_due: f64,
    /// Points that were said to be, by their tail.
    pub by_tail: u64,
    /// Seconds in which those were.
    pub tail_seconds: u64,
    /// `by_tail` over `tail_due`; none when less than [`LEAST_DUE`] is due.
    pub tail_ratio: Option<f64>,
    /// Points that are due by surprise.
    pub surprise_due: f64,
    /// Points that were said to be, by their surprise.
    pub by_surprise: u64,
    /// Seconds in which those were.
    pub surprise_seconds: u64,
    /// `by_surprise` over `surprise_due`; none when less than [`LEAST_DUE`] is due.
    pub surprise_ratio: Option<f64>,
}

/// Of fewer points that are due the ratio is outside one half to two by chance alone.
pub const LEAST_DUE: f64 = 10.0;

impl Claims {
    /// Counts a second.
    pub fn count(&mut self, second: &Second<'_>) {
        self.points += second.pasts.len() as u64;
        for (at, k) in POWERS.into_iter().enumerate() {
            let rarity = 10f64.powi(k as i32);
            self.tails[at].add(
                second.pasts.iter().map(|past| past.due(rarity)).sum(),
                second.rare.iter().filter(|(tail, _)| *tail <= 1.0 / rarity).count(),
            );
            self.surprises[at].add(
                second.pasts.iter().map(|past| past.due_beyond(rarity)).sum(),
                second.rare.iter().filter(|(_, said)| *said >= k as f32).count(),
            );
        }
    }

    /// Takes in what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.points += other.points;
        let own = self.tails.iter_mut().chain(&mut self.surprises);
        for (own, other) in own.zip(other.tails.iter().chain(&other.surprises)) {
            own.due += other.due;
            own.said += other.said;
            own.seconds += other.seconds;
        }
    }

    /// Points counted.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// The report, a line a power of ten.
    pub fn lines(&self) -> Vec<Line> {
        let lines = POWERS.into_iter().enumerate().map(|(at, k)| {
            let (tail, surprise) = (self.tails[at], self.surprises[at]);
            let ratio = |count: Count| (count.due >= LEAST_DUE).then(|| count.said as f64 / count.due);
            Line {
                k,
                all: self.points as f64 * 10f64.powi(-(k as i32)),
                tail_due: tail.due,
                by_tail: tail.said,
                tail_seconds: tail.seconds,
                tail_ratio: ratio(tail),
                surprise_due: surprise.due,
                by_surprise: surprise.said,
                surprise_seconds: surprise.seconds,
                surprise_ratio: ratio(surprise),
            }
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_analysis::detect::series::Past;

    /// Points with exact claims, of series with such a past.
    fn exact(past: Past, points: u32) -> Claims {
        let mut claims = Claims::default();
        for at in 0..points {
            let tail = f64::from(at + 1) / f64::from(points);
            claims.count(&Second { pasts: &[past], rare: &[(tail, -tail.log10() as f32)] });
        }
        claims
    }

    #[test]
    fn exact_claims_have_a_ratio_of_one() {
        let claims = exact(Past { points: 50_000, odd: 9_000 }, 100_000);
        let mut twice = claims;
        twice.merge(&claims);
        assert_eq!(twice.points(), 200_000);
        let lines = twice.lines();
        for line in &lines[..3] {
            assert!((line.tail_ratio.unwrap() - 1.0).abs() < 0.01, "{line:?}");
            assert!((line.surprise_ratio.unwrap() - 1.0).abs() < 0.01, "{line:?}");
        }
        assert_eq!(lines[3].tail_due, 0.0, "50,000 points cannot claim one in 100,000");
        assert_eq!(lines[4].surprise_ratio, None, "0.2 points are due");
    }

    #[test]
    fn one_event_that_moves_many_series_is_one_second() {
        let past = [Past { points: 50_000, odd: 9_000 }; 40];
        let mut claims = Claims::default();
        for second in 0..3_000 {
            let rare: &[(f64, f32)] = if second == 2_000 { &[(1e-4, 5.0); 40] } else { &[] };
            claims.count(&Second { pasts: &past, rare });
        }
        let line = claims.lines()[2];
        assert_eq!((line.by_tail, line.tail_seconds), (40, 1));
        assert_eq!((line.by_surprise, line.surprise_seconds), (40, 1));
    }

    #[test]
    fn a_series_that_cannot_claim_owes_nothing() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        let young = exact(Past { points: 500, odd: 400 }, 10_000).lines();
        assert!(near(young[0].tail_due, 100.0) && young[1].tail_due == 0.0, "{young:?}");
        assert!(near(young[1].surprise_due, 10.0), "{young:?}");
        assert_eq!(exact(Past { points: 5_000, odd: 0 }, 10_000).lines()[0].tail_due, 0.0);
        let seldom = exact(Past { points: 5_000, odd: 5 }, 10_000).lines();
        assert!(near(seldom[0].tail_due, 10.0) && near(seldom[1].tail_due, 10.0), "{seldom:?}");
        assert!(near(seldom[0].all, 100.0), "{seldom:?}");
    }
}
