//! What an error looks like: one of the few patterns that a policy has an answer to. Recognised from an
//! error's number or from what a program printed, in the words that the C library, Go's and Java's run
//! times and common services use for the same numbers (errno(3), strerror(3)). This is the only place that
//! does: agents say what a check complains of, the collector what an action printed, and policies match it.
//!
//! The last phrase in a text decides, because a program's last words are nearest to what stopped it; of two
//! that end at the same place the longer one. A time-out counts only where nothing else is known: programs
//! say «timed out» of what has another cause.

use serde::{Deserialize, Serialize};

/// A pattern of errors. The numbers are those of the metric `component.error_kind`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No error.
    #[default]
    None = 0,
    /// Something may not be read, written or done.
    Permission = 1,
    /// No space, no inodes, over quota.
    DiskSpace = 2,
    /// A peer, a route or a name cannot be reached.
    Network = 3,
    /// Memory cannot be had, or the kernel killed for want of it.
    Memory = 4,
    /// It took too long.
    Timeout = 5,
    /// Any other error.
    Other = 6,
}

/// Bytes of a text that are looked at: its end, where the error stands.
const LOOKED_AT: usize = 16 << 10;

/// Phrases, in lower case; each stands for itself, with no letter going on before or after it.
const PHRASES: [(&str, ErrorKind); 51] = [
    ("permission denied", ErrorKind::Permission),
    ("operation not permitted", ErrorKind::Permission),
    ("access denied", ErrorKind::Permission),
    ("access is denied", ErrorKind::Permission),
    ("not permitted to", ErrorKind::Permission),
    ("read-only file system", ErrorKind::Permission),
    ("permissionerror", ErrorKind::Permission),
    ("forbidden", ErrorKind::Permission),
    ("eacces", ErrorKind::Permission),
    ("eperm", ErrorKind::Permission),
    ("no space left", ErrorKind::DiskSpace),
    ("disk quota exceeded", ErrorKind::DiskSpace),
    ("disk is full", ErrorKind::DiskSpace),
    ("disk full", ErrorKind::DiskSpace),
    ("not enough free space", ErrorKind::DiskSpace),
    ("enospc", ErrorKind::DiskSpace),
    ("edquot", ErrorKind::DiskSpace),
    ("connection refused", ErrorKind::Network),
    ("connection reset", ErrorKind::Network),
    ("connection timed out", ErrorKind::Network),
    ("no route to host", ErrorKind::Network),
    ("network is unreachable", ErrorKind::Network),
    ("host is unreachable", ErrorKind::Network),
    ("name or service not known", ErrorKind::Network),
    ("temporary failure in name resolution", ErrorKind::Network),
    ("could not resolve", ErrorKind::Network),
    ("no such host", ErrorKind::Network),
    ("broken pipe", ErrorKind::Network),
    ("address already in use", ErrorKind::Network),
    ("not connected", ErrorKind::Network),
    ("econnrefused", ErrorKind::Network),
    ("econnreset", ErrorKind::Network),
    ("ehostunreach", ErrorKind::Network),
    ("enetunreach", ErrorKind::Network),
    ("etimedout", ErrorKind::Network),
    ("out of memory", ErrorKind::Memory),
    ("cannot allocate memory", ErrorKind::Memory),
    ("outofmemory", ErrorKind::Memory),
    ("outofmemoryerror", ErrorKind::Memory),
    ("oom-kill", ErrorKind::Memory),
    ("oom-killed", ErrorKind::Memory),
    ("oom-killer", ErrorKind::Memory),
    ("oomkilled", ErrorKind::Memory),
    ("bad_alloc", ErrorKind::Memory),
    ("memoryerror", ErrorKind::Memory),
    ("enomem", ErrorKind::Memory),
    ("timed out", ErrorKind::Timeout),
    ("timeout", ErrorKind::Timeout),
    ("time-out", ErrorKind::Timeout),
    ("deadline exceeded", ErrorKind::Timeout),
    ("timeouterror", ErrorKind::Timeout),
];

/// The patterns that a policy may match, as policies write them.
pub const MATCHED: [(&str, ErrorKind); 4] = [
    ("permission", ErrorKind::Permission),
    ("disk_space", ErrorKind::DiskSpace),
    ("network", ErrorKind::Network),
    ("memory", ErrorKind::Memory),
];

