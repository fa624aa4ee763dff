//! One host of the multivariate corpus: its rows in, a score for each row from `scored_from` on out.
//!
//! A file is CSV with a header: `sample`, then a column a metric. Samples are numbered from 0 and lie a
//! fixed number of seconds apart; sample 0 is taken to be at midnight. The rows before `scored_from` are
//! streamed through the detector like all others, their scores left out.

use std::fmt::Write as _;

use crate::detect::host::{HostConfig, HostDetector};

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

/// Scores a host: the text of its CSV in, the text `sample,anomaly_score` out. `seconds` is the distance
/// of two samples. A cell that is no number is a missing value.
///
/// # Errors
///
/// When the columns or a row cannot be read.
pub fn detect(text: &str, scored_from: u64, seconds: u32, config: &HostConfig) -> Result<String, HostsError> {
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
    let mut out = String::from("sample,anomaly_score\n");
    let mut detector = HostDetector::new(names, config);
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
        let at_us = i64::try_from(sample.saturating_mul(u64::from(seconds))).unwrap_or(i64::MAX / 1_000_000);
        let verdict = detector.update(at_us.saturating_mul(1_000_000), &row);
        if sample >= scored_from {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{sample},{}", verdict.score);
        }
    }
    Ok(out)
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
        let out = detect(&text, 390, 300, &HostConfig::default()).unwrap();
        assert_eq!(out.lines().count(), 11);
        assert!(out.lines().nth(1).is_some_and(|line| line.starts_with("390,")));
    }

    #[test]
    fn says_what_cannot_be_read() {
        let config = HostConfig::default();
        assert_eq!(detect("a,b\n0,1\n", 0, 300, &config), Err(HostsError::Header));
        assert_eq!(detect("sample\n0\n", 0, 300, &config), Err(HostsError::Header));
        assert_eq!(detect("sample,a\n0,1\nx,1\n", 0, 300, &config), Err(HostsError::Row(2)));
        assert_eq!(detect("sample,a\n0,1,2\n", 0, 300, &config), Err(HostsError::Row(1)));
    }
}
