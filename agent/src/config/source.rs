//! A file of TOML while it is settled: what is wrong is said with the file, the line and what to write
//! instead. The agent's configuration and the host's file are both read by it.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::Spanned;

use super::units::{show_bytes, show_duration, Size, Span};
use super::ConfigError;

/// The file, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

/// A value, or what is wrong with it and where.
pub(crate) type Checked<T> = Result<T, ConfigError>;

impl Source<'_> {
    /// Refuses what stands at `at`.
    pub(crate) fn wrong<T, V>(&self, at: &Spanned<V>, problem: impl Into<String>) -> Checked<T> {
        self.wrong_at(&at.span(), problem)
    }

    /// Refuses what these bytes of the text say.
    pub(crate) fn wrong_at<T>(&self, place: &Range<usize>, problem: impl Into<String>) -> Checked<T> {
        let line = line_of(self.text, place.start);
        Err(ConfigError::At { path: self.path.to_owned(), line, problem: problem.into() })
    }

    /// A whole number within bounds.
    pub(crate) fn integer(
        &self,
        name: &str,
        raw: Option<&Spanned<i64>>,
        default: i64,
        min: i64,
        max: i64,
    ) -> Checked<i64> {
        match raw {
            Some(value) if !(min..=max).contains(value.get_ref()) => self
                .wrong(value, format!("{name} is {}; write a number from {min} to {max}", value.get_ref())),
            other => Ok(other.map_or(default, |value| *value.get_ref())),
        }
    }

    /// A duration within bounds.
    pub(crate) fn span(
        &self,
        name: &str,
        raw: Option<&Spanned<Span>>,
        default: Duration,
        (min, max): (Duration, Duration),
    ) -> Checked<Duration> {
        let Some(value) = raw else { return Ok(default) };
        let Span(span) = *value.get_ref();
        if span < min || span > max {
            let (span, min, max) = (show_duration(span), show_duration(min), show_duration(max));
            return self.wrong(value, format!("{name} is {span}; write a duration from {min} to {max}"));
        }
        Ok(span)
    }

    /// A number of bytes within bounds.
    pub(crate) fn size(
        &self,
        name: &str,
        raw: Option<&Spanned<Size>>,
        default: u64,
        (min, max): (u64, u64),
    ) -> Checked<u64> {
        let Some(value) = raw else { return Ok(default) };
        let bytes = value.get_ref().0;
        if (min..=max).contains(&bytes) {
            return Ok(bytes);
        }
        let (bytes, min, max) = (show_bytes(bytes), show_bytes(min), show_bytes(max));
        self.wrong(value, format!("{name} is {bytes}; write a size from {min} to {max}"))
    }
}

/// Reads a TOML text; unknown keys are refused by name and line.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        let message = error.message().trim_end_matches('.').replace('\n', ", ");
        let problem = match message.strip_prefix("unknown field ") {
            Some(rest) => {
                let (key, known) = rest.split_once(", expected ").unwrap_or((rest, "another"));
                let known = known.trim_start_matches("one of ");
                format!("there is no key {key} here; the keys are {known}")
            }
            None => format!("{message}; correct it"),
        };
        ConfigError::At { path: path.to_owned(), line, problem }
    })
}

/// The line, from 1, that byte `at` of `text` is on.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}
