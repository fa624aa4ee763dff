//! The host's file from the disk. Whoever can write it decides what the agent runs and deletes, so it
//! is taken only from an owner that could do that anyway: root, or the agent's own user.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::paths::clean_up_root;
use super::{settle, HostFile};
use crate::config::source::{read, Source};
use crate::config::ConfigError;

/// Longest file.
const MOST_BYTES: u64 = 1 << 20;

/// Why the host's file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum HostFileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {cause}; check [act] file in the agent's configuration", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Others could have written it, or it is no plain file.
    #[error("{path} {problem}", path = .path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
}

impl HostFileError {
    /// Whether there simply is no file.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound)
    }
}

impl HostFile {
    /// Reads the file: nobody but its owner may write it, and the owner is root or this user.
    pub fn load(path: &Path) -> Result<Self, HostFileError> {
        let unreadable = |cause| HostFileError::Read { path: path.to_owned(), cause };
        let untrusted = |problem: String| HostFileError::Untrusted { path: path.to_owned(), problem };
        // Not blocking: a pipe of that name must not hold the agent up.
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
        let mut file = file.map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let own = rustix::process::geteuid().as_raw();
        if !metadata.is_file() || metadata.len() > MOST_BYTES {
            return Err(untrusted("is no plain file of at most 1 MiB; replace it".into()));
        }
        if metadata.uid() != 0 && metadata.uid() != own {
            let problem = format!(
                "belongs to user {}, who could make the agent do anything; give it to root: chown root",
                metadata.uid()
            );
            return Err(untrusted(problem));
        }
        if metadata.mode() & 0o022 != 0 {
            let problem = format!(
                "may be written by others than its owner (mode {:04o}); take that away: chmod go-w",
                metadata.mode() & 0o7777
            );
            return Err(untrusted(problem));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        let settled = Self::parse(path, &text)?;
        settled.roots_stay_outside(path)?;
        Ok(settled)
    }

    /// The same from text; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        settle::settle(&Source { path, text }, read(path, text)?)
    }

    /// A root that is a link to the system's files is as bad as one that names them.
    fn roots_stay_outside(&self, path: &Path) -> Result<(), HostFileError> {
        let lists = self.components.values().map(|component| &component.allowed).chain([&self.host_actions]);
        for policy in lists.flat_map(|allowed| allowed.clean_up.values()) {
            let Ok(real) = policy.root.canonicalize() else { continue };
            if clean_up_root("root", &real).is_err() {
                let problem = format!(
                    "names the clean-up root {}, which leads to {}; name a directory of the component's own",
                    policy.root.display(),
                    real.display()
                );
                return Err(HostFileError::Untrusted { path: path.to_owned(), problem });
            }
        }
        Ok(())
    }
}
