//! When the host detector's oddness is a report.
//!
//! Its tail says how rare a row is, and a row as rare as one in a thousand comes every three hours at one
//! row in ten seconds. So the rarity needed follows the reports, as it does in the panel (adaptive conformal
//! inference, Gibbs and Candès 2021): each raises it by a power of ten, time lowers it by as many as are
//! allowed. A young host cannot show a great rarity; there a record is needed, and every report of the first
//! day asks for ten times the past before the next.

use serde::{Deserialize, Serialize};

use super::span::SPAN_S;
use super::verdict::HostVerdict;

/// Rarity that is enough, powers of ten: about one row of [`SPAN_S`] seconds in nine hours.
const ENOUGH: f64 = 3.5;
/// What is asked of a young host is this much less than a record.
const SLACK: f64 = 0.05;
/// What a report adds.
const STEP: f64 = 1.0;
const DAY_S: f64 = 86_400.0;
/// The addition is held below this, so that a bad week is forgotten in a few days.
const MOST: f64 = 2.0;

/// State of one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    rows: u32,
    raised: f64,
    second: u32,
    quiet_since: u32,
    troubled: bool,
}

/// What the gate says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Nothing to report.
    Usual,
    /// Odd, but within a trouble that was reported.
    Lasting,
    /// To be reported.
    Report,
}

impl Gate {
    /// Judges what was said of the row that is over with this second. For `learning_s` of the host nothing is reported.
    pub fn pass(
        &mut self,
        second: u32,
        verdict: &HostVerdict,
        reports_a_day: f32,
        learning_s: u32,
        calm_s: u32,
    ) -> Passage {
        let elapsed = f64::from(second.saturating_sub(self.second)).min(DAY_S);
        let elapsed = if self.rows == 0 { 0.0 } else { elapsed };
        self.second = second;
        self.rows = self.rows.saturating_add(1);
        self.raised = (self.raised - STEP * f64::from(reports_a_day) * elapsed / DAY_S).max(0.0);
        let odd = verdict.score >= 0.5;
        if self.troubled && !odd && second.saturating_sub(self.quiet_since) > calm_s {
            self.troubled = false;
        }
        if odd || !self.troubled {
            self.quiet_since = second;
        }
        if self.troubled {
            return if odd { Passage::Lasting } else { Passage::Usual };
        }
        let record = (2.0 * f64::from(verdict.ranked + 1.0)).log10() - SLACK;
        let needed = record.min(ENOUGH) + self.raised;
        let learning = self.rows.saturating_mul(SPAN_S) <= learning_s;
        if !odd || learning || -verdict.tail.max(1e-12).log10() < needed {
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

    /// A row with this score; ranked among all before, of which so many were as odd.
    fn pass(gate: &mut Gate, second: u32, score: f32, as_odd: f64) -> Passage {
        let ranked = gate.rows as f32;
        let tail = (as_odd + 0.5) / (f64::from(ranked) + 1.0);
        let verdict = HostVerdict { score, tail, ranked, ..HostVerdict::none() };
        gate.pass(second, &verdict, 0.5, 300, 60)
    }

    /// The seconds with which rows are over.
    fn rows(seconds: std::ops::Range<u32>) -> impl Iterator<Item = u32> {
        seconds.filter(|second| second % SPAN_S == SPAN_S - 1)
    }

    #[test]
    fn a_record_is_reported_once_while_it_lasts() {
        let mut gate = Gate::default();
        for second in rows(0..10_000) {
            assert_eq!(pass(&mut gate, second, 0.1, 500.0), Passage::Usual);
        }
        assert_eq!(pass(&mut gate, 10_009, 0.9, 0.0), Passage::Report);
        for second in rows(10_010..10_200) {
            assert_eq!(pass(&mut gate, second, 0.9, 3.0), Passage::Lasting);
        }
        for second in rows(10_200..10_300) {
            assert_eq!(pass(&mut gate, second, 0.1, 500.0), Passage::Usual);
        }
        // The next record of so young a host is not enough.
        assert_eq!(pass(&mut gate, 10_309, 0.9, 0.0), Passage::Usual);
    }

    #[test]
    fn nothing_is_reported_while_the_host_is_learned() {
        let mut gate = Gate::default();
        let told: Vec<u32> =
            rows(0..600).filter(|second| pass(&mut gate, *second, 0.9, 0.0) == Passage::Report).collect();
        assert_eq!(told, [309]);
    }

    #[test]
    fn a_host_that_breaks_its_record_all_the_time_reports_a_few_times_a_day() {
        let mut gate = Gate::default();
        let mut reports = 0;
        for second in rows(0..5 * 86_400) {
            let odd = second % 200 == 9;
            let (score, as_odd) = if odd { (0.9, 0.0) } else { (0.1, 1e3) };
            reports += u32::from(pass(&mut gate, second, score, as_odd) == Passage::Report);
        }
        assert!((2..=7).contains(&reports), "{reports} in five days");
    }
}
