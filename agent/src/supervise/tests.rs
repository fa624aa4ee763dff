//! Real processes, started, crashed, stopped, hung and found again.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::*;
use crate::handoff::{ProcessId, SupervisedState};
use crate::host_file::HostFile;
use crate::process_table::{members, see_again, signal};

fn file(text: &str) -> Arc<HostFile> {
    Arc::new(HostFile::parse(Path::new("components.toml"), text).unwrap())
}

fn shell(script: &str, more: &str) -> Arc<HostFile> {
    file(&format!("[components.a.runs]\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n{more}"))
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn running(handle: &SupervisorHandle, replicas: usize) -> Vec<ProcessId> {
    until("the replicas run", || async {
        let state = handle.state("a").ok()?;
        let ids: Vec<ProcessId> = state.pids().collect();
        (ids.len() == replicas && state.replicas as usize == replicas).then_some(ids)
    })
    .await
}

fn alive(id: ProcessId) -> bool {
    see_again(id).is_some_and(|seen| !seen.is_ended())
}

/// Ends what a test leaves.
struct Cleaning(Vec<ProcessId>);

impl Drop for Cleaning {
    fn drop(&mut self) {
        for id in &self.0 {
            crate::process_table::signal_group(*id, libc::SIGKILL);
        }
    }
}

#[tokio::test]
async fn replicas_start_scale_and_stop_with_their_groups() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        shell("echo replica $0 $FETTLE_REPLICA $HOME; sleep 1000 & wait", "replicas = 2\nreplicas_max = 3");
    let (_sender, receiver) = watch::channel(text);
    let (handle, _states) = start(dir.path(), receiver).unwrap();
    let ids = running(&handle, 2).await;
    let _cleaning = Cleaning(ids.clone());
    until("each has a child", || async { ids.iter().all(|id| members(*id).len() == 2).then_some(()) }).await;
    assert!(handle.scale("a", 4).await.unwrap_err().contains("1 to 3 replicas"));
    assert!(handle.scale("a", 3).await.unwrap().starts_with("2 to 3 replicas: started 1 replica as process"));
    let three = running(&handle, 3).await;
    let _cleaning = Cleaning(three.clone());
    assert_eq!(three[..2], ids[..], "those that ran run on");
    assert!(handle.scale("a", 1).await.unwrap().contains("stopped 2 replicas"));
    let one = running(&handle, 1).await;
    assert!(handle.stop("a").await.unwrap().starts_with("stopped 1 replica"));
    assert!(handle.state("a").unwrap().stopped);
    for id in three.iter().chain(&one) {
        assert!(!alive(*id) && members(*id).is_empty(), "{id:?} and its children are gone");
        assert!(see_again(*id).is_none(), "a child is reaped");
    }
    let log = std::fs::read_to_string(dir.path().join("components/a.1.log")).unwrap();
    assert_eq!(log, "replica /bin/sh 1\n", "only what is declared is in the environment");
    assert!(handle.start("b").await.unwrap_err().contains("no supervised component"));
}

#[tokio::test]
async fn a_crash_is_counted_and_left_to_others_to_mend() {
    let dir = tempfile::tempdir().unwrap();
    let (_sender, receiver) = watch::channel(shell("sleep 1000 & wait", ""));
    let (handle, _states) = start(dir.path(), receiver).unwrap();
    let first = running(&handle, 1).await[0];
    let _cleaning = Cleaning(vec![first]);
    until("it has a child", || async { (members(first).len() == 2).then_some(()) }).await;
    signal(first, libc::SIGKILL).unwrap();
    let state = until("its end is seen", || async {
        let state = handle.state("a").unwrap();
        (state.pids().count() == 0).then_some(state)
    })
    .await;
    assert!(state.last_exit.contains("signal: 9"), "{state:?}");
    assert_eq!((state.restarts, state.stopped), (0, false));
    assert_eq!(members(first).len(), 1, "its child is left");
    handle.restart("a").await.unwrap();
    let second = running(&handle, 1).await[0];
    let _cleaning = Cleaning(vec![second]);
    assert!(members(first).is_empty(), "and goes before another is started");
    assert_eq!(handle.state("a").unwrap().restarts, 1);
    handle.stop("a").await.unwrap();
}

