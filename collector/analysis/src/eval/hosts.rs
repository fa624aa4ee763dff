//! One host of the multivariate corpus: its rows in; out a score for each row from `scored_from` on, and what the
//! live watch would have reported.
//!
//! A file is CSV with a header: `sample`, then a column a metric. Samples are numbered from 0 and lie a
//! fixed number of seconds apart; sample 0 is taken to be at midnight. The rows before `scored_from` are
//! streamed through the detectors like all others, their scores left out.
//!
//! Scores are the host detector's. Reports are made by the parts that report live, with what is shipped: the panel over
//! the metrics, each judged as a series by itself, and the gate behind the host detector. What is sudden within
//! seconds ([`Surge`]) does not show in rows that lie minutes apart and is not asked.

use std::fmt::Write as _;

use crate::detect::host::{Gate, HostDetector, Passage};
use crate::detect::series::{HostPanel, Lesson, SeriesMonitor, NAMED_FROM};
use crate::live::LiveConfig;

#[cfg(doc)]
use crate::detect::host::Surge;

/// Why a text is not a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostsError {
    /// The first column isn't `sample`, or there is no other.
    Header,
    /// A row (from 1, the header not counted) whose sample cannot be read, or with another number of
    /// cells than the header.
    Row(usize),
}

impl std::fmt::Display for HostsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header => f.write_str("the first line must name the column sample and then the metrics"),
            Self::Row(row) => write!(f, "row {row} has no sample number or not one cell a metric"),
        }
    }
}

impl std::error::Error for HostsError {}

/// Who reports a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// The panel over the metrics as series.
    Series,
    /// The host detector behind its gate.
    Host,
}

impl Voice {
    /// Its word in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::Host => "host",
        }
    }
}

/// What was made of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// `sample,anomaly_score` as text, from the first row to be scored on.
    pub scores: String,
    /// Samples that would have been reported, and by whom.
    pub reports: Vec<(u64, Voice)>,
    /// Rows read.
    pub rows: u64,
}

/// Reports of rows no further apart than this are one trouble: the calm that ends one live is a minute, shorter than a
/// row here. The scorer of this corpus closes the same gaps.
const APART: u64 = 6;

impl Judged {
    /// Troubles that were reported, by whomever: what a person would count as alarms.
    #[must_use]
    pub fn troubles(&self) -> usize {
        let mut newest = None;
        let begins = self.reports.iter().filter(|(sample, _)| {
            let before = newest.replace(*sample);
            before.is_none_or(|before| sample.saturating_sub(before) > APART)
        });
        begins.count()
    }
}

/// Judges a host: the text of its CSV in. `seconds` is the distance of two samples. A cell that is no number is
/// a missing value.
///
/// # Errors
///
/// When the columns or a row cannot be read.
pub fn detect(text: &str, scored_from: u64, seconds: u32, config: &LiveConfig) -> Result<Judged, HostsError> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut header = lines.next().unwrap_or("").split(',').map(str::trim);
    if header.next() != Some("sample") {
        return Err(HostsError::Header);
    }
    let names: Vec<String> = header.map(str::to_owned).collect();
    if names.is_empty() {
        return Err(HostsError::Header);
    }
    let features = names.len();
    let mut judged = Judged { scores: String::from("sample,anomaly_score\n"), reports: Vec::new(), rows: 0 };
    let mut detector = HostDetector::new(names, &config.host);
    let mut gate = Gate::default();
    let mut series = Singly::new(features, config);
    let mut row = Vec::with_capacity(features);
    for (number, line) in lines.enumerate() {
        let mut cells = line.split(',').map(str::trim);
        let sample: u64 =
            cells.next().and_then(|cell| cell.parse().ok()).ok_or(HostsError::Row(number + 1))?;
        row.clear();
        row.extend(cells.map(|cell| cell.parse().unwrap_or(f32::NAN)));
        if row.len() != features {
            return Err(HostsError::Row(number + 1));
        }
        judged.rows += 1;
        let second = sample.saturating_mul(u64::from(seconds));
        let at_us = i64::try_from(second).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000);
        let verdict = detector.update(at_us, &row);
        if sample >= scored_from {
            // Writing to a String cannot fail.
            let _ = writeln!(judged.scores, "{sample},{}", verdict.score);
        }
        let second = u32::try_from(second).unwrap_or(u32::MAX);
        let (a_day, learning_s) = (config.panel.reports_a_day, config.host_learning_s);
        if gate.pass(second, &verdict, a_day, learning_s, config.calm_s) == Passage::Report {
            judged.reports.push((sample, Voice::Host));
        }
        if series.judge(at_us, &row, config) {
            judged.reports.push((sample, Voice::Series));
        }
    }
    Ok(judged)
}

