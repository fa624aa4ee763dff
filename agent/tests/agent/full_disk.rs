//! The agent on a file system that is really full: it goes on from memory, loses nothing, and
//! catches up. Needs the right to mount (root); elsewhere the spool's own tests inject the errors.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{kill_process, Pid, Signal};

use crate::collector::{Collector, Received};
use crate::nats::{free_port, Nats};
use crate::page::{now, until};

/// Runs the agent in a mount namespace of its own, on a file system of 2 MiB.
fn run_on_small_disk(dir: &Path, nats: &str, metrics: &str) -> Child {
    let script = "mount -t tmpfs -o size=2m none \"$0\" && \
                  exec \"$1\" run --agent a --nats \"$2\" --metrics \"$3\" --spool \"$0/spool\"";
    Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(dir)
        .args([env!("CARGO_BIN_EXE_fettle-agent"), nats, metrics])
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Takes all that is free of the agent's file system, seen through its own root. How much the agent writes in a minute
/// depends on the host, so waiting until it has filled the disk by itself may be in vain.
fn fill(agent: &Child, dir: &Path) {
    let dir = dir.strip_prefix("/").unwrap();
    let ballast = Path::new("/proc").join(agent.id().to_string()).join("root").join(dir).join("ballast");
    let mut file = File::create(ballast).unwrap();
    let full = loop {
        if let Err(error) = file.write_all(&[0; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::StorageFull);
}

fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_loses_nothing() {
    if !may_mount() {
        eprintln!("skipped: this user may not mount");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (nats, dir) = (Nats::up(), tempfile::tempdir().unwrap());
        let address = format!("127.0.0.1:{}", free_port());
        let mut child = run_on_small_disk(dir.path(), &nats.url(), &address);
        // Nobody confirms, so what is written stays.
        until(&address, "spool_frames", |frames| frames >= 5.0).await;
        fill(&child, dir.path());
        until(&address, "spool_errors_total", |errors| errors > 0.0).await;
        let acks = now(&address, "publish_acks_total").await;
        until(&address, "publish_acks_total", |now| now >= acks + 3.0).await;
        // Confirmed frames are room: the agent lives on the full disk for as long as they come.
        let collector = Collector::start(&nats.url(), Received::default());
        until(&address, "spool_frames", |frames| frames <= 3.0).await;
        let acks = now(&address, "publish_acks_total").await;
        until(&address, "publish_acks_total", |now| now >= acks + 5.0).await;
        assert_eq!(now(&address, "dropped_frames_total").await, 0.0);
        assert_eq!(now(&address, "queue_drops_total").await, 0.0);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let whole = |received: &Received| {
            received.numbers.iter().all(|(boot, numbers)| numbers.last() == Some(&received.upto(*boot)))
        };
        let received = collector.until("no number is missing", whole).await;
        assert_eq!(received.dropped_samples, 0);
        assert!(received.numbers.len() > 1, "what memory held was numbered apart");
    });
}
