//! What kind of error a text speaks of: a small classifier over what health checks and actions print. It
//! knows the words of the C library's error messages (errno(3), strerror(3)) and of a few runtimes; the last
//! phrase in the text decides, because a program's last words are nearest to what stopped it. A text without
//! a known phrase has no pattern, which is the usual case.

use serde::{Deserialize, Serialize};

/// A kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Not allowed to read, write, run or bind something.
    Permission,
    /// A disk or a quota is full.
    DiskSpace,
    /// Somebody else cannot be reached.
    Network,
    /// Not enough memory.
    Memory,
}

/// Names as policies write them.
pub const NAMES: [(&str, Pattern); 4] = [
    ("permission", Pattern::Permission),
    ("disk_space", Pattern::DiskSpace),
    ("network", Pattern::Network),
    ("memory", Pattern::Memory),
];

/// Phrases, in lower case. Names of errno values must stand as whole words.
const PHRASES: [(&str, Pattern); 34] = [
    ("permission denied", Pattern::Permission),
    ("operation not permitted", Pattern::Permission),
    ("access denied", Pattern::Permission),
    ("access is denied", Pattern::Permission),
    ("not permitted to", Pattern::Permission),
    ("eacces", Pattern::Permission),
    ("eperm", Pattern::Permission),
    ("no space left on device", Pattern::DiskSpace),
    ("disk quota exceeded", Pattern::DiskSpace),
    ("disk is full", Pattern::DiskSpace),
    ("disk full", Pattern::DiskSpace),
    ("not enough free space", Pattern::DiskSpace),
    ("enospc", Pattern::DiskSpace),
    ("edquot", Pattern::DiskSpace),
    ("connection refused", Pattern::Network),
    ("connection reset", Pattern::Network),
    ("connection timed out", Pattern::Network),
    ("no route to host", Pattern::Network),
    ("network is unreachable", Pattern::Network),
    ("host is unreachable", Pattern::Network),
    ("name or service not known", Pattern::Network),
    ("temporary failure in name resolution", Pattern::Network),
    ("econnrefused", Pattern::Network),
    ("econnreset", Pattern::Network),
    ("etimedout", Pattern::Network),
    ("ehostunreach", Pattern::Network),
    ("enetunreach", Pattern::Network),
    ("out of memory", Pattern::Memory),
    ("cannot allocate memory", Pattern::Memory),
    ("outofmemoryerror", Pattern::Memory),
    ("std::bad_alloc", Pattern::Memory),
    ("oom-kill", Pattern::Memory),
    ("memoryerror", Pattern::Memory),
    ("enomem", Pattern::Memory),
];

/// The most of a text that is looked at: its end.
const LOOK_BYTES: usize = 8192;

impl Pattern {
    /// The name as policies write it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }

    /// What the text speaks of last, if it speaks of anything known.
    pub fn of(text: &str) -> Option<Self> {
        let mut start = text.len().saturating_sub(LOOK_BYTES);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let text = text[start..].to_ascii_lowercase();
        let last = |phrase: &str| {
            text.rmatch_indices(phrase).map(|(at, _)| at).find(|at| stands_alone(&text, *at, phrase.len()))
        };
        PHRASES
            .iter()
            .filter_map(|(phrase, pattern)| last(phrase).map(|at| (at, *pattern)))
            .max_by_key(|(at, _)| *at)
            .map(|(_, pattern)| pattern)
    }
}

/// No letter goes on before or after it; `java.lang.OutOfMemoryError` stands alone.
fn stands_alone(text: &str, at: usize, length: usize) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !letter(text[..at].chars().next_back()) && !letter(text[at + length..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_last_words_are_known() {
        for (text, pattern) in [
            ("nginx: [emerg] open() \"/etc/x\" failed (13: Permission denied)", Some(Pattern::Permission)),
            ("write: ENOSPC", Some(Pattern::DiskSpace)),
            ("dial tcp 10.0.0.1:5432: connect: connection refused", Some(Pattern::Network)),
            ("fork: Cannot allocate memory", Some(Pattern::Memory)),
            ("Exception: java.lang.OutOfMemoryError: heap", Some(Pattern::Memory)),
            ("ended with 1", None),
            ("the expermental eperms module", None),
            ("", None),
        ] {
            assert_eq!(Pattern::of(text), pattern, "{text}");
        }
    }

    #[test]
    fn the_last_phrase_decides() {
        let text = "connect: Connection refused, retrying\nopen /var/lib/x: Permission denied";
        assert_eq!(Pattern::of(text), Some(Pattern::Permission));
    }

    #[test]
    fn only_the_end_of_a_long_text_is_looked_at() {
        let text = format!("Permission denied{}", "ü".repeat(LOOK_BYTES));
        assert_eq!(Pattern::of(&text), None);
    }
}
