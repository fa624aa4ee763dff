//! The few system calls the spool makes on its files, in one place so that tests can make any of
//! them fail as a full or broken disk would.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Write,
    Sync,
    Truncate,
    Remove,
}

/// Makes a new file for reading and writing.
pub(super) fn create(path: &Path) -> io::Result<File> {
    faults::check(Call::Create)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
}

/// Writes all of `bytes` at `offset`; on an error a part may have been written.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    if let Err(error) = faults::check(Call::Write) {
        // A disk that fills up in the middle of a write takes a part of it.
        file.write_all_at(&bytes[..bytes.len() / 3], offset)?;
        return Err(error);
    }
    file.write_all_at(bytes, offset)
}

/// Waits until the file's data is on the medium.
pub(super) fn sync(file: &File) -> io::Result<()> {
    faults::check(Call::Sync)?;
    file.sync_data()
}

/// Cuts the file.
pub(super) fn truncate(file: &File, len: u64) -> io::Result<()> {
    faults::check(Call::Truncate)?;
    file.set_len(len)
}

/// Deletes the file; one that is gone already is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    faults::check(Call::Remove)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Waits until the directory's entries are on the medium.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(test))]
mod faults {
    pub(super) fn check(_call: super::Call) -> std::io::Result<()> {
        Ok(())
    }
}

/// Faults of this thread's calls, for tests.
#[cfg(test)]
pub(super) mod faults {
    use super::Call;
    use std::cell::RefCell;
    use std::io;

    thread_local! {
        static FAILING: RefCell<Vec<(Call, i32)>> = const { RefCell::new(Vec::new()) };
    }

    /// From now on these calls fail with this errno.
    pub(crate) fn fail(calls: &[Call], errno: i32) {
        FAILING.with(|failing| *failing.borrow_mut() = calls.iter().map(|call| (*call, errno)).collect());
    }

    /// From now on nothing fails.
    pub(crate) fn heal() {
        fail(&[], 0);
    }

    pub(super) fn check(call: Call) -> io::Result<()> {
        FAILING.with(|failing| match failing.borrow().iter().find(|(c, _)| *c == call) {
            Some((_, errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(()),
        })
    }
}
