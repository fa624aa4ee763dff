//! What lives on when everything has stopped: commands that the agent supervises are not ended with it, so that an
//! agent can be replaced without ending what it looks after. Whoever stops everything is told of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// The agent's record of what it supervises, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Record {
    boot: String,
    components: BTreeMap<String, Kept>,
}

#[derive(Debug, Deserialize)]
struct Kept {
    processes: Vec<Option<(i32, u64)>>,
}

/// Components whose commands still run, with their process numbers.
pub(crate) fn find(state_dir: &Path) -> BTreeMap<String, Vec<i32>> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let text = std::fs::read(state_dir.join("components/supervised.json")).unwrap_or_default();
    let Ok(record) = serde_json::from_slice::<Record>(&text) else { return BTreeMap::new() };
    if record.boot != boot.trim() {
        return BTreeMap::new();
    }
    let alive = |kept: Kept| -> Vec<i32> {
        let lives = |(pid, start): &(i32, u64)| started(*pid) == Some(*start);
        kept.processes.into_iter().flatten().filter(lives).map(|(pid, _)| pid).collect()
    };
    let found = record.components.into_iter().map(|(name, kept)| (name, alive(kept)));
    found.filter(|(_, pids)| !pids.is_empty()).collect()
}

/// When a process that runs was started, in the kernel's ticks since boot: with its number that names it for ever
/// (proc_pid_stat(5), field 22). None of one that has ended.
fn started(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

/// One line for people; none when nothing lives on.
pub(crate) fn words(found: &BTreeMap<String, Vec<i32>>) -> Option<String> {
    let named: Vec<String> = found
        .iter()
        .map(|(name, pids)| {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            format!("{name} (pid {})", pids.join(", "))
        })
        .collect();
    let pids: Vec<String> = found.values().flatten().map(ToString::to_string).collect();
    (!named.is_empty()).then(|| {
        format!(
            "still running, since supervised commands outlive the agent: {}; the next start takes them over, \
             `kill {}` ends them",
            named.join(", "),
            pids.join(" ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_that_still_run_are_named() {
        let directory = tempfile::tempdir().unwrap();
        assert!(find(directory.path()).is_empty());
        std::fs::create_dir(directory.path().join("components")).unwrap();
        let file = directory.path().join("components/supervised.json");
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let own = std::process::id() as i32;
        let start = started(own).unwrap();
        let record = |boot: &str| {
            serde_json::json!({ "boot": boot.trim(), "components": {
                "web": { "processes": [[own, start], null, [own, start + 1]] },
                "gone": { "processes": [[i32::MAX, 5]] },
            }})
        };
        std::fs::write(&file, record(&boot).to_string()).unwrap();
        let found = find(directory.path());
        assert_eq!(found, BTreeMap::from([("web".to_owned(), vec![own])]));
        let words = words(&found).unwrap();
        assert!(
            words.contains(&format!("web (pid {own})")) && words.contains(&format!("kill {own}")),
            "{words}"
        );
        std::fs::write(&file, record("another boot").to_string()).unwrap();
        assert!(find(directory.path()).is_empty());
        assert_eq!(super::words(&BTreeMap::new()), None);
    }
}
