//! A sudden change in words, and as names with amounts.

use super::findings::Named;
use crate::detect::host::{Beyond, Direction, Surged, Takes};
use crate::words::amount_words;

/// A feature of the host; `clip` is the most doublings that count of one.
pub(super) fn feature(name: &str, one: &Surged, clip: f32) -> String {
    let way = if one.direction == Direction::Up { "above" } else { "below" };
    let more = if one.doublings >= clip { "more than " } else { "" };
    format!(
        "{name} {}, {more}{:.1} times as far {way} its level of {} as ever before",
        amount_words(f64::from(one.seen)),
        one.doublings.exp2(),
        amount_words(f64::from(one.expected)),
    )
}

/// A program.
pub(super) fn program(one: &Beyond) -> String {
    let (unit, of) = match one.takes {
        Takes::Cores => (1.0, "of a processor"),
        Takes::Memory => (100.0, "% of memory"),
    };
    let [seen, record] = [one.seen, one.record].map(|amount| f64::from(amount) * unit);
    let before = if record > 0.0 { format!("{record:.2} at most") } else { "not at all".to_owned() };
    format!("program {} takes {seen:.2} {of}, before {before}", one.program)
}

/// A feature's amounts.
pub(super) fn named(name: String, seen: f32, expected: f32) -> Named {
    Named { name, share: 0.0, seen: f64::from(seen), expected: f64::from(expected) }
}

/// A program's amounts: processors, or the share of memory.
pub(super) fn named_program(one: &Beyond) -> Named {
    let takes = match one.takes {
        Takes::Cores => "cores",
        Takes::Memory => "memory_share",
    };
    named(format!("process.{takes}{{comm={}}}", one.program), one.seen, one.record)
}
