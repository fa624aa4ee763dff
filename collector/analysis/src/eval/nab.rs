//! One series of the single-metric corpus: its rows in, a score for each row out.
//!
//! A file is CSV with a header, a column of times (`2014-04-01 00:00:00`, UTC assumed, fractions and
//! quotes allowed) and a column of values; what the scorer reads is the time as it stood and the score.
//! The series is given row by row to the detector that runs live; nothing here sees a row twice or
//! ahead. A file that repeats a time gets the repeated row judged by its place: score 0.

use std::fmt::Write as _;

use crate::detect::series::{SeriesConfig, SeriesDetector};

/// Why a text is not a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NabError {
    /// The header names no column `timestamp` or no column `value`.
    Header,
    /// A row (from 1, the header not counted) whose time cannot be read.
    Time(usize),
}

impl std::fmt::Display for NabError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header => f.write_str("the first line must name the columns timestamp and value"),
            Self::Time(row) => write!(f, "row {row} has no time of the form 2014-04-01 00:00:00"),
        }
    }
}

impl std::error::Error for NabError {}

/// Scores every row of a series: the text of its CSV in, the text `timestamp,anomaly_score` out. A value
/// that is missing or not a number gets score 0 and is not learned from.
///
/// # Errors
///
/// When the columns or a time cannot be read.
pub fn detect(text: &str, config: &SeriesConfig) -> Result<String, NabError> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header: Vec<&str> = lines.next().unwrap_or("").split(',').map(unquoted).collect();
    let column = |name: &str| header.iter().position(|column| *column == name).ok_or(NabError::Header);
    let (time, value) = (column("timestamp")?, column("value")?);
    let mut detector = SeriesDetector::new(1);
    let mut out = String::from("timestamp,anomaly_score\n");
    for (row, line) in lines.enumerate() {
        let cells: Vec<&str> = line.split(',').map(unquoted).collect();
        let stamp = cells.get(time).copied().unwrap_or("");
        let at_us = parse_time(stamp).ok_or(NabError::Time(row + 1))?;
        let value = cells.get(value).and_then(|cell| cell.parse().ok()).unwrap_or(f64::NAN);
        let verdict = detector.update(at_us, value, config);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{stamp},{}", verdict.score);
    }
    Ok(out)
}

fn unquoted(cell: &str) -> &str {
    cell.trim().trim_matches('"')
}

/// µs since 1970 of `YYYY-MM-DD HH:MM:SS[.fraction]`, taken as UTC.
fn parse_time(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000)
}

/// Days since 1970-01-01 in the Gregorian calendar; years are counted from March, so that the leap day
/// is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months = (month + 9) % 12;
    let day_of_year = (153 * months + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_utc() {
        assert_eq!(parse_time("1970-01-01 00:00:00"), Some(0));
        assert_eq!(parse_time("2014-04-01 12:30:05.25"), Some(1_396_355_405_000_000));
        assert_eq!(parse_time("2000-02-29 00:00:00"), Some(951_782_400_000_000));
        assert_eq!(parse_time("2014-13-01 00:00:00"), None);
        assert_eq!(parse_time("yesterday"), None);
    }

    #[test]
    fn every_row_gets_a_line_whatever_it_holds() {
        let text = "timestamp,value\n2014-04-01 00:00:00,1\n2014-04-01 00:05:00,\n2014-04-01 00:05:00,nan\n";
        let out = detect(text, &SeriesConfig::default()).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].starts_with("2014-04-01 00:05:00,0"));
        assert_eq!(detect("a,b\n", &SeriesConfig::default()), Err(NabError::Header));
        assert_eq!(detect("timestamp,value\nx,1\n", &SeriesConfig::default()), Err(NabError::Time(1)));
    }
}