#[tokio::test]
async fn what_does_not_stop_is_killed_and_what_hangs_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (_sender, receiver) = watch::channel(shell(
        "trap '' TERM; echo ready; while :; do sleep 1; done",
        "stop_timeout = \"500ms\"",
    ));
    let (handle, _states) = start(dir.path(), receiver).unwrap();
    let stubborn = running(&handle, 1).await[0];
    let _cleaning = Cleaning(vec![stubborn]);
    let log = dir.path().join("components/a.0.log");
    until("its trap is set", || async { (std::fs::metadata(&log).ok()?.len() > 0).then_some(()) }).await;
    let begun = Instant::now();
    assert!(handle.stop("a").await.unwrap().contains("by SIGKILL"));
    assert!(begun.elapsed() >= Duration::from_millis(500) && !alive(stubborn));

    let (_sender, receiver) = watch::channel(shell("exec sleep 1000", ""));
    let (handle, _states) = start(&dir.path().join("other"), receiver).unwrap();
    let hung = running(&handle, 1).await[0];
    let _cleaning = Cleaning(vec![hung]);
    handle.signal("a", libc::SIGSTOP, true).await.unwrap();
    until("it is stopped", || async { see_again(hung)?.is_stopped().then_some(()) }).await;
    assert_eq!(handle.stop("a").await.unwrap(), "stopped 1 replica", "it needs no SIGKILL");
    assert!(handle.signal("a", libc::SIGCONT, false).await.unwrap_err().contains("start it first"));
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let dir = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (file("[components.a.runs]\ncommand = [\"/no/such/program\"]"), "No such file"),
        (shell("echo cannot; exit 3", ""), "ended at once: exit status: 3"),
        (shell("true", "directory = \"/no/such/directory\""), "No such file"),
        (shell("true", "user = \"nobody-of-that-name\""), "no user nobody-of-that-name"),
    ] {
        let (_sender, receiver) = watch::channel(text);
        let (handle, _states) = start(&tempfile::tempdir_in(dir.path()).unwrap().keep(), receiver).unwrap();
        let said = until("it is kept", || async { handle.start("a").await.err() }).await;
        assert!(said.contains(expected), "{said}");
    }
}

/// Runs a supervisor in a runtime of its own, which is then dropped: what an agent's end leaves behind.
fn one_life(dir: &Path, file: Arc<HostFile>) -> (Vec<ProcessId>, SupervisedState) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(async {
        let (_sender, receiver) = watch::channel(file);
        let (handle, _states) = start(dir, receiver).unwrap();
        let ids = running(&handle, 1).await;
        (ids, handle.state("a").unwrap())
    });
    drop(runtime);
    found
}

#[test]
fn what_runs_outlives_its_supervisor_and_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let text = shell("exec sleep 1000", "");
    let (first, _) = one_life(dir.path(), text.clone());
    let _cleaning = Cleaning(first.clone());
    assert!(alive(first[0]));
    assert_eq!(one_life(dir.path(), text.clone()).0, first, "by the record");
    std::fs::remove_file(dir.path().join("components/supervised.json")).unwrap();
    assert_eq!(one_life(dir.path(), text.clone()).0, first, "by its environment");
    // Its number alone means nothing.
    let record = Record::new(&dir.path().join("components"));
    let mut states: BTreeMap<_, _> = record.read();
    let state = states.get_mut("a").unwrap();
    state.processes[0] = Some(ProcessId { start: first[0].start + 1, ..first[0] });
    record.write(&states).unwrap();
    signal(first[0], libc::SIGKILL).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_sender, receiver) = watch::channel(text);
        let (handle, _states) = start(dir.path(), receiver).unwrap();
        until("its end is known", || async { (handle.state("a").ok()?.pids().count() == 0).then_some(()) })
            .await;
        handle.start("a").await.unwrap();
        let second = running(&handle, 1).await;
        assert_ne!(second, first);
        handle.stop("a").await.unwrap();
        assert!(!alive(second[0]));
    });
}

#[tokio::test]
async fn a_changed_file_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = watch::channel(shell("exec sleep 1000", "replicas_max = 4"));
    let (handle, _states) = start(dir.path(), receiver).unwrap();
    let first = running(&handle, 1).await;
    sender.send_replace(shell("exec sleep 1001", "replicas = 2"));
    let both = running(&handle, 2).await;
    let _cleaning = Cleaning(both.clone());
    assert_eq!(both[0], first[0], "a new command holds from the next start on");
    sender.send_replace(Arc::default());
    until("it is let go", || async { handle.state("a").is_err().then_some(()) }).await;
    assert!(both.iter().all(|id| alive(*id)));
}
