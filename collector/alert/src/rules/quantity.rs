//! Quantities as people write them: `90%`, `10GiB`, `5 ms`, `100/s`; and what unit a metric or an expression has,
//! so that a threshold in the wrong unit is refused and one in another scale is converted.

use fettle_shared::catalogue::{Metric, MetricKind};

/// The longest duration a rule may name, in seconds.
const MOST_SECONDS: f64 = 366.0 * 86_400.0;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dimension {
    /// Bytes.
    Bytes,
    /// Time, stored in this many nanoseconds.
    Time(u64),
    /// Percent: 0 to 100.
    Percent,
    /// A share: 0 to 1.
    Ratio,
    /// Countable things of this name, such as packets.
    Count,
}

/// The unit of a value; `per_second` of a rate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Unit {
    /// Nobody knows: the product of two metrics, say. Only plain numbers compare with it.
    Unknown,
    /// A number in an expression.
    Constant(f64),
    /// So many times a known unit: the first half of `100 * used / total`.
    Times(f64, Dimension, bool),
    /// A known unit.
    Known {
        /// What kind.
        dimension: Dimension,
        /// The catalogue's words.
        words: String,
        /// Whether it is per second.
        per_second: bool,
    },
}

impl Unit {
    /// The unit of a metric's values of one second: counters are rates.
    pub(crate) fn of(metric: &Metric) -> Self {
        let words = metric.unit.clone();
        let dimension = match words.as_str() {
            "bytes" => Dimension::Bytes,
            "nanoseconds" => Dimension::Time(1),
            "microseconds" => Dimension::Time(1_000),
            "milliseconds" | "ms" => Dimension::Time(1_000_000),
            "seconds" => Dimension::Time(1_000_000_000),
            text if text.starts_with("ticks (1/100 s)") => Dimension::Time(10_000_000),
            text if text == "percent" || text.starts_with("percent of") => Dimension::Percent,
            _ => Dimension::Count,
        };
        Self::Known { dimension, words, per_second: metric.kind == MetricKind::Counter }
    }

    /// In words, for messages and templates.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Unknown | Self::Constant(_) | Self::Times(..) => "a plain number".into(),
            Self::Known { dimension: Dimension::Ratio, .. } => "a share of 1".into(),
            Self::Known { words, per_second: false, .. } => words.clone(),
            Self::Known { words, per_second: true, .. } => format!("{words} per second"),
        }
    }

    pub(crate) fn ratio() -> Self {
        Self::Known { dimension: Dimension::Ratio, words: "share".into(), per_second: false }
    }

    pub(crate) fn percent() -> Self {
        Self::Known { dimension: Dimension::Percent, words: "percent".into(), per_second: false }
    }

    /// The same per second, or no longer so: what the reductions `rate` and `increase` make of it.
    pub(crate) fn timed(self, is_per_second: bool) -> Self {
        match self {
            Self::Known { dimension, words, .. } => {
                Self::Known { dimension, words, per_second: is_per_second }
            }
            other => other,
        }
    }
}

/// A duration such as `90s`, `5m`, `1h 30m`, `250ms`, in microseconds.
pub(crate) fn duration_us(text: &str) -> Result<i64, String> {
    let hint = "write it like 30s, 5m, 2h or 1h30m";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("a duration is missing here; {hint}"));
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| format!("{text:?} is no duration; {hint}"))?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let scale = match &rest[..letters] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            "" => return Err(format!("{text:?} has no unit; {hint}")),
            unit => return Err(format!("{unit:?} is no unit of time; {hint}")),
        };
        seconds += number * scale;
        rest = rest[letters..].trim_start();
    }
    if !seconds.is_finite() || seconds > MOST_SECONDS {
        return Err(format!("{text:?} is longer than a year; take a shorter time"));
    }
    Ok((seconds * 1e6).round() as i64)
}

