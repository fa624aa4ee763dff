//! What can go wrong in the store, and which of it passes by itself.

use clickhouse::error::Error;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A configuration value is wrong.
    #[error("clickhouse.{key}: {cause}")]
    Config {
        /// Key below `[clickhouse]`.
        key: String,
        /// What is wrong and what to write instead.
        cause: String,
    },
    /// ClickHouse cannot be reached or did not answer in time; the same request may be sent again.
    #[error("ClickHouse at {url} does not answer ({cause}); it is tried again")]
    Unreachable {
        /// Address.
        url: String,
        /// What happened.
        cause: String,
    },
    /// ClickHouse answered that it cannot now (too busy, out of memory or space); try again later.
    #[error("ClickHouse cannot take {what} now (code {code}: {cause}); it is tried again")]
    Busy {
        /// What was asked.
        what: String,
        /// ClickHouse's error code.
        code: i32,
        /// Its words.
        cause: String,
    },
    /// ClickHouse refused for good; sending the same again cannot help.
    #[error("ClickHouse refused {what} (code {code}: {cause})")]
    Refused {
        /// What was asked.
        what: String,
        /// ClickHouse's error code.
        code: i32,
        /// Its words.
        cause: String,
    },
    /// An answer does not have the expected shape.
    #[error("ClickHouse's answer to {what} is not understood: {cause}")]
    Answer {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The schema there is newer than this program.
    #[error("the schema in ClickHouse is version {found}, this program knows {known}; start a newer fettle")]
    Newer {
        /// Version found.
        found: String,
        /// Version this program writes.
        known: String,
    },
    /// A column there has a type that the catalogue cannot be brought to.
    #[error("column {table}.{column} is {found} in ClickHouse, the catalogue says {wanted}; {remedy}")]
    Column {
        /// Table.
        table: String,
        /// Column.
        column: String,
        /// Type found.
        found: String,
        /// Type of the catalogue.
        wanted: String,
        /// What to do.
        remedy: String,
    },
}

/// ClickHouse's codes for states that pass: too busy, out of memory, threads, space or descriptors,
/// a disk that fails, a replica or keeper that is away, a query that was cancelled.
const PASSING: [i32; 33] = [
    3, 74, 75, 76, 159, 201, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 279, 285, 286, 319, 341, 394,
    415, 425, 439, 473, 574, 590, 692, 999, 1000, 1001, 1002,
];

impl StoreError {
    /// Whether sending the same request again may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// What the client's error means. `what` is what was asked, in a few words.
    pub(super) fn from_client(error: &Error, what: &str, url: &str) -> Self {
        match error {
            Error::Network(cause) => {
                Self::Unreachable { url: url.into(), cause: with_sources(cause.as_ref()) }
            }
            Error::TimedOut => Self::Unreachable { url: url.into(), cause: "time ran out".into() },
            Error::BadResponse(text) => Self::from_answer(text, what),
            Error::InvalidParams(cause) => {
                Self::Refused { what: what.into(), code: 0, cause: cause.to_string() }
            }
            other => Self::Answer { what: what.into(), cause: with_sources(other) },
        }
    }

    /// From the words of a failed request: `Code: 60. DB::Exception: …`. An answer without a code is
    /// not ClickHouse's own (a proxy, a server that is starting) and may pass.
    fn from_answer(text: &str, what: &str) -> Self {
        let code = text.split("Code: ").nth(1).and_then(|rest| {
            rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok())
        });
        let cause = shortened(text);
        let what = what.to_owned();
        match code {
            None => Self::Busy { what, code: 0, cause },
            Some(code) if PASSING.contains(&code) => Self::Busy { what, code, cause },
            Some(code) => Self::Refused { what, code, cause },
        }
    }
}

/// ClickHouse's words, one line, not the whole query it may quote.
fn shortened(text: &str) -> String {
    const MOST: usize = 400;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_pass_are_told_from_refusals() {
        let of = |text: &str| StoreError::from_client(&Error::BadResponse(text.into()), "the insert", "u");
        let space = of("Code: 243. DB::Exception: Cannot reserve 1.00 MiB. (NOT_ENOUGH_SPACE)");
        assert!(matches!(&space, StoreError::Busy { code: 243, .. }), "{space}");
        let column = of("Code: 16. DB::Exception: No such column x. (NO_SUCH_COLUMN_IN_TABLE)");
        assert!(matches!(&column, StoreError::Refused { code: 16, .. }) && !column.is_retryable());
        assert!(of("502 Bad Gateway").is_retryable());
        assert!(StoreError::from_client(&Error::TimedOut, "x", "u").is_retryable());
        assert!(of(&"x ".repeat(4000)).to_string().len() < 1000);
    }
}
