//! How far readers may set their own limits: they lower them and never lift them. The engine's own constraints
//! stand in a profile, and here reader and writer share one, because both are one user of the engine; so the bounds
//! are kept at the door, in the URL's settings and in the statement's text.
//!
//! Not bounded: the memory of one statement, which has no limit of its own below that of all together.

use crate::sql::whole_words;

/// The limits of one statement of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Longest run, seconds.
    pub(crate) seconds: u64,
    /// Threads.
    pub(crate) threads: u64,
}

/// The range of one setting.
#[derive(Debug, Clone, Copy)]
struct Range {
    name: &'static str,
    /// Anything smaller may be rounded to 0, which is no limit. A whole number where it is 1.
    least: f64,
    most: u64,
}

impl Range {
    /// Whether these are digits, with a point between them at most, of a number in the range.
    fn has(self, text: &str) -> bool {
        let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = text.split('.').collect();
        let most_parts = if self.least < 1.0 { 2 } else { 1 };
        let is_number = parts.len() <= most_parts && parts.into_iter().all(is_plain);
        is_number && text.parse::<f64>().is_ok_and(|value| (self.least..=self.most as f64).contains(&value))
    }
}

impl Bounds {
    fn all(self) -> [Range; 2] {
        [
            Range { name: "max_execution_time", least: 0.001, most: self.seconds },
            Range { name: "max_threads", least: 1.0, most: self.threads },
        ]
    }

    /// The most that a setting may be, when it is one of these and `value` is more, or no limit at all.
    pub(crate) fn exceeded(self, name: &str, value: &str) -> Option<u64> {
        let range = self.all().into_iter().find(|range| range.name == name)?;
        (!range.has(value)).then_some(range.most)
    }

    /// Whether one of the settings is named in `text` at all.
    pub(crate) fn are_named(self, text: &[u8]) -> bool {
        self.all().into_iter().any(|range| whole_words(text, range.name).next().is_some())
    }

    /// The first of these that `sql` sets to anything but a plain number within its bound, and the bound. `bare` is
    /// the same without literals and comments: a name that stands there is no part of a text.
    pub(crate) fn lifted(self, sql: &[u8], bare: &[u8]) -> Option<(&'static str, u64)> {
        let lifted = self.all().into_iter().find(|range| {
            let is_set = whole_words(bare, range.name).next().is_some();
            let within =
                |at: usize| number_after(&sql[at + range.name.len()..]).is_some_and(|text| range.has(text));
            is_set && !whole_words(sql, range.name).all(within)
        });
        lifted.map(|range| (range.name, range.most))
    }
}

/// The digits and points in `= 10`, `` ` = 0.5`` and the like.
fn number_after(text: &[u8]) -> Option<&str> {
    let text =
        text.strip_prefix(b"`").or_else(|| text.strip_prefix(b"\"")).unwrap_or(text).trim_ascii_start();
    let text = text.strip_prefix(b"=")?.trim_ascii_start();
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let end = text.iter().position(|byte| !is_number(byte)).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let ends = rest.first().is_none_or(|byte| byte.is_ascii_whitespace() || b",;)".contains(byte));
    std::str::from_utf8(number).ok().filter(|_| ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { seconds: 300, threads: 4 };

    #[test]
    fn limits_may_be_lowered_and_not_lifted() {
        for (value, most) in [
            ("1", None),
            ("0.2", None),
            ("300", None),
            ("300.1", Some(300)),
            ("301", Some(300)),
            ("0", Some(300)),
            ("0.0000001", Some(300)),
            ("1.", Some(300)),
            ("1.2.3", Some(300)),
        ] {
            assert_eq!(BOUNDS.exceeded("max_execution_time", value), most, "{value}");
        }
        for value in
            ["", "-1", "0.5", "1.5", "0.0000001", "inf", "1e9", "auto", "auto(8)", "18446744073709551616"]
        {
            assert!(BOUNDS.exceeded("max_threads", value).is_some(), "{value}");
        }
        assert_eq!(BOUNDS.exceeded("max_block_size", "9999999"), None);
    }

    #[test]
    fn values_in_a_text_are_plain_or_refused() {
        let lifted = |sql: &str| BOUNDS.lifted(sql.as_bytes(), sql.as_bytes()).is_some();
        for sql in [
            "SELECT 1 SETTINGS max_threads = 4",
            "SELECT 1 SETTINGS max_threads=1, `max_execution_time` = 300;",
            "SELECT (SELECT 1 SETTINGS max_threads = 2) SETTINGS max_threads = 3",
            "SET max_execution_time = 10",
            "SELECT 1 SETTINGS max_execution_time = 0.2, max_block_size = 1",
            "SELECT my_max_threads = 100, max_threads_x",
        ] {
            assert!(!lifted(sql), "{sql}");
        }
        for sql in [
            "SELECT 1 SETTINGS max_threads = 5",
            "SELECT 1 SETTINGS max_threads/**/= 5",
            "SELECT 1 SETTINGS max_threads = 4, max_threads = 64",
            "SELECT 1 SETTINGS max_execution_time = '0'",
            "SELECT 1 SETTINGS max_execution_time = 1e9",
            "SELECT 1 SETTINGS max_execution_time = {x:UInt64}",
            "SELECT 1 SETTINGS max_execution_time = DEFAULT",
            "SET MAX_THREADS = 0x40",
            "SELECT 1 SETTINGS max_execution_time = 0.0",
            "SELECT 1 SETTINGS max_threads = 0.5",
            "SET max_threads",
        ] {
            assert!(lifted(sql), "{sql}");
        }
        // In a literal it is only text.
        let text = b"SELECT * FROM system.settings WHERE name = 'max_threads'";
        assert_eq!(BOUNDS.lifted(text, b"SELECT * FROM system.settings WHERE name = ?"), None);
    }
}
