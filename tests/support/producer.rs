//! The producer as the tests drive it: a process, its journal and what it says of itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::process::Process;
use super::stack::Stack;
use super::wait::{until, when};

/// A producer and its files.
#[derive(Debug)]
pub struct Producer {
    /// The process.
    pub process: Process,
    /// Its agent name.
    pub agent: &'static str,
    journal: PathBuf,
    status: PathBuf,
    stop: PathBuf,
}

/// Rows and samples of a slot that the spool has taken.
pub type Taken = (u64, u64);

impl Producer {
    /// A producer that is not running yet. `program` is the test's own
    /// `env!("CARGO_BIN_EXE_fettle-test-producer")`; its spool is in `path("spool")`.
    pub fn new(stack: &Stack, program: &str, agent: &'static str, more: &[&str]) -> Self {
        let [journal, status, stop] = ["journal", "status", "stop"].map(|name| stack.path(name));
        let nats = stack.nats_url();
        let text = |path: &PathBuf| path.display().to_string();
        let spool = text(&stack.path("spool"));
        let (journal_text, status_text, stop_text) = (text(&journal), text(&status), text(&stop));
        let arguments = [
            ["--nats", &nats],
            ["--agent", agent],
            ["--spool", &spool],
            ["--journal", &journal_text],
            ["--status", &status_text],
            ["--stop", &stop_text],
        ];
        let arguments: Vec<&str> = arguments.into_iter().flatten().chain(more.iter().copied()).collect();
        let process = Process::new("producer", program.into(), &arguments, &stack.logs());
        Self { process, agent, journal, status, stop }
    }

    /// Slots whose frames the spool has taken. A line that a kill cut short was not taken.
    pub fn journal(&self) -> BTreeMap<u64, Taken> {
        let text = std::fs::read_to_string(&self.journal).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .filter_map(|line| {
                let mut numbers = line.split(' ').map(|n| n.parse::<u64>().ok());
                Some((numbers.next()??, (numbers.next()??, numbers.next()??)))
            })
            .collect()
    }

    /// What it said last.
    pub fn status(&self) -> Value {
        let text = std::fs::read_to_string(&self.status).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Takes away what it said last, so that the next word is its next life's.
    pub fn forget_status(&self) {
        let _ = std::fs::remove_file(&self.status);
    }

    /// Waits until so many slots in all have been taken by the spool.
    pub async fn has_taken(&self, slots: usize, deadline: Duration) {
        until("the spool takes frames", deadline, || async {
            let taken = self.journal().len();
            if taken >= slots {
                Ok(())
            } else {
                Err(format!("{taken} of {slots} slots, {}", self.status()))
            }
        })
        .await;
    }

    /// Tells it to sample no more.
    pub fn stop_sampling(&self) {
        std::fs::write(&self.stop, "").expect("the directory is writable");
    }

    /// Waits until it samples no more, as it was told to: every slot that the spool has taken is in the journal.
    pub async fn rests(&self, deadline: Duration) {
        until("it samples no more", deadline, || async {
            when(self.status(), |status| status["sampling"] == false)
        })
        .await;
    }

    /// From its next start on it samples again.
    pub fn sample_again(&self) {
        std::fs::remove_file(&self.stop).expect("it was told to stop");
    }

    /// Waits until it samples no more, as it was told to, and the collector has confirmed everything.
    pub async fn is_confirmed(&self, deadline: Duration) {
        until("everything is confirmed", deadline, || async {
            let status = self.status();
            if status["sampling"] == false && status["oldest"] == status["end"] {
                Ok(())
            } else {
                Err(status)
            }
        })
        .await;
    }
}
