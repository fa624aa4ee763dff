//! What must outlive the agent: which process is which replica. Written whole to a new file that takes the
//! old one's place after each change. A record of another boot of the kernel is about processes that are gone.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::handoff::{ProcessId, SupervisedState, SupervisedStates};

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    boot: String,
    components: BTreeMap<String, Entry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Entry {
    replicas: u32,
    stopped: bool,
    restarts: u64,
    processes: Vec<Option<(i32, u64)>>,
}

/// The file.
#[derive(Debug, Clone)]
pub(super) struct Record {
    path: PathBuf,
    boot: String,
}

impl Record {
    pub(super) fn new(dir: &Path) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { path: dir.join("supervised.json"), boot: boot.trim().to_owned() }
    }

    /// What was kept of this boot. A file that cannot be read counts as none: processes that are still
    /// there are then found by their environment.
    pub(super) fn read(&self) -> SupervisedStates {
        let Ok(text) = std::fs::read(&self.path) else { return SupervisedStates::new() };
        let file: File = match serde_json::from_slice(&text) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(file = %self.path.display(), "the record of supervised processes is damaged and not used: {error}");
                return SupervisedStates::new();
            }
        };
        if file.boot != self.boot {
            return SupervisedStates::new();
        }
        file.components.into_iter().map(|(name, entry)| (name, state(entry))).collect()
    }

    /// Puts the states in the place of what was kept.
    pub(super) fn write(&self, states: &SupervisedStates) -> std::io::Result<()> {
        let components = states.iter().map(|(name, state)| (name.clone(), entry(state))).collect();
        let text = serde_json::to_vec(&File { boot: self.boot.clone(), components })?;
        let new = self.path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&new)?;
        file.write_all(&text)?;
        std::fs::rename(&new, &self.path)
    }
}

fn state(entry: Entry) -> SupervisedState {
    let process = |found: Option<(i32, u64)>| found.map(|(pid, start)| ProcessId { pid, start });
    SupervisedState {
        replicas: entry.replicas,
        stopped: entry.stopped,
        restarts: entry.restarts,
        processes: entry.processes.into_iter().map(process).collect(),
        last_exit: String::new(),
    }
}

fn entry(state: &SupervisedState) -> Entry {
    Entry {
        replicas: state.replicas,
        stopped: state.stopped,
        restarts: state.restarts,
        processes: state.processes.iter().map(|id| id.map(|id| (id.pid, id.start))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_in_this_boot_only() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path());
        assert!(record.read().is_empty());
        let state = SupervisedState {
            replicas: 2,
            stopped: true,
            processes: vec![Some(ProcessId { pid: 5, start: 6 }), None],
            restarts: 3,
            last_exit: String::new(),
        };
        let states = SupervisedStates::from([("web".to_owned(), state)]);
        record.write(&states).unwrap();
        assert_eq!(record.read(), states);
        assert!(Record { boot: "another".into(), ..record.clone() }.read().is_empty());
        std::fs::write(&record.path, "{").unwrap();
        assert!(record.read().is_empty());
    }
}
