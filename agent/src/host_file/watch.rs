//! The host's file as it changes. It is looked at every two seconds, and at once on SIGHUP. A new file
//! that is wrong changes nothing and is complained of once; a file that is gone for two looks allows
//! nothing any more.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::watch;

use super::HostFile;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Looks at which the file must be missing before it counts as taken away; an editor replaces it in less.
const MISSING: u32 = 2;

/// What tells one version of the file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Follows the file; the first receiver holds what it says now (nothing, if there is no file).
///
/// # Errors
/// A file that is there and wrong: an agent must not start with less than its operator wrote.
pub fn follow(path: PathBuf) -> Result<watch::Receiver<Arc<HostFile>>, super::HostFileError> {
    let version = Version::of(&path);
    let first = match HostFile::load(&path) {
        Err(error) if error.is_absent() => HostFile::default(),
        other => other?,
    };
    let (sender, receiver) = watch::channel(Arc::new(first));
    tokio::spawn(looks(path, version, sender));
    Ok(receiver)
}

async fn looks(path: PathBuf, mut version: Option<Version>, sender: watch::Sender<Arc<HostFile>>) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut missing = 0;
    while !sender.is_closed() {
        let told = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            _ = told => true,
            () = tokio::time::sleep(EVERY) => false,
        };
        let seen = Version::of(&path);
        if seen.is_none() {
            missing += 1;
            if missing == MISSING && version.take().is_some() {
                tracing::warn!(file = %path.display(), "the host's file is gone: nothing is checked or allowed any more");
                sender.send_replace(Arc::default());
            }
            continue;
        }
        missing = 0;
        if seen == version && !told {
            continue;
        }
        version = seen;
        match HostFile::load(&path) {
            Ok(file) => {
                tracing::info!(file = %path.display(), components = file.components.len(), "the host's file is read again");
                sender.send_if_modified(|old| {
                    let news = **old != file;
                    *old = Arc::new(file);
                    news
                });
            }
            Err(error) => tracing::error!("the old file stays in force: {error}"),
        }
    }
}
