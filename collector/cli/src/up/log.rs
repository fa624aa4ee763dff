//! A part's log file: what its process writes, bounded by turning the file over.
//!
//! A log is never worth stopping for: when the disk is full, lines are lost and the part runs on.
//! The last words are kept in memory too, for the sentence that says why a part died.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::output;

/// A log is turned over at this size.
const BYTES_MAX: u64 = 8 << 20;
/// Turned-over logs that are kept: `NAME.log.1` is the newest.
const OLD_MAX: u32 = 3;
/// So much of a line is kept as last words: a sentence, not a page. The file has all of it.
const LINE_MAX: usize = 400;

/// A log that several readers write to.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    /// The unfinished line, then the last line that said something.
    line: Vec<u8>,
    last_words: String,
    /// What to put before each line on standard error; none to keep them off it.
    echo: Option<&'static str>,
}

impl Log {
    /// The log of a part. `echo` shows every line on standard error too, after the part's name.
    pub(crate) fn new(directory: &Path, name: &'static str, echo: bool) -> Self {
        let inner = Inner {
            path: directory.join(format!("{name}.log")),
            file: None,
            written: 0,
            line: Vec::new(),
            last_words: String::new(),
            echo: echo.then_some(name),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Copies what a process writes until it closes its end.
    pub(crate) async fn copy(self, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            self.inner().write(&buffer[..read]);
        }
    }

    /// The last line that said something.
    pub(crate) fn last_words(&self) -> String {
        let inner = self.inner();
        let unfinished = String::from_utf8_lossy(&inner.line).trim().to_owned();
        if unfinished.is_empty() {
            inner.last_words.clone()
        } else {
            unfinished
        }
    }

    /// Forgets the last words, before another process speaks.
    pub(crate) fn forget(&self) {
        let mut inner = self.inner();
        inner.line.clear();
        inner.last_words.clear();
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> PathBuf {
        self.inner().path.clone()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, bytes: &[u8]) {
        if self.file.is_none() {
            self.open();
        }
        if self.written + bytes.len() as u64 > BYTES_MAX {
            self.turn_over();
        }
        if let Some(file) = &mut self.file {
            match file.write_all(bytes) {
                Ok(()) => self.written += bytes.len() as u64,
                Err(_) => self.file = None,
            }
        }
        self.remember(bytes);
    }

    fn open(&mut self) {
        self.file = OpenOptions::new().append(true).create(true).open(&self.path).ok();
        self.written =
            self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
    }

    fn turn_over(&mut self) {
        let old = |number: u32| self.path.with_extension(format!("log.{number}"));
        for number in (1..OLD_MAX).rev() {
            let _ = fs::rename(old(number), old(number + 1));
        }
        let _ = fs::rename(&self.path, old(1));
        self.open();
    }

    fn remember(&mut self, bytes: &[u8]) {
        // Shown lines are kept longer, since what is cut from them is not seen.
        let longest = if self.echo.is_some() { LINE_MAX * 10 } else { LINE_MAX };
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < longest {
                    self.line.push(byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim().to_owned();
            self.line.clear();
            if let Some(name) = self.echo {
                output::complain(&format!("{name:<11} | {line}"));
            }
            if !line.is_empty() {
                self.last_words = line;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_turned_over_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::new(directory.path(), "part", false);
        let megabyte = vec![b'x'; 1 << 20];
        for _ in 0..50 {
            log.inner().write(&megabyte);
        }
        let sizes: Vec<u64> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 1 + OLD_MAX as usize);
        assert!(sizes.iter().all(|&size| size <= BYTES_MAX), "{sizes:?}");
    }

    #[test]
    fn the_last_words_are_the_last_line_that_says_something() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::new(directory.path(), "part", false);
        log.inner().write(b"first\nsecond");
        assert_eq!(log.last_words(), "second");
        log.inner().write(b" half\n\n  \n");
        assert_eq!(log.last_words(), "second half");
        log.forget();
        assert_eq!(log.last_words(), "");
    }

    #[test]
    fn a_directory_that_cannot_be_written_stops_nothing() {
        let log = Log::new(Path::new("/proc/nowhere"), "part", false);
        log.inner().write(b"words\n");
        assert_eq!(log.last_words(), "words");
    }
}
