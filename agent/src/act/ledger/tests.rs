//! The ledger over restarts, crashes, damage and a collector that does not come.

use std::path::Path;
use std::time::Duration;

use fettle_shared::command::{Action, Outcome, Receipt, Refusal};

use super::*;
use crate::act::admission::Step;

const NOW: i64 = 1_800_000_000_000_000;

fn task(id: &str, component: &str) -> Task {
    Task {
        id: id.into(),
        component: component.into(),
        action: Action::DropCaches,
        step: Step::DropCaches,
        timeout: Duration::from_secs(1),
        dry_run: false,
        local: false,
        because: "test".into(),
    }
}

fn open(dir: &Path) -> (Ledger, Recovered) {
    Ledger::open(dir, NOW).unwrap()
}

/// Begins and ends one action.
fn done(ledger: &mut Ledger, id: &str, generation: u64) {
    let receipt = ledger.begin(&task(id, "web"), "h", (generation, 7), NOW).unwrap();
    let ended =
        Receipt { outcome: Outcome::Succeeded, ended_us: NOW + 1, output: "x".repeat(4000), ..receipt };
    ledger.end(ended, NOW + 1).unwrap();
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 0x55;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_decided_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, recovered) = open(dir.path());
    assert_eq!(recovered, Recovered::default());
    assert_eq!(ledger.memory().floor_us, NOW, "nothing from before the ledger is taken");
    done(&mut ledger, "o-1", 5);
    let refused = Receipt { id: "o-2".into(), ..ledger.next_waiting().unwrap().clone() };
    let refused = Receipt { outcome: Outcome::Refused { reason: Refusal::Frozen }, begun_us: 0, ..refused };
    ledger.deny(refused, (6, 8), NOW).unwrap();
    drop(ledger);
    let (mut ledger, recovered) = Ledger::open(dir.path(), NOW + 50).unwrap();
    assert_eq!(recovered, Recovered::default());
    let memory = ledger.memory();
    assert_eq!((memory.high, memory.floor_us, memory.begun.len(), memory.running.len()), (6, NOW, 1, 0));
    assert_eq!(memory.known["o-1"].digest, 7);
    assert_eq!(memory.known["o-2"].receipt.outcome, Outcome::Refused { reason: Refusal::Frozen });
    assert_eq!(ledger.next_waiting().unwrap().id, "o-1");
    ledger.confirm("o-1", NOW).unwrap();
    assert_eq!(ledger.next_waiting().unwrap().id, "o-2");
    drop(ledger);
    let (mut ledger, _) = open(dir.path());
    assert_eq!(ledger.next_waiting().unwrap().id, "o-2", "confirmed once is confirmed for ever");
    assert!(ledger.memory().known.contains_key("o-1"), "and still known");
    let (first, second) = (ledger.name("local", "h", 1), ledger.name("local", "h", 1));
    assert_ne!(first, second);
}

#[test]
fn an_action_without_an_end_was_never_completed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    ledger.begin(&task("o-1", "web"), "h", (1, 1), NOW).unwrap();
    assert_eq!(ledger.memory().running.len(), 1);
    assert!(ledger.next_waiting().is_none(), "it has not ended");
    drop(ledger);
    let (ledger, recovered) = open(dir.path());
    assert_eq!(recovered.never_completed, 1);
    assert_eq!(ledger.next_waiting().unwrap().outcome, Outcome::NeverCompleted);
    assert!(ledger.memory().running.is_empty());
    drop(ledger);
    assert_eq!(open(dir.path()).1.never_completed, 0, "said once");
}

#[test]
fn an_action_that_is_over_keeps_its_component_busy_until_it_is_freed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    let receipt = ledger.begin(&task("o-1", "web"), "h", (1, 1), NOW).unwrap();
    ledger.over(Receipt { outcome: Outcome::TimedOut, ended_us: NOW + 1, ..receipt }, NOW + 1).unwrap();
    assert_eq!(ledger.next_waiting().unwrap().outcome, Outcome::TimedOut, "it is told at once");
    assert_eq!(ledger.memory().running["o-1"], "web");
    ledger.free("o-1");
    assert!(ledger.memory().running.is_empty());
}

#[test]
fn two_agents_cannot_share_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path());
    assert!(Ledger::open(dir.path(), NOW).unwrap_err().to_string().contains("one agent alone"));
}

#[test]
fn a_torn_tail_costs_the_record_that_was_not_written_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    done(&mut ledger, "o-1", 1);
    let whole = std::fs::read(dir.path().join("ledger")).unwrap();
    ledger.begin(&task("o-2", "web"), "h", (2, 2), NOW).unwrap();
    drop(ledger);
    let more = std::fs::read(dir.path().join("ledger")).unwrap();
    for cut in whole.len()..more.len() {
        std::fs::write(dir.path().join("ledger"), &more[..cut]).unwrap();
        let (ledger, recovered) = open(dir.path());
        assert_eq!((recovered.damaged_bytes, recovered.mark_lost, recovered.never_completed), (0, false, 0));
        assert!(ledger.memory().known.contains_key("o-1") && !ledger.memory().known.contains_key("o-2"));
        assert_eq!(ledger.memory().high, 2, "the mark has its own file");
    }
}

