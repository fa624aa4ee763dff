//! Series in a compact notation: `0x60 95x2m 10..90x30 _x10`.

use crate::rules::quantity::{duration_us, quantity, Unit};

use super::MOST_SECONDS;

/// Values of consecutive seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Values {
    runs: Vec<Run>,
    /// The last run goes on to the end of the trial.
    goes_on: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    /// First and last value; `None`: no sample.
    ends: Option<(f64, f64)>,
    seconds: u32,
}

impl Values {
    /// Reads the notation; a value has the metric's unit.
    pub(crate) fn parse(text: &str, unit: &Unit) -> Result<Self, String> {
        let mut runs = Vec::new();
        let mut goes_on = false;
        let mut total = 0u32;
        for item in text.split_whitespace() {
            let (value, times) = match item.rsplit_once('x') {
                Some((value, times)) => (value, Some(times)),
                None => (item, None),
            };
            let seconds = match times {
                None => 1,
                Some(times) => count(times).map_err(|said| format!("{item:?}: {said}"))?,
            };
            goes_on = times.is_none();
            total = total.saturating_add(seconds);
            let ends = match value {
                "_" => None,
                "nan" => Some((f64::NAN, f64::NAN)),
                value => {
                    let (first, last) = value.split_once("..").unwrap_or((value, value));
                    Some((quantity(first, unit)?, quantity(last, unit)?))
                }
            };
            runs.push(Run { ends, seconds });
        }
        if runs.is_empty() {
            return Err("there are no values; write them like 0x60 95x2m".into());
        }
        if total > MOST_SECONDS {
            return Err("the series is longer than a day; shorten it".into());
        }
        Ok(Self { runs, goes_on })
    }

    /// Seconds that are written out.
    pub(crate) fn seconds(&self) -> u32 {
        self.runs.iter().map(|run| run.seconds).sum()
    }

    /// The value of a second, from 0.
    pub(crate) fn at(&self, second: u32) -> Option<f64> {
        let mut left = second;
        for run in &self.runs {
            if left < run.seconds {
                let (first, last) = run.ends?;
                let steps = f64::from(run.seconds.saturating_sub(1).max(1));
                return Some(first + (last - first) * f64::from(left) / steps);
            }
            left -= run.seconds;
        }
        let last = self.runs.last().filter(|_| self.goes_on)?;
        last.ends.map(|(_, value)| value)
    }
}

fn count(text: &str) -> Result<u32, String> {
    let seconds = match text.parse::<u32>() {
        Ok(seconds) => seconds,
        Err(_) => u32::try_from(duration_us(text)? / 1_000_000).unwrap_or(u32::MAX),
    };
    if seconds == 0 || seconds > MOST_SECONDS {
        return Err("after the x stands how many seconds, 1 to 86400".into());
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_ramps_gaps_and_the_rest() {
        let values = Values::parse("1x2 0..10x3 _x2 7", &Unit::Unknown).unwrap();
        let all: Vec<Option<f64>> = (0..10).map(|second| values.at(second)).collect();
        let want = [
            Some(1.0),
            Some(1.0),
            Some(0.0),
            Some(5.0),
            Some(10.0),
            None,
            None,
            Some(7.0),
            Some(7.0),
            Some(7.0),
        ];
        assert_eq!(all, want);
        let values = Values::parse("90%x1m", &Unit::percent()).unwrap();
        assert_eq!((values.at(59), values.at(60), values.seconds()), (Some(90.0), None, 60));
    }

    #[test]
    fn faults_are_named() {
        for text in ["", "x5", "5x", "5x0", "5x9d", "fivex5", "1..x5", "5GiBx2"] {
            assert!(Values::parse(text, &Unit::Unknown).is_err(), "{text}");
        }
    }
}
