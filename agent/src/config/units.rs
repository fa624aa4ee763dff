//! Sizes, durations and shares as people write them.

use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::Deserialize;

const SIZES: [(&str, u64); 10] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];
const DURATIONS: [(&str, f64); 7] =
    [("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86_400.0)];

/// Splits a number from its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..at].parse().ok()?;
    Some((number, text[at..].trim()))
}

/// `"64MiB"`, `"1.5 GB"`, `"4096B"`; a bare number is bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text.trim())?;
    let scale = if unit.is_empty() { 1 } else { SIZES.iter().find(|(name, _)| *name == unit)?.1 };
    let bytes = number * scale as f64;
    (bytes.fract() == 0.0 && bytes < 9e15).then_some(bytes as u64)
}

/// `"10s"`, `"250ms"`, `"1.5h"`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text.trim())?;
    let scale = DURATIONS.iter().find(|(name, _)| *name == unit)?.1;
    Duration::try_from_secs_f64(number * scale).ok()
}

/// `"2%"` or a bare number of percent.
fn parse_percent(text: &str) -> Option<f64> {
    text.trim().trim_end_matches('%').trim_end().parse().ok().filter(|p: &f64| p.is_finite())
}

/// Bytes as a person would write them.
pub fn show_bytes(bytes: u64) -> String {
    for (name, scale) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= scale && bytes.is_multiple_of(scale) {
            return format!("{}{name}", bytes / scale);
        }
    }
    format!("{bytes}B")
}

/// A duration as a person would write it.
pub fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    for (name, scale) in [("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000)] {
        if micros >= scale && micros.is_multiple_of(scale) {
            return format!("{}{name}", micros / scale);
        }
    }
    format!("{micros}us")
}

macro_rules! written {
    ($(#[$doc:meta])* $name:ident($inner:ty), $parse:expr, $expected:literal, $number:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub(crate) struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl Visitor<'_> for Reader {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $parse(text).map($name).ok_or_else(|| {
                            E::custom(format!("{text:?} should be {}", $expected))
                        })
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
                        $number(number as f64)
                            .map($name)
                            .ok_or_else(|| E::custom(format!("{number} should be {}", $expected)))
                    }
                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$name, E> {
                        $number(number)
                            .map($name)
                            .ok_or_else(|| E::custom(format!("{number} should be {}", $expected)))
                    }
                }
                deserializer.deserialize_any(Reader)
            }
        }
    };
}

written!(
    /// A number of bytes.
    Size(u64),
    parse_size,
    "a size such as \"64MiB\" or \"1GiB\"",
    |n: f64| (n >= 0.0 && n.fract() == 0.0).then_some(n as u64)
);
written!(
    /// A time span.
    Span(Duration),
    parse_duration,
    "a duration such as \"250ms\", \"10s\" or \"5min\"",
    |_| None
);
written!(
    /// A share in percent.
    Percent(f64),
    parse_percent,
    "a percentage such as \"2%\"",
    |n: f64| Some(n)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_sizes_and_durations_in_many_ways() {
        for (text, bytes) in [("1GiB", 1 << 30), ("1.5 KiB", 1536), ("64MB", 64_000_000), ("7", 7), ("7B", 7)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "GiB", "1XB", "-1MiB", "1.5B", "99999999TB", "1 2"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
        for (text, ms) in [("250ms", 250), ("1.5s", 1500), ("2min", 120_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "10", "s", "-1s", "1w"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(
            (parse_percent("2%"), parse_percent("0.5"), parse_percent("x")),
            (Some(2.0), Some(0.5), None)
        );
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, 3 << 30, (1 << 30) + 1] {
            assert_eq!(parse_size(&show_bytes(bytes)), Some(bytes));
        }
        for micros in [0, 1, 1500, 250_000, 1_000_000, 90_000_000, 7_200_000_000] {
            let duration = Duration::from_micros(micros);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
    }
}
