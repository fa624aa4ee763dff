//! From thousands of series to at most one report a day: all surprises of one host in one second.
//!
//! Five thousand series at one point a second are 432 million looks a day: a one-in-a-million point
//! comes by every few minutes, so no threshold on one series is quiet enough that does not make it deaf.
//! Three stages answer that.
//!
//! 1. Two views of the second: the greatest surprise of any series (*alone*), and how many series are
//!    surprised beyond one in a thousand (*together*: one cause moves many metrics). Each is ranked among
//!    the host's own past seconds, so that series which depend on each other, or tails that over-claim,
//!    do no harm: what matters is whether the host ever looked like this. The evidence is their sum.
//! 2. The evidence needed moves by itself (`detect/threshold.rs`): up with each report, down by as many as are
//!    allowed in the time gone by.
//! 3. In a reported second Benjamini and Hochberg's (1995) procedure says which series to name, so that
//!    of those named only [`PanelConfig::false_share`] are expected to be there by chance.
//!
//! A host in trouble for hours is one report: seconds are held off while the trouble lasts. What is odd in
//! a trouble is not taken into the past it is ranked in, or the same fault a few minutes later would be
//! ranked among what the host has just been through. One odd second in [`LEARNED_ONE_IN`] is, so that what
//! comes back all day (a job every five minutes) is usual after some reports, and from
//! [`PanelConfig::adopt_after_s`] on all are, so that a state that stays is usual too.

use serde::{Deserialize, Serialize};

use super::rarity::Rarity;
use super::verdict::Severity;
use crate::detect::threshold::{Moves, Threshold};

/// How a host's second is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PanelConfig {
    /// Reports a day that the threshold settles at when nothing is wrong.
    pub reports_a_day: f32,
    /// Evidence needed at first, powers of ten.
    pub start: f32,
    /// The evidence needed never falls below this.
    pub least: f32,
    /// The evidence needed never rises above this: beyond, every incident is reported.
    pub most: f32,
    /// What a report adds to the evidence needed.
    pub step: f32,
    /// Seconds judged before the first report.
    pub learning_s: u32,
    /// A report is followed by none until the evidence was below half of the needed for this long.
    pub calm_s: f32,
    /// A trouble unbroken for this long, in seconds, is learned as the new usual.
    pub adopt_after_s: f32,
    /// Of the series named, this share may be there by chance.
    pub false_share: f32,
}

impl Default for PanelConfig {
    fn default() -> Self {
        Self {
            reports_a_day: 0.5,
            start: 7.0,
            least: 6.0,
            most: 12.0,
            step: 0.5,
            learning_s: 300,
            calm_s: 60.0,
            adopt_after_s: 3600.0,
            false_share: 0.1,
        }
    }
}

impl PanelConfig {
    fn moves(&self) -> Moves {
        let Self { least, most, step, reports_a_day, .. } = *self;
        Moves { least, most, step, reports_a_day }
    }
}

/// What is asked of a host with little past is this much less than both views at a record.
const YOUNG_SLACK: f32 = 0.3;
/// A trouble lasts while seconds have half of the evidence needed, but no less than this: half of the little that
/// a young host needs comes by chance every few seconds, and the trouble would never end. As the two views often go
/// together, 10⁻ˣ each is an evidence of 2 x: this one comes once in three minutes.
const LASTS: f32 = 4.5;
/// Seconds that were judged before a rank among them says anything.
const RANKED: u32 = 60;
/// One odd second in so many enters the host's past while a trouble lasts. Nothing of it enters the series': one
/// such point takes a series' surprise from 14 to 4.
const LEARNED_ONE_IN: u32 = 30;
/// Series below this surprise are never named, and always learned.
pub const NAMED_FROM: f32 = 2.0;
/// Surprise (-log10 of the tail) from which a series counts as surprised.
const SURPRISED: f32 = 3.0;
/// Bins of 0.25 powers of ten in which Benjamini and Hochberg's line is sought.
const BINS: usize = 64;
const BIN: f32 = 0.25;

/// State of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostPanel {
    alone: Rarity,
    together: Rarity,
    seconds: u32,
    /// Of them, those in which some series had learned enough to be surprised.
    ranked: u32,
    /// Odd seconds within troubles.
    odd: u32,
    random: u32,
    /// Evidence needed now.
    threshold: Threshold,
    at_us: i64,
    /// When the newest trouble was reported.
    troubled_since_us: i64,
    /// In a reported trouble, the time up to which it has not been calm for long enough.
    troubled_until_us: i64,
}

