//! Who is asked, and what can go wrong.

/// Somebody who answers ClickHouse SQL. Called from several threads; an answer may take a while.
pub trait Ask: Sync {
    /// Asks one statement, which names its format; gives the whole answer. The database that holds Fettle's
    /// tables is the default one.
    ///
    /// # Errors
    /// [`AskError::TooLarge`] once the answer passes `most_bytes`; it is then asked for in smaller parts.
    fn ask(&self, sql: &str, most_bytes: usize) -> Result<Vec<u8>, AskError>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The answer is larger than was allowed.
    #[error("the answer is larger than {most_bytes} bytes")]
    TooLarge {
        /// What was allowed.
        most_bytes: usize,
    },
    /// Anything else, in one sentence that says what to do.
    #[error("{0}")]
    Failed(String),
}

/// Why history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// ClickHouse did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The answer is not what was asked for.
    #[error("ClickHouse's answer about {what} cannot be read ({cause}); is it older than this program?")]
    Answer {
        /// What was asked about.
        what: String,
        /// What is wrong.
        cause: String,
    },
    /// Even the shortest slice is too large.
    #[error(
        "{seconds} s of {family} of host {host} are more than {most_bytes} bytes; replay it on a machine \
         with more memory"
    )]
    TooLarge {
        /// The family.
        family: String,
        /// The host.
        host: String,
        /// Seconds in the slice.
        seconds: u32,
        /// What is allowed.
        most_bytes: usize,
    },
}