/// A number with or without a unit, in the unit of what it is compared with.
pub(crate) fn quantity(text: &str, unit: &Unit) -> Result<f64, String> {
    let text = text.trim();
    // An exponent belongs to the number: 1e9.
    let end = (1..=text.len())
        .rev()
        .filter(|&end| text.is_char_boundary(end))
        .find(|&end| text[..end].parse::<f64>().is_ok_and(f64::is_finite))
        .ok_or_else(|| format!("{text:?} is no number; write one like 90, 1.5GiB or 10%"))?;
    let number: f64 = text[..end].parse().map_err(|_| format!("{text:?} is no number"))?;
    let suffix = text[end..].trim();
    if suffix.is_empty() {
        return Ok(number);
    }
    let Unit::Known { dimension, per_second, .. } = unit else {
        return Err(format!("{suffix:?} has no meaning here, for the unit of what it is compared with is not known; write a plain number"));
    };
    let (word, is_rate) = match suffix.strip_suffix("/s") {
        Some(word) => (word.trim(), true),
        None => (suffix, false),
    };
    if is_rate != *per_second {
        let fix = if is_rate { "leave out the /s" } else { "add /s" };
        return Err(format!("{text:?} does not compare with {}; {fix}", unit.words()));
    }
    let scale = scale(word, *dimension).ok_or_else(|| {
        format!("{text:?} does not compare with {}; {}", unit.words(), accepted(*dimension))
    })?;
    Ok(number * scale)
}

fn scale(word: &str, dimension: Dimension) -> Option<f64> {
    match dimension {
        Dimension::Bytes => Some(match word {
            "B" => 1.0,
            "kB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "TB" => 1e12,
            "KiB" => 1024.0,
            "MiB" => 1024f64.powi(2),
            "GiB" => 1024f64.powi(3),
            "TiB" => 1024f64.powi(4),
            _ => return None,
        }),
        Dimension::Time(nanoseconds) => {
            let own = nanoseconds as f64;
            Some(match word {
                "ns" => 1.0 / own,
                "us" | "µs" => 1e3 / own,
                "ms" => 1e6 / own,
                "s" => 1e9 / own,
                "m" | "min" => 60e9 / own,
                "h" => 3600e9 / own,
                "d" => 86_400e9 / own,
                _ => return None,
            })
        }
        Dimension::Percent => (word == "%").then_some(1.0),
        Dimension::Ratio => (word == "%").then_some(0.01),
        Dimension::Count => match word {
            "k" => Some(1e3),
            "M" => Some(1e6),
            "" => Some(1.0),
            _ => None,
        },
    }
}

fn accepted(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Bytes => "write bytes as B, kB, KiB, MB, MiB, GB, GiB, TB or TiB",
        Dimension::Time(_) => "write a time in ns, us, ms, s, m, h or d",
        Dimension::Percent => "write a number or percent such as 90%",
        Dimension::Ratio => "write a share such as 0.9 or 90%",
        Dimension::Count => "write a plain number, or one with k or M",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(dimension: Dimension, words: &str, per_second: bool) -> Unit {
        Unit::Known { dimension, words: words.into(), per_second }
    }

    #[test]
    fn durations_need_a_unit_and_may_be_put_together() {
        for (text, us) in [
            ("0s", 0),
            ("30s", 30_000_000),
            ("1h30m", 5_400_000_000),
            ("250ms", 250_000),
            ("1.5 m", 90_000_000),
        ] {
            assert_eq!(duration_us(text), Ok(us), "{text}");
        }
        for text in ["", "30", "s", "1y", "-5s", "99999d", "1e3s", "5 parsecs", "1..5s"] {
            assert!(duration_us(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_are_converted_to_the_unit_they_compare_with() {
        let bytes = known(Dimension::Bytes, "bytes", false);
        let rate = known(Dimension::Bytes, "bytes", true);
        let ms = known(Dimension::Time(1_000_000), "milliseconds", false);
        for (text, unit, value) in [
            ("5GiB", &bytes, 5.0 * 1024f64.powi(3)),
            ("1e9", &bytes, 1e9),
            ("10 MB/s", &rate, 1e7),
            ("2s", &ms, 2000.0),
            ("90%", &Unit::percent(), 90.0),
            ("90%", &Unit::ratio(), 0.9),
            ("-3", &Unit::Unknown, -3.0),
        ] {
            assert_eq!(quantity(text, unit), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_wrong_unit_is_refused_with_the_right_ones() {
        let bytes = known(Dimension::Bytes, "bytes", false);
        for (text, unit, word) in [
            ("90%", &bytes, "GiB"),
            ("10MiB/s", &bytes, "leave out"),
            ("10MiB", &known(Dimension::Bytes, "bytes", true), "add /s"),
            ("5GiB", &Unit::percent(), "90%"),
            ("90%", &Unit::Unknown, "plain number"),
            ("lots", &bytes, "no number"),
            ("nan", &bytes, "no number"),
            ("inf", &bytes, "no number"),
        ] {
            let said = quantity(text, unit).unwrap_err();
            assert!(said.contains(word), "{text}: {said}");
        }
    }
}
