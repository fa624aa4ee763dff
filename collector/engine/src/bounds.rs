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

impl Bounds {
    fn all(self) -> [(&'static str, u64); 2] {
        [("max_execution_time", self.seconds), ("max_threads", self.threads)]
    }

    /// The most that a setting may be, when it is one of these and `value` is more, or no limit at all.
    pub(crate) fn exceeded(self, name: &str, value: &str) -> Option<u64> {
        let (_, most) = self.all().into_iter().find(|(bounded, _)| *bounded == name)?;
        let is_within = value.parse::<u64>().is_ok_and(|value| (1..=most).contains(&value));
        (!is_within).then_some(most)
    }

    /// Whether one of the settings is named in `text` at all.
    pub(crate) fn are_named(self, text: &[u8]) -> bool {
        self.all().into_iter().any(|(name, _)| whole_words(text, name).next().is_some())
    }

    /// The first of these that `sql` sets to anything but a plain number within its bound, and the bound. `bare` is
    /// the same without literals and comments: a name that stands there is no part of a text.
    pub(crate) fn lifted(self, sql: &[u8], bare: &[u8]) -> Option<(&'static str, u64)> {
        self.all().into_iter().find(|(name, most)| {
            let is_set = whole_words(bare, name).next().is_some();
            let within =
                |at: usize| value_after(&sql[at + name.len()..]).is_some_and(|v| (1..=*most).contains(&v));
            is_set && !whole_words(sql, name).all(within)
        })
    }
}

/// The plain number in `= 10`, `` ` = 10`` and the like.
fn value_after(text: &[u8]) -> Option<u64> {
    let text =
        text.strip_prefix(b"`").or_else(|| text.strip_prefix(b"\"")).unwrap_or(text).trim_ascii_start();
    let text = text.strip_prefix(b"=")?.trim_ascii_start();
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let ends = rest.first().is_none_or(|byte| byte.is_ascii_whitespace() || b",;)".contains(byte));
    std::str::from_utf8(digits).ok().filter(|_| ends)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { seconds: 300, threads: 4 };

    #[test]
    fn limits_may_be_lowered_and_not_lifted() {
        for (value, most) in [("1", None), ("300", None), ("301", Some(300)), ("0", Some(300))] {
            assert_eq!(BOUNDS.exceeded("max_execution_time", value), most, "{value}");
        }
        for value in ["", "-1", "0.0000001", "inf", "1e9", "auto", "auto(8)", "18446744073709551616"] {
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
            "SET max_threads",
        ] {
            assert!(lifted(sql), "{sql}");
        }
        // In a literal it is only text.
        let text = b"SELECT * FROM system.settings WHERE name = 'max_threads'";
        assert_eq!(BOUNDS.lifted(text, b"SELECT * FROM system.settings WHERE name = ?"), None);
    }
}