/// What is said of one second of a host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PanelVerdict {
    /// This second is reported.
    pub reported: bool,
    /// A report was made and the trouble lasts.
    pub troubled: bool,
    /// What series are surprised at in this second is not to be learned.
    pub withhold: bool,
    /// Powers of ten.
    pub evidence: f32,
    /// Evidence needed for a report.
    pub needed: f32,
    /// Of a report.
    pub severity: Option<Severity>,
    /// Series surprised beyond one in a thousand.
    pub surprised: u32,
    /// Series at or above this surprise are to be named, in this second.
    pub name_from: f32,
}

impl HostPanel {
    /// A panel that has seen nothing.
    pub fn new(config: &PanelConfig) -> Self {
        Self {
            alone: Rarity::default(),
            together: Rarity::default(),
            seconds: 0,
            ranked: 0,
            odd: 0,
            random: 1,
            threshold: Threshold::new(config.start),
            at_us: i64::MIN,
            troubled_since_us: i64::MIN,
            troubled_until_us: i64::MIN,
        }
    }

    /// Judges one second: the surprises of all series of the host that have a point in it and have learned enough
    /// to be surprised; without any, it is only counted. A second that does not come after the one before is not
    /// judged.
    pub fn judge(&mut self, at_us: i64, surprises: &[f32], config: &PanelConfig) -> PanelVerdict {
        let elapsed_s = match self.at_us {
            i64::MIN => 0.0,
            before => at_us.saturating_sub(before) as f32 / 1e6,
        };
        if self.at_us >= at_us && self.at_us != i64::MIN {
            return self.verdict(at_us, 0.0, 0, f32::INFINITY);
        }
        self.at_us = at_us;
        self.seconds = self.seconds.saturating_add(1);
        self.threshold.pass(elapsed_s, &config.moves());
        if surprises.is_empty() {
            return self.verdict(at_us, 0.0, 0, f32::INFINITY);
        }
        self.ranked = self.ranked.saturating_add(1);
        let greatest = surprises.iter().copied().fold(0.0, f32::max);
        let surprised = surprises.iter().filter(|surprise| **surprise >= SURPRISED).count() as u32;
        let crowd = (1.0 + surprised as f32).log2();
        let evidence = self.alone.tail(greatest).extrapolated + self.together.tail(crowd).extrapolated;
        let needed = self.needed_now();
        let mut verdict = self.verdict(at_us, evidence, surprised, name_from(surprises, config.false_share));
        let old_enough = self.seconds > config.learning_s && self.ranked > RANKED;
        if !verdict.troubled && evidence >= needed && old_enough {
            verdict.reported = true;
            verdict.troubled = true;
            verdict.severity = Some(Severity::of_share(evidence / needed));
            self.troubled_since_us = at_us;
            self.threshold.report(&config.moves());
        }
        let odd = verdict.troubled && evidence >= (needed / 2.0).max(LASTS).min(needed);
        if odd {
            self.troubled_until_us = at_us.saturating_add((config.calm_s * 1e6) as i64);
            self.odd = self.odd.wrapping_add(1);
        }
        verdict.withhold = verdict.troubled && !self.is_usual_by_now(at_us, config);
        if !(odd && verdict.withhold) || self.odd.is_multiple_of(LEARNED_ONE_IN) {
            self.alone.push(greatest, &mut self.random);
            self.together.push(crowd, &mut self.random);
        }
        verdict
    }

    /// Whether the trouble has lasted so long that it is to be learned.
    fn is_usual_by_now(&self, at_us: i64, config: &PanelConfig) -> bool {
        at_us.saturating_sub(self.troubled_since_us) as f64 / 1e6 >= f64::from(config.adopt_after_s)
    }

    /// A host of few seconds cannot bring the evidence of a long past: there it is enough that both views
    /// are about as extreme as they have ever been, which by chance, in one second, neither often is.
    fn needed_now(&self) -> f32 {
        self.threshold.needed().min(2.0 * (self.ranked.max(1) as f32).log10() - YOUNG_SLACK)
    }

    fn verdict(&self, at_us: i64, evidence: f32, surprised: u32, name_from: f32) -> PanelVerdict {
        PanelVerdict {
            reported: false,
            troubled: at_us <= self.troubled_until_us,
            withhold: false,
            evidence,
            needed: self.needed_now(),
            severity: None,
            surprised,
            name_from,
        }
    }
}

