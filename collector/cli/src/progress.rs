//! How far long work is, on standard error: one line that changes at a terminal, a new line every
//! few seconds elsewhere, nothing for what is done at once.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use crate::output;

const AT_A_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(5);

/// Counts what is done.
pub(crate) struct Progress {
    what: &'static str,
    things: &'static str,
    total: usize,
    done: usize,
    terminal: bool,
    began: Instant,
    said: Instant,
}

impl Progress {
    /// `total` things are to be done for `what`.
    pub(crate) fn new(what: &'static str, total: usize, things: &'static str) -> Self {
        let now = Instant::now();
        Self { what, things, total, done: 0, terminal: io::stderr().is_terminal(), began: now, said: now }
    }

    /// One more is done.
    pub(crate) fn step(&mut self) {
        self.add(1);
    }

    /// So many more are done.
    pub(crate) fn add(&mut self, more: usize) {
        self.done += more;
        if self.said.elapsed() < if self.terminal { AT_A_TERMINAL } else { ELSEWHERE } {
            return;
        }
        self.said = Instant::now();
        let words = format!(
            "{}: {} of {} {}, {:.0} s",
            self.what,
            self.done,
            self.total,
            self.things,
            self.began.elapsed().as_secs_f64()
        );
        if self.terminal {
            output::over(&words);
        } else {
            output::complain(&words);
        }
    }

    /// All is done: takes the changing line away and gives the time it took.
    pub(crate) fn finish(self) -> Duration {
        if self.terminal {
            output::over("");
        }
        self.began.elapsed()
    }
}
