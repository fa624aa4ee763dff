//! How far a long evaluation is, on standard error: one line that changes at a terminal, a new line every
//! few seconds elsewhere, nothing for what is done at once.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use crate::output;

const AT_A_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(5);

/// Counts what is done.
pub(super) struct Progress {
    what: &'static str,
    things: &'static str,
    total: usize,
    done: usize,
    terminal: bool,
    began: Instant,
    said: Instant,
}

impl Progress {
    /// `total` things are to be done for the evaluation `what`.
    pub(super) fn new(what: &'static str, total: usize, things: &'static str) -> Self {
        let now = Instant::now();
        Self { what, things, total, done: 0, terminal: io::stderr().is_terminal(), began: now, said: now }
    }

    /// One more is done.
    pub(super) fn step(&mut self) {
        self.done += 1;
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
    pub(super) fn finish(self) -> Duration {
        if self.terminal {
            output::over("");
        }
        self.began.elapsed()
    }
}