#[test]
fn the_mark_survives_damage_to_either_file_and_its_loss_shuts_old_orders_out() {
    let dir = tempfile::tempdir().unwrap();
    let (log, marks) = (dir.path().join("ledger"), dir.path().join("marks"));
    let (mut ledger, _) = open(dir.path());
    for generation in 1..=5 {
        done(&mut ledger, &format!("o-{generation}"), generation);
    }
    drop(ledger);
    let (good_log, good_marks) = (std::fs::read(&log).unwrap(), std::fs::read(&marks).unwrap());
    let restore = || {
        std::fs::write(&log, &good_log).unwrap();
        std::fs::write(&marks, &good_marks).unwrap();
    };
    let high = || {
        let (ledger, recovered) = open(dir.path());
        (ledger.memory().high, recovered.mark_lost, ledger.memory().floor_us)
    };
    flip(&log, |len| len / 2);
    assert_eq!(high(), (5, false, NOW), "the log is damaged");
    assert!(dir.path().join("ledger.damaged").exists());
    restore();
    std::fs::remove_file(&log).unwrap();
    assert_eq!(high(), (5, false, NOW), "the log is gone");
    restore();
    std::fs::write(&marks, [0; 64]).unwrap();
    assert_eq!(high(), (5, false, NOW), "the marks are gone");
    restore();
    flip(&marks, |_| 8);
    assert!(high().0 >= 4, "one slot is damaged");
    restore();
    std::fs::remove_file(&marks).unwrap();
    flip(&log, |len| len - 1);
    let (_, lost, floor) = high();
    assert!(lost && floor == NOW + SKEW_US, "both are damaged: only new orders are taken");
    restore();
    std::fs::remove_file(&marks).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert_eq!(high(), (0, false, NOW), "nothing at all: as new");
    restore();
    std::fs::remove_file(&marks).unwrap();
    std::fs::write(&log, "").unwrap();
    assert_eq!(high(), (0, true, NOW + SKEW_US), "a first start that ended before it wrote its mark");
}

#[test]
fn no_single_flipped_byte_takes_the_mark_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    for generation in 1..=3 {
        ledger.begin(&task(&format!("o-{generation}"), "web"), "h", (generation, 1), NOW).unwrap();
    }
    drop(ledger);
    for name in ["ledger", "marks"] {
        let path = dir.path().join(name);
        let (log, marks) = (
            std::fs::read(dir.path().join("ledger")).unwrap(),
            std::fs::read(dir.path().join("marks")).unwrap(),
        );
        for at in (0..std::fs::read(&path).unwrap().len()).step_by(41) {
            std::fs::write(dir.path().join("ledger"), &log).unwrap();
            std::fs::write(dir.path().join("marks"), &marks).unwrap();
            flip(&path, |_| at);
            assert_eq!(open(dir.path()).0.memory().high, 3, "byte {at} of {name}");
        }
    }
}

#[test]
fn the_log_and_the_waiting_receipts_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    let mut entry = None;
    for number in 0..3000u64 {
        let receipt = Receipt {
            id: format!("o-{number}"),
            host: "h".into(),
            component: "web".into(),
            action: Action::DropCaches,
            local: false,
            outcome: Outcome::Succeeded,
            begun_us: NOW,
            ended_us: NOW,
            output: "y".repeat(6000),
            before: Default::default(),
            because: String::new(),
        };
        let one = Entry {
            receipt,
            digest: String::new(),
            generation: number,
            decided_us: NOW,
            dry_run: false,
            noted: false,
            confirmed: false,
        };
        ledger.put(one.clone());
        entry = Some(one);
    }
    ledger.compact(NOW + 3 * HOUR_US).unwrap();
    assert_eq!(ledger.entries.iter().filter(|entry| entry.is_waiting()).count(), WAITING_MAX);
    assert_eq!(ledger.given_up, 3000 - WAITING_MAX as u64);
    assert_eq!(ledger.next_waiting().unwrap().id, format!("o-{}", 3000 - WAITING_MAX), "the newest stay");
    let long = ledger.entries.iter().filter(|entry| entry.receipt.output.len() > SHORT_OUTPUT).count();
    assert_eq!(long, WHOLE_OUTPUTS);
    let size = std::fs::metadata(dir.path().join("ledger")).unwrap().len();
    assert!(size < 3 << 20, "{size}");
    // Appending goes on without end; the file does not.
    let entry = entry.unwrap();
    for _ in 0..400 {
        ledger.append(&Record::Entry(entry.clone()), NOW + 3 * HOUR_US).unwrap();
    }
    assert!(std::fs::metadata(dir.path().join("ledger")).unwrap().len() < 5 << 20);
}

#[test]
fn refused_strangers_are_on_record_but_cannot_fill_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    done(&mut ledger, "o-1", 1);
    let receipt = ledger.next_waiting().unwrap().clone();
    let kept = (0..200)
        .filter(|number| {
            let receipt = Receipt { id: format!("refused-{number}"), ..receipt.clone() };
            ledger.note(receipt, NOW).unwrap()
        })
        .count();
    assert_eq!(kept, NOTED_MAX);
    assert!(!ledger.memory().known.contains_key("refused-1"), "they are nobody's orders");
    assert_eq!(ledger.memory().begun.len(), 1);
}

#[test]
fn an_action_can_be_begun_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "none"])
        .arg(dir.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this user may not mount");
        return;
    }
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let _mounted = Mounted(dir.path());
    let (mut ledger, _) = open(&dir.path().join("act"));
    let filled = std::fs::write(dir.path().join("ballast"), vec![1; 4 << 20]);
    assert!(filled.is_err(), "the disk is full");
    for number in 0..20 {
        done(&mut ledger, &format!("o-{number}"), number + 1);
    }
    drop(ledger);
    assert_eq!(list(&dir.path().join("act")).unwrap().len(), 20);
}

#[test]
fn a_list_is_what_the_ledger_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path());
    done(&mut ledger, "o-1", 1);
    done(&mut ledger, "o-2", 2);
    ledger.confirm("o-1", NOW).unwrap();
    let listed = list(dir.path()).unwrap();
    let summary: Vec<_> =
        listed.iter().map(|entry| (entry.receipt.id.as_str(), entry.is_waiting())).collect();
    assert_eq!(summary, [("o-1", false), ("o-2", true)]);
}