impl ErrorKind {
    /// Its name, as policies and people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Permission => "permission",
            Self::DiskSpace => "disk_space",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }

    /// The pattern of what an error or a program says; `Other` when nothing in it is known.
    pub fn of_text(text: &str) -> Self {
        let mut start = text.len().saturating_sub(LOOKED_AT);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let text = text[start..].to_ascii_lowercase();
        let end_of = |phrase: &str| {
            let mut ends = text.rmatch_indices(phrase).map(|(at, _)| (at, at + phrase.len()));
            ends.find(|(at, end)| stands_alone(&text, *at, *end)).map(|(_, end)| end)
        };
        let found = PHRASES.iter().filter_map(|(phrase, kind)| {
            end_of(phrase).map(|end| ((*kind != Self::Timeout, end, phrase.len()), *kind))
        });
        found.max_by_key(|(rank, _)| *rank).map_or(Self::Other, |(_, kind)| kind)
    }

    /// The pattern of this number, as the metric `component.error_kind` has it.
    pub fn of_number(number: u8) -> Option<Self> {
        let all = [Self::None, Self::Permission, Self::DiskSpace, Self::Network, Self::Memory];
        all.into_iter().chain([Self::Timeout, Self::Other]).find(|kind| *kind as u8 == number)
    }

    /// Whether a policy may match it.
    pub fn is_matched(self) -> bool {
        MATCHED.iter().any(|(_, kind)| *kind == self)
    }

    /// The pattern of an error number of Linux (errno(3), asm-generic/errno-base.h and errno.h).
    pub fn of_errno(number: i32) -> Self {
        match number {
            1 | 13 | 30 => Self::Permission,
            28 | 122 => Self::DiskSpace,
            12 => Self::Memory,
            32 | 98 | 99 | 100..=104 | 107 | 110..=113 => Self::Network,
            _ => Self::Other,
        }
    }
}

/// No letter goes on before or after it; `java.lang.OutOfMemoryError` and `std::bad_alloc` stand alone.
fn stands_alone(text: &str, at: usize, end: usize) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !letter(text[..at].chars().next_back()) && !letter(text[end..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_is_recognised() {
        for (text, kind) in [
            ("sh: /var/lib/x: Permission denied", ErrorKind::Permission),
            ("write: No space left on device", ErrorKind::DiskSpace),
            ("dial tcp 10.0.0.1:80: connect: connection refused", ErrorKind::Network),
            ("java.lang.OutOfMemoryError: Java heap space", ErrorKind::Memory),
            ("context deadline exceeded", ErrorKind::Timeout),
            ("nginx: [emerg] open() \"/etc/x\" failed (13: Permission denied)", ErrorKind::Permission),
            ("PermissionError: [Errno 13]", ErrorKind::Permission),
            ("write: ENOSPC", ErrorKind::DiskSpace),
            ("terminate called after throwing 'std::bad_alloc'", ErrorKind::Memory),
            ("dial tcp 10.0.0.1:80: connection timed out", ErrorKind::Network),
            ("segmentation fault", ErrorKind::Other),
            ("the expermental eperms module", ErrorKind::Other),
            ("", ErrorKind::Other),
        ] {
            assert_eq!(ErrorKind::of_text(text), kind, "{text}");
        }
        let early = format!("Permission denied{}", "ü".repeat(LOOKED_AT));
        assert_eq!(ErrorKind::of_text(&early), ErrorKind::Other, "only the end of a long text is looked at");
        let long = format!("{}é no space left on device", "é".repeat(LOOKED_AT));
        assert_eq!(ErrorKind::of_text(&long), ErrorKind::DiskSpace);
    }

    #[test]
    fn the_last_phrase_decides_and_a_time_out_only_where_nothing_else_is_known() {
        let text = "connect: Connection refused, retrying\nopen /var/lib/x: Permission denied";
        assert_eq!(ErrorKind::of_text(text), ErrorKind::Permission);
        assert_eq!(
            ErrorKind::of_text("write: No space left on device\nstart timed out"),
            ErrorKind::DiskSpace
        );
    }

    #[test]
    fn kinds_have_the_numbers_and_names_that_metrics_and_policies_use() {
        for number in 0..=6 {
            assert_eq!(ErrorKind::of_number(number).map(|kind| kind as u8), Some(number));
        }
        assert_eq!(ErrorKind::of_number(7), None);
        assert!(MATCHED.iter().all(|(name, kind)| kind.name() == *name && kind.is_matched()));
        assert!(!ErrorKind::Timeout.is_matched() && !ErrorKind::Other.is_matched());
    }

    #[test]
    fn numbers_and_the_systems_own_words_for_them_agree() {
        for number in [1, 13, 30, 28, 122, 12, 110, 111, 113, 101] {
            let said = std::io::Error::from_raw_os_error(number).to_string();
            assert_eq!(ErrorKind::of_errno(number), ErrorKind::of_text(&said), "{said}");
        }
        assert_eq!(ErrorKind::of_errno(2), ErrorKind::Other);
    }
}
