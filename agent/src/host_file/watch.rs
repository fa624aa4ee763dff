//! The host's file as it changes. It is looked at every two seconds, and at once on SIGHUP, and read when nobody writes to
//! it. A new file that is wrong changes nothing and is complained of once; a file that is gone for two looks allows
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
/// A file that has changed is read once it has been the same for so long: whoever writes it in place may not have finished,
/// and the first half of it would stop what the second half supervises.
const SETTLING: Duration = Duration::from_millis(100);
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

/// What a look at the file asks for.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is new.
    Wait,
    /// It has changed and may still be written to.
    LookSoon,
    /// It has changed and is left alone now.
    Load,
    /// It has been taken away.
    Forget,
}

/// What was seen of the file so far.
#[derive(Debug, Default)]
struct Looks {
    /// The version in force.
    taken: Option<Version>,
    /// Another one, which the last look has seen.
    fresh: Option<Version>,
    /// Somebody asked for it to be read.
    told: bool,
    missing: u32,
}

impl Looks {
    fn look(&mut self, seen: Option<Version>, told: bool) -> Step {
        self.told |= told;
        let Some(seen) = seen else {
            self.fresh = None;
            self.missing += 1;
            return if self.missing == MISSING && self.taken.take().is_some() {
                Step::Forget
            } else {
                Step::Wait
            };
        };
        self.missing = 0;
        if self.taken == Some(seen) && !self.told {
            self.fresh = None;
            return Step::Wait;
        }
        if self.fresh.replace(seen) == Some(seen) {
            Step::Load
        } else {
            Step::LookSoon
        }
    }

    /// What was seen last has been read.
    fn has_read(&mut self) {
        self.taken = self.fresh.take();
        self.told = false;
    }
}

async fn looks(path: PathBuf, version: Option<Version>, sender: watch::Sender<Arc<HostFile>>) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut looks = Looks { taken: version, ..Looks::default() };
    let mut pause = EVERY;
    while !sender.is_closed() {
        let told = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            _ = told => true,
            () = tokio::time::sleep(pause) => false,
        };
        let step = looks.look(Version::of(&path), told);
        pause = if step == Step::LookSoon { SETTLING } else { EVERY };
        if step == Step::Forget {
            tracing::warn!(file = %path.display(), "the host's file is gone: nothing is checked or allowed any more");
            sender.send_replace(Arc::default());
        }
        if step != Step::Load {
            continue;
        }
        let read = HostFile::load(&path);
        if Version::of(&path) != looks.fresh {
            // Somebody has begun to write to it again, and what was read may be half of it.
            pause = SETTLING;
            continue;
        }
        looks.has_read();
        match read {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A version of the file as it grows.
    fn version(size: u64) -> Option<Version> {
        Some(Version { inode: 1, size, modified: (0, 0), changed: (0, 0) })
    }

    fn following(size: u64) -> Looks {
        Looks { taken: version(size), ..Looks::default() }
    }

    #[test]
    fn a_file_that_is_being_written_is_read_when_that_is_over() {
        let mut looks = following(10);
        assert_eq!(looks.look(version(10), false), Step::Wait);
        for size in [0, 4, 9] {
            assert_eq!(looks.look(version(size), false), Step::LookSoon, "{size}");
        }
        assert_eq!(looks.look(version(9), false), Step::Load);
        // Written to while it was read: what was read is not taken, and it is looked at again.
        assert_eq!(looks.look(version(12), false), Step::LookSoon);
        assert_eq!(looks.look(version(12), false), Step::Load);
        looks.has_read();
        assert_eq!(looks.look(version(12), false), Step::Wait);
        // Changed, and changed back.
        assert_eq!(looks.look(version(0), false), Step::LookSoon);
        assert_eq!(looks.look(version(12), false), Step::Wait);
    }

    #[test]
    fn whoever_asks_has_it_read_though_it_is_the_same() {
        let mut looks = following(10);
        assert_eq!(looks.look(version(10), true), Step::LookSoon);
        assert_eq!(looks.look(version(10), false), Step::Load);
        looks.has_read();
        assert_eq!(looks.look(version(10), false), Step::Wait);
    }

    #[test]
    fn a_file_that_is_gone_for_two_looks_allows_nothing() {
        let mut looks = following(10);
        assert_eq!(looks.look(None, false), Step::Wait, "an editor may be replacing it");
        assert_eq!(looks.look(version(10), false), Step::Wait);
        assert_eq!((looks.look(None, false), looks.look(None, false)), (Step::Wait, Step::Forget));
        assert_eq!(looks.look(None, false), Step::Wait, "which is said once");
        assert_eq!(
            (looks.look(version(10), false), looks.look(version(10), false)),
            (Step::LookSoon, Step::Load)
        );
    }
}
