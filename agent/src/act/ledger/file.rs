//! The log's file: records of a magic word, a length, a checksum and a text; appended, synced, and replaced
//! whole by rename. A reader finds the next record again after damage.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{fallocate, FallocateFlags};
use xxhash_rust::xxh3::xxh3_64;

use crate::act::ActError;
use crate::dir_lock::DirLock;

const NAME: &str = "ledger";
const MAGIC: u32 = u32::from_le_bytes(*b"FTLR");
/// Magic, length, checksum.
const HEAD: usize = 16;
/// Longest record: 8 KiB of output, every byte of it escaped, and the rest.
const RECORD_MAX: usize = 128 << 10;
/// Disk space kept for the log before it is needed.
const RESERVE: u64 = 512 << 10;
/// From this size on, or at twice what it was shortened to, the log is written anew.
const LARGE: u64 = 1 << 20;

/// What a log held.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Whole records in order.
    pub records: Vec<Vec<u8>>,
    /// Bytes between records that are none.
    pub damaged: usize,
    /// Whether the end is not a whole record.
    pub torn: bool,
    /// Whether there was no log.
    pub is_new: bool,
}

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    len: u64,
    /// Length after it was last written anew.
    short: u64,
    /// Held for as long as this agent lives.
    _lock: DirLock,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ActError {
    let path = path.to_owned();
    move |cause| ActError::Ledger { what, path, cause }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

impl Log {
    /// Opens the log, alone.
    pub(super) fn open(dir: &Path) -> Result<(Self, Scan), ActError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).map_err(failed("made", dir))?;
        let lock_path = dir.join("lock");
        let taken = || std::io::Error::from(std::io::ErrorKind::WouldBlock);
        let lock = DirLock::take(dir)
            .and_then(|lock| lock.ok_or_else(taken))
            .map_err(failed("locked", &lock_path))?;
        let scan = look(dir)?;
        let path = dir.join(NAME);
        let file = options().open(&path).map_err(failed("opened", &path))?;
        let len = file.metadata().map_err(failed("read", &path))?.len();
        Ok((Self { file, len, short: 0, _lock: lock }, scan))
    }

    /// Appends a record and waits until the disk has it. After a failure the next one takes its place.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), ActError> {
        let record = frame(payload)?;
        let written = self.file.write_all_at(&record, self.len).and_then(|()| self.file.sync_data());
        written.map_err(failed("written", Path::new(NAME)))?;
        self.len += record.len() as u64;
        Ok(())
    }

    /// Whether it should be written anew.
    pub(super) fn is_large(&self) -> bool {
        self.len > LARGE.max(2 * self.short)
    }

    /// Writes the log anew.
    pub(super) fn replace(&mut self, dir: &Path, payloads: &[Vec<u8>]) -> Result<(), ActError> {
        let (path, new) = (dir.join(NAME), dir.join("ledger.new"));
        let mut file = options().open(&new).map_err(failed("opened", &new))?;
        let fill = |file: &mut File| {
            file.set_len(0)?;
            let mut len = 0;
            for payload in payloads {
                let record = frame(payload).map_err(std::io::Error::other)?;
                file.write_all(&record)?;
                len += record.len() as u64;
            }
            // Where the file system cannot, there is no reserve.
            let _ = fallocate(&*file, FallocateFlags::KEEP_SIZE, 0, len + RESERVE);
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(dir)?.sync_all()?;
            Ok(len)
        };
        self.len = fill(&mut file).map_err(failed("written", &new))?;
        self.short = self.len;
        self.file = file;
        Ok(())
    }

    /// Keeps a copy of a damaged log for whoever wants to know.
    pub(super) fn keep_damaged(&self, dir: &Path) -> Result<(), ActError> {
        let path = dir.join(NAME);
        std::fs::copy(&path, dir.join("ledger.damaged")).map(drop).map_err(failed("copied", &path))
    }
}

/// Reads a directory's log.
pub(super) fn look(dir: &Path) -> Result<Scan, ActError> {
    let path: PathBuf = dir.join(NAME);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(mut file) => file.read_to_end(&mut bytes).map_err(failed("read", &path))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Scan { is_new: true, ..Scan::default() })
        }
        Err(error) => return Err(failed("read", &path)(error)),
    };
    Ok(scan(&bytes))
}

fn frame(payload: &[u8]) -> Result<Vec<u8>, ActError> {
    if payload.len() > RECORD_MAX {
        return Err(ActError::Record { bytes: payload.len() });
    }
    let mut record = Vec::with_capacity(HEAD + payload.len());
    record.extend(MAGIC.to_le_bytes());
    record.extend((payload.len() as u32).to_le_bytes());
    record.extend(xxh3_64(payload).to_le_bytes());
    record.extend(payload);
    Ok(record)
}

/// The record that begins at `at`, if one does.
fn record_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let head = bytes.get(at..at + HEAD)?;
    let word = |from: usize| head[from..from + 4].try_into().map(u32::from_le_bytes).ok();
    let len = word(4)? as usize;
    if word(0)? != MAGIC || len > RECORD_MAX {
        return None;
    }
    let payload = bytes.get(at + HEAD..at + HEAD + len)?;
    let sum = head[8..].try_into().map(u64::from_le_bytes).ok()?;
    (xxh3_64(payload) == sum).then_some(payload)
}

fn scan(bytes: &[u8]) -> Scan {
    let mut found = Scan::default();
    let (mut at, mut bad) = (0, 0);
    while at < bytes.len() {
        if let Some(payload) = record_at(bytes, at) {
            found.records.push(payload.to_vec());
            found.damaged += std::mem::take(&mut bad);
            at += HEAD + payload.len();
        } else {
            bad += 1;
            at += 1;
        }
    }
    found.torn = bad > 0;
    found
}
