//! When the host detector's oddness is a report.
//!
//! Its tail says how rare a row is, and a row as rare as one in ten thousand comes every three hours at one
//! row a second. So the rarity needed follows the reports, as it does in the panel (adaptive conformal
//! inference, Gibbs and Candès 2021): each raises it by a power of ten, time lowers it by as many as are
//! allowed. A young host cannot show a great rarity; there a record is needed, and every report of the first
//! day asks for ten times the past before the next.

use serde::{Deserialize, Serialize};

/// Rarity that is enough, powers of ten: about one row in nine hours.
const ENOUGH: f64 = 4.5;
/// What is asked of a young host is this much less than a record.
const SLACK: f64 = 0.05;
/// What a report adds.
const STEP: f64 = 1.0;
const DAY_S: f64 = 86_400.0;
/// The addition is held below this, so that a bad week is forgotten in a few days.
const MOST: f64 = 2.0;

/// State of one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Gate {
    rows: u32,
    raised: f64,
    second: u32,
    quiet_since: u32,
    troubled: bool,
}

/// What the gate says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// Nothing to report.
    Usual,
    /// Odd, but within a trouble that was reported.
    Lasting,
    /// To be reported.
    Report,
}

impl Gate {
    /// Judges a row with this score and tail. `learning` rows are not reported.
    pub fn pass(
        &mut self,
        second: u32,
        score: f32,
        tail: f64,
        reports_a_day: f32,
        learning: u32,
        calm_s: u32,
    ) -> Passage {
        let elapsed = f64::from(second.saturating_sub(self.second)).min(DAY_S);
        let elapsed = if self.rows == 0 { 0.0 } else { elapsed };
        self.second = second;
        self.rows = self.rows.saturating_add(1);
        self.raised = (self.raised - STEP * f64::from(reports_a_day) * elapsed / DAY_S).max(0.0);
        let odd = score >= 0.5;
        if self.troubled && !odd && second.saturating_sub(self.quiet_since) > calm_s {
            self.troubled = false;
        }
        if odd || !self.troubled {
            self.quiet_since = second;
        }
        if self.troubled {
            return if odd { Passage::Lasting } else { Passage::Usual };
        }
        let record = (2.0 * f64::from(self.rows)).log10() - SLACK;
        let needed = record.min(ENOUGH) + self.raised;
        if !odd || self.rows <= learning || -tail.max(1e-12).log10() < needed {
            return Passage::Usual;
        }
        self.raised = (self.raised + STEP).min(MOST);
        self.troubled = true;
        Passage::Report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(gate: &mut Gate, second: u32, score: f32, tail: f64) -> Passage {
        gate.pass(second, score, tail, 0.5, 300, 60)
    }

    #[test]
    fn a_record_is_reported_once_while_it_lasts() {
        let mut gate = Gate::default();
        for second in 0..1_000 {
            assert_eq!(pass(&mut gate, second, 0.1, 0.5), Passage::Usual);
        }
        assert_eq!(pass(&mut gate, 1_000, 0.9, 0.5 / 1_002.0), Passage::Report);
        for second in 1_001..1_100 {
            assert_eq!(pass(&mut gate, second, 0.9, 1e-4), Passage::Lasting);
        }
        for second in 1_100..1_200 {
            assert_eq!(pass(&mut gate, second, 0.1, 0.9), Passage::Usual);
        }
        // The next record of so young a host is not enough.
        assert_eq!(pass(&mut gate, 1_200, 0.9, 0.5 / 1_202.0), Passage::Usual);
    }

    #[test]
    fn a_host_that_breaks_its_record_all_the_time_reports_a_few_times_a_day() {
        let mut gate = Gate::default();
        let mut reports = 0;
        for second in 0..5 * 86_400u32 {
            let odd = second % 100 == 0;
            let (score, tail) = if odd { (0.9, 0.5 / f64::from(second + 2)) } else { (0.1, 0.5) };
            reports += u32::from(pass(&mut gate, second, score, tail) == Passage::Report);
        }
        assert!((2..=7).contains(&reports), "{reports} in five days");
    }
}
