//! The states of all parts, told to the person at the terminal and to the collector's health answer.
//!
//! The collector reads the file whenever it is asked for its health, so the file is replaced whole
//! (written beside, then renamed): a reader sees the old states or the new, never half of each.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Its process runs and does not answer yet.
    Starting,
    /// It answers.
    Ready,
    /// It answered once, its process runs, and it does not answer now.
    Unresponsive,
    /// Its process died; it is about to be started again.
    Restarting,
    /// It was told to stop and has.
    Stopped,
}

/// What the file says about one part.
#[derive(Debug, Clone, Serialize)]
struct Line {
    name: &'static str,
    state: State,
    pid: Option<u32>,
    restarts: u32,
    /// Seconds since 1970 at which this state began.
    since: u64,
}

#[derive(Serialize)]
struct Page<'a> {
    supervisor: u32,
    parts: &'a [Line],
}

/// The board on which parts write their states.
#[derive(Debug)]
pub(crate) struct Board {
    path: PathBuf,
    lines: Mutex<Vec<Line>>,
}

impl Board {
    /// All parts start as starting, so that a reader never takes a part that is to come for none.
    pub(crate) fn new(path: PathBuf, names: &[&'static str]) -> Self {
        let line =
            |name: &&'static str| Line { name, state: State::Starting, pid: None, restarts: 0, since: now() };
        let board = Self { path, lines: Mutex::new(names.iter().map(line).collect()) };
        board.write(&board.lines.lock().unwrap_or_else(PoisonError::into_inner));
        board
    }

    /// Writes down a part's state.
    pub(crate) fn set(&self, name: &str, state: State, pid: Option<u32>, restarts: u32) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.iter_mut().find(|line| line.name == name) else { return };
        if line.state != state {
            line.since = now();
        }
        (line.state, line.pid, line.restarts) = (state, pid, restarts);
        self.write(&lines);
    }

    /// A disk that is full leaves the old page: the health answer is then late, and nothing else is.
    fn write(&self, lines: &[Line]) {
        let page = Page { supervisor: std::process::id(), parts: lines };
        let fresh = self.path.with_extension("json.new");
        let written = fs::File::create(&fresh).and_then(|mut file| {
            let text = serde_json::to_string_pretty(&page).unwrap_or_default();
            file.write_all(text.as_bytes())
        });
        if written.is_ok() {
            let _ = fs::rename(&fresh, &self.path);
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_every_part_and_its_state() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("parts.json");
        let board = Board::new(path.clone(), &["nats", "agent"]);
        board.set("nats", State::Ready, Some(7), 2);
        let page: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(page["parts"][0]["state"], "ready");
        assert_eq!(page["parts"][0]["pid"], 7);
        assert_eq!(page["parts"][0]["restarts"], 2);
        assert_eq!(page["parts"][1]["state"], "starting");
    }
}
