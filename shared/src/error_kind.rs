//! What an error looks like: one of the few patterns that a policy has an answer to. Recognised from an
//! error's number or from what a program printed, in the words that the C library, Go's and Java's run
//! times and common services use for the same numbers (errno(3)).

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

/// Words by pattern, all in lower case; the first that is found decides. Memory stands before disk space
/// because «cannot allocate memory» may follow «no space» talk of caches, and a time-out stands last because
/// programs say «timed out» of what has another cause.
const WORDS: [(ErrorKind, &[&str]); 5] = [
    (
        ErrorKind::Memory,
        &[
            "out of memory",
            "cannot allocate memory",
            "outofmemory",
            "oom-kill",
            "oomkilled",
            "bad_alloc",
            "memoryerror",
            "enomem",
        ],
    ),
    (
        ErrorKind::DiskSpace,
        &[
            "no space left",
            "disk full",
            "disk is full",
            "disk quota exceeded",
            "enospc",
            "edquot",
            "database or disk is full",
        ],
    ),
    (
        ErrorKind::Permission,
        &[
            "permission denied",
            "operation not permitted",
            "access denied",
            "read-only file system",
            "eacces",
            "eperm",
            "permissionerror",
            "forbidden",
        ],
    ),
    (
        ErrorKind::Network,
        &[
            "connection refused",
            "connection reset",
            "no route to host",
            "network is unreachable",
            "host is unreachable",
            "name or service not known",
            "could not resolve",
            "temporary failure in name resolution",
            "no such host",
            "broken pipe",
            "econnrefused",
            "econnreset",
            "ehostunreach",
            "enetunreach",
            "address already in use",
            "not connected",
        ],
    ),
    (ErrorKind::Timeout, &["timed out", "timeout", "time-out", "deadline exceeded", "etimedout"]),
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
        let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
        found.map_or(Self::Other, |(kind, _)| *kind)
    }

    /// The pattern of an error number of Linux (errno(3), asm-generic/errno-base.h and errno.h).
    pub fn of_errno(number: i32) -> Self {
        match number {
            1 | 13 | 30 => Self::Permission,
            28 | 122 => Self::DiskSpace,
            12 => Self::Memory,
            110 => Self::Timeout,
            32 | 98 | 99 | 100..=104 | 107 | 111..=113 => Self::Network,
            _ => Self::Other,
        }
    }
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
            ("segmentation fault", ErrorKind::Other),
            ("", ErrorKind::Other),
        ] {
            assert_eq!(ErrorKind::of_text(text), kind, "{text}");
        }
        let long = format!("{}é no space left on device", "é".repeat(LOOKED_AT));
        assert_eq!(ErrorKind::of_text(&long), ErrorKind::DiskSpace);
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
