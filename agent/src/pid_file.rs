//! Pid files, read as what somebody else may have written: never through a link, never waiting for a pipe, never
//! more than a few bytes. Whose file it is decides which processes it may name, or everybody who can write one
//! would have the agent's rights over all processes.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use crate::process_table::user_of;

/// More bytes than any process number takes.
const MOST: u64 = 64;

/// What a pid file says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PidFile {
    /// The process number it holds, above 0.
    pub pid: i32,
    /// When it was written, seconds since 1970.
    pub written: f64,
    owner: u32,
}

impl PidFile {
    /// Reads one.
    ///
    /// # Errors
    /// The system's, or one that says why this is no pid file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        let wrong = |what| Error::new(ErrorKind::InvalidData, what);
        if !metadata.is_file() || metadata.len() > MOST || metadata.nlink() > 1 {
            return Err(wrong("is no pid file"));
        }
        let mut text = String::new();
        File::take(file, MOST).read_to_string(&mut text)?;
        let number = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
        let pid = number.filter(|pid| *pid > 0).ok_or_else(|| wrong("holds no process id"))?;
        Ok(Self { pid, written: metadata.mtime() as f64, owner: metadata.uid() })
    }

    /// Whether its owner may speak for the process: root and the agent's own user for any, others for what runs as
    /// them. (systemd trusts the pid files of others as little: systemd.service(5), `PIDFile=`.)
    pub(crate) fn may_name_its_process(&self) -> bool {
        self.owner == 0
            || self.owner == rustix::process::geteuid().as_raw()
            || user_of(self.pid) == Some(self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_short_plain_file_of_one_name_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "4711\n").unwrap();
        assert_eq!(PidFile::read(&path).unwrap().pid, 4711);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        PidFile::read(&link).unwrap_err();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        // With nobody at the other end an ordinary open would wait for ever.
        assert_eq!(PidFile::read(&pipe).unwrap_err().kind(), ErrorKind::InvalidData);
        for text in ["", "0\n", "-1\n", "x\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(PidFile::read(&path).unwrap_err().to_string(), "holds no process id", "{text:?}");
        }
        std::fs::write(&path, "1\n".repeat(40)).unwrap();
        PidFile::read(&path).unwrap_err();
        std::fs::write(&path, "1\n").unwrap();
        std::fs::hard_link(&path, dir.path().join("other")).unwrap();
        PidFile::read(&path).unwrap_err();
    }

    #[test]
    fn a_file_names_no_process_of_another_user_than_its_owner() {
        let own = i32::try_from(std::process::id()).unwrap();
        let of = |owner, pid| PidFile { pid, written: 0.0, owner }.may_name_its_process();
        let me = rustix::process::geteuid().as_raw();
        assert!(of(0, own) && of(me, own) && of(me, 1));
        assert!(!of(me + 65_534, own), "somebody else's file names this process");
    }
}
