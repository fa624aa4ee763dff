//! Executors on real files and real processes, and against people who are faster than they look.

mod commands;
mod files;
mod processes;
mod races;
mod threads_left;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fettle_shared::command::Action;
use tokio::sync::watch;

use super::threads::Stop;
use super::*;
use crate::host_file::{CleanUp, Command};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Means without a supervisor behind them.
fn means(versions: &Path) -> Means {
    let (_, supervised) = watch::channel(Arc::default());
    let supervisor = SupervisorHandle::new(supervised).0;
    Means { supervisor, versions: versions.to_owned(), threads: Threads::new() }
}

fn task(step: Step, timeout: Duration) -> Task {
    Task {
        id: "t".into(),
        component: "web".into(),
        action: Action::Restart,
        step,
        timeout,
        dry_run: false,
        local: false,
        because: String::new(),
    }
}

fn done(step: Step, timeout: Duration) -> (Outcome, Report) {
    let dir = tempfile::tempdir().unwrap();
    runtime().block_on(run(&task(step, timeout), &means(dir.path())))
}

fn shell(script: &str) -> Command {
    Command { command: vec!["/bin/sh".into(), "-c".into(), script.into()], user: None, directory: None }
}

fn policy(root: &Path) -> CleanUp {
    CleanUp {
        root: root.to_owned(),
        pattern: "*.log".into(),
        older_than: Duration::ZERO,
        keep_bytes: 0,
        most_bytes: 1 << 40,
        most_files: 1000,
    }
}

/// A file that was last written a day before now, and `newer` seconds.
fn old_file(path: &Path, bytes: usize, newer: u64) {
    let file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut &file, &vec![7; bytes]).unwrap();
    let day_ago = std::time::SystemTime::now() - Duration::from_secs(86_400 - newer);
    file.set_modified(day_ago).unwrap();
}

fn clean(policy: &CleanUp, dry: bool) -> Result<Report, String> {
    clean_up::run(policy, dry, &Stop::default())
}

/// Where a link leads.
fn target(link: &Path) -> PathBuf {
    std::fs::read_link(link).unwrap()
}

fn names(before: &[(&str, &str)]) -> BTreeMap<String, String> {
    before.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