/// The metrics as series, and the panel over them.
struct Singly {
    monitors: Vec<SeriesMonitor>,
    panel: HostPanel,
    surprises: Vec<f32>,
    lessons: Vec<(usize, Lesson)>,
}

impl Singly {
    fn new(series: usize, config: &LiveConfig) -> Self {
        let seeds = (1u32..).map(|at| at.wrapping_mul(0x9e37_79b9));
        Self {
            monitors: seeds.take(series).map(|seed| SeriesMonitor::new(seed, &config.series)).collect(),
            panel: HostPanel::new(&config.panel),
            surprises: Vec::new(),
            lessons: Vec::new(),
        }
    }

    /// Whether the panel reports this row.
    fn judge(&mut self, at_us: i64, row: &[f32], config: &LiveConfig) -> bool {
        self.surprises.clear();
        for (at, (monitor, value)) in self.monitors.iter_mut().zip(row).enumerate() {
            if !value.is_finite() {
                continue;
            }
            let (verdict, lesson) = monitor.judge(at_us, f64::from(*value), &config.series);
            match lesson {
                Some(lesson) if verdict.surprise >= NAMED_FROM => self.lessons.push((at, lesson)),
                Some(lesson) => monitor.learn(&lesson, &config.series),
                None => {}
            }
            if !monitor.is_learning(&config.series) {
                self.surprises.push(verdict.surprise);
            }
        }
        let verdict = self.panel.judge(at_us, &self.surprises, &config.panel);
        for (at, lesson) in self.lessons.drain(..) {
            if !verdict.withhold {
                self.monitors[at].learn(&lesson, &config.series);
            }
        }
        verdict.reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_score_for_every_row_asked_for() {
        let mut text = String::from("sample,a,b\n");
        for sample in 0..400 {
            let _ = writeln!(text, "{sample},{},{}", sample % 7, if sample == 50 { "" } else { "1" });
        }
        let out = detect(&text, 390, 300, &LiveConfig::default()).unwrap();
        assert_eq!((out.scores.lines().count(), out.rows), (11, 400));
        assert!(out.scores.lines().nth(1).is_some_and(|line| line.starts_with("390,")));
        assert_eq!(out.reports, [], "nothing happens");
    }

    #[test]
    fn what_is_far_out_in_many_metrics_is_one_trouble() {
        let mut text = String::from("sample,a,b,c,d\n");
        let mut random = 1u32;
        for sample in 0..6_000 {
            let far = if (5_000..5_010).contains(&sample) { 50.0 } else { 0.0 };
            let cells = [0; 4].map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                far + f64::from(random >> 8) / f64::from(1 << 24)
            });
            let _ = writeln!(text, "{sample},{},{},{},{}", cells[0], cells[1], cells[2], cells[3]);
        }
        let mut judged = detect(&text, 0, 300, &LiveConfig::default()).unwrap();
        // A host of few rows breaks its records; what is meant here is one that is known.
        judged.reports.retain(|(sample, _)| *sample >= 2_000);
        assert_eq!(judged.troubles(), 1, "{:?}", judged.reports);
        for voice in [Voice::Series, Voice::Host] {
            let first = judged.reports.iter().find(|(_, by)| *by == voice).map(|(sample, _)| *sample);
            assert!(first.is_some_and(|first| (5_000..5_010).contains(&first)), "{voice:?}: {first:?}");
        }
    }

    #[test]
    fn says_what_cannot_be_read() {
        let config = LiveConfig::default();
        assert_eq!(detect("a,b\n0,1\n", 0, 300, &config), Err(HostsError::Header));
        assert_eq!(detect("sample\n0\n", 0, 300, &config), Err(HostsError::Header));
        assert_eq!(detect("sample,a\n0,1\nx,1\n", 0, 300, &config), Err(HostsError::Row(2)));
        assert_eq!(detect("sample,a\n0,1,2\n", 0, 300, &config), Err(HostsError::Row(1)));
    }
}