/// The surprise from which on series are named: the lowest edge of a bin at which the number expected by
/// chance is no more than `false_share` of the number seen. The greatest alone if there is none.
fn name_from(surprises: &[f32], false_share: f32) -> f32 {
    let mut bins = [0u32; BINS];
    let mut greatest = 0.0f32;
    for surprise in surprises {
        bins[((surprise / BIN).max(0.0) as usize).min(BINS - 1)] += 1;
        greatest = greatest.max(*surprise);
    }
    let mut above = 0;
    let mut from = greatest;
    for (bin, count) in bins.iter().enumerate().rev() {
        above += count;
        let edge = bin as f32 * BIN;
        let by_chance = surprises.len() as f32 * 10f32.powf(-edge);
        if above > 0 && by_chance <= false_share * above as f32 {
            from = edge.min(greatest);
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::super::tail::next;
    use super::*;

    /// Seconds of a host of a hundred series; in a burst twenty of them are surprised.
    struct Made {
        panel: HostPanel,
        config: PanelConfig,
        second: i64,
        random: u32,
    }

    impl Made {
        fn new() -> Self {
            let config = PanelConfig::default();
            Self { panel: HostPanel::new(&config), config, second: 0, random: 7 }
        }

        fn second(&mut self, burst: bool) -> PanelVerdict {
            self.second += 1;
            let mut surprises: Vec<f32> = (0..100)
                .map(|_| -((next(&mut self.random) as f32 + 1.0) / (u32::MAX as f32 + 2.0)).log10())
                .collect();
            if burst {
                surprises[..20].iter_mut().for_each(|surprise| *surprise += 12.0);
            }
            self.panel.judge(self.second * 1_000_000, &surprises, &self.config)
        }

        /// Reports in these seconds.
        fn reports(&mut self, seconds: u32, burst: bool) -> u32 {
            (0..seconds).map(|_| u32::from(self.second(burst).reported)).sum()
        }
    }

    #[test]
    fn the_same_trouble_five_minutes_later_is_reported_again() {
        let mut host = Made::new();
        assert_eq!(host.reports(900, false), 0);
        assert_eq!(host.reports(40, true), 1);
        assert_eq!(host.reports(300, false), 0);
        assert_eq!(host.reports(40, true), 1, "what it has just been through is not its usual state");
    }

    #[test]
    fn what_comes_back_all_day_is_usual_after_some_reports() {
        let mut host = Made::new();
        host.reports(3_600, false);
        let hourly: Vec<u32> = (0..24)
            .map(|_| (0..12).map(|_| host.reports(20, true) + host.reports(280, false)).sum())
            .collect();
        assert!(hourly[0] >= 2, "{hourly:?}");
        assert!(
            hourly.iter().sum::<u32>() <= 20 && hourly[6..].iter().all(|reports| *reports == 0),
            "{hourly:?}"
        );
    }

    #[test]
    fn a_state_that_stays_is_one_report_and_becomes_usual() {
        let mut host = Made::new();
        host.reports(3_600, false);
        assert_eq!(host.reports(3 * 3_600, true), 1);
        let verdict = host.second(true);
        assert!(!verdict.troubled && !verdict.withhold, "{verdict:?}");
    }

    #[test]
    fn series_that_still_learn_say_nothing_of_the_host() {
        let config = PanelConfig::default();
        let mut panel = HostPanel::new(&config);
        for second in 0..1_000 {
            let verdict = panel.judge(second * 1_000_000, &[], &config);
            assert!(!verdict.reported);
        }
        // The first that could be ranked is no record.
        assert!(!panel.judge(1_000_000_000, &[9.0; 50], &config).reported);
    }

    #[test]
    fn names_the_series_that_stand_out_and_not_the_crowd() {
        let mut surprises: Vec<f32> = (0..1_000).map(|at| -((at as f32 + 0.5) / 1_000.0).log10()).collect();
        surprises.extend([7.0, 8.0, 9.0, 6.5]);
        let from = name_from(&surprises, 0.1);
        let named = surprises.iter().filter(|surprise| **surprise >= from).count();
        assert!((4..=5).contains(&named), "{named} from {from}");
        assert_eq!(name_from(&[0.9, 0.5], 0.1), 0.9);
    }
}
