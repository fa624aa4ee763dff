//! Files of the kernel that stay open. A read goes with `pread` from offset 0 into the buffer that
//! held the read before last, so old and new content stand side by side without a copy: equal means
//! nothing to parse, and what differs is found by comparing.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, CWD};
use rustix::io::Errno;

use super::GapCause;

/// Content never grows beyond this; a file that does is cut and its parser says malformed.
const MAX_CONTENT: usize = 4 << 20;
/// A file made of records is filled record by record while the next one fits into a page of 4096
/// bytes. A read that ends this far below a page is the whole file if no record is longer than the
/// other half. (The longest are disks in diskstats, each with all its partitions.)
const HALF_A_PAGE: usize = 2048;

/// How the kernel writes the file, hence how a whole read is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// In one go: one `pread` returns all of it when the buffer is large enough.
    Whole,
    /// Record by record, none longer than half a page: a longer read is repeated until nothing comes.
    Records,
    /// Record by record, of any length, such as lines with a column a CPU: always read to the end.
    LongRecords,
}

/// Old and new content of a file; equal when nothing changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Content of the read before.
    pub(crate) old: &'a [u8],
    /// Content of this read.
    pub(crate) new: &'a [u8],
}

impl Reading<'_> {
    pub(crate) fn is_same(&self) -> bool {
        self.old == self.new
    }
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    len: usize,
}

/// One file that is read again and again.
#[derive(Debug)]
pub(crate) struct KernelFile {
    path: CString,
    style: Style,
    fd: Option<OwnedFd>,
    front: Content,
    back: Content,
    retry_at_us: u64,
}

/// How long an absent or forbidden file is left alone before it is tried again.
const RETRY_US: u64 = 10_000_000;

impl KernelFile {
    pub(crate) fn new(path: &Path, style: Style) -> Self {
        // A path with a NUL byte cannot exist; the empty path is absent as well.
        let path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        let content = || Content { bytes: Vec::new(), len: 0 };
        Self { path, style, fd: None, front: content(), back: content(), retry_at_us: 0 }
    }

    /// Reads the file. `None`: it is known to be absent or forbidden, which was counted already, and
    /// its time to be tried again has not come.
    pub(crate) fn read(&mut self, now_us: u64) -> Result<Option<Reading<'_>>, GapCause> {
        if self.fd.is_none() && now_us < self.retry_at_us {
            return Ok(None);
        }
        std::mem::swap(&mut self.front, &mut self.back);
        match self.fill() {
            Ok(()) => Ok(Some(self.reading())),
            Err(cause) => {
                std::mem::swap(&mut self.front, &mut self.back);
                // What is not there or not for us stays so for a while; anything else may pass at once.
                if matches!(cause, GapCause::Absent | GapCause::Denied | GapCause::Vanished) {
                    self.retry_at_us = now_us + RETRY_US;
                }
                self.fd = None;
                Err(cause)
            }
        }
    }

    /// The last two reads.
    pub(crate) fn reading(&self) -> Reading<'_> {
        Reading { old: &self.back.bytes[..self.back.len], new: &self.front.bytes[..self.front.len] }
    }

    fn fill(&mut self) -> Result<(), GapCause> {
        if self.fd.is_none() {
            self.fd = Some(open_at(CWD, &self.path)?);
        }
        let Some(fd) = &self.fd else { return Err(GapCause::Absent) };
        read_all(fd, self.style, &mut self.front.bytes, &mut self.front.len)?;
        // Both buffers grow at once, so that the next read finds its own large enough.
        if self.back.bytes.len() < self.front.bytes.len() {
            self.back.bytes.resize(self.front.bytes.len(), 0);
        }
        Ok(())
    }
}

/// Opens a kernel file for reading.
pub(crate) fn open_at(dir: impl AsFd, path: &std::ffi::CStr) -> Result<OwnedFd, GapCause> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(dir, path, flags, Mode::empty())?)
}

/// Reads from offset 0 to the end, growing the buffer as needed.
pub(crate) fn read_all(
    fd: impl AsFd,
    style: Style,
    bytes: &mut Vec<u8>,
    len: &mut usize,
) -> Result<(), GapCause> {
    *len = 0;
    if bytes.is_empty() {
        bytes.resize(512, 0);
    }
    loop {
        let n = pread(&fd, &mut bytes[*len..], *len as u64)?;
        *len += n;
        let room = bytes.len() - *len;
        let done = match style {
            Style::Whole => n == 0 || room > 0,
            Style::Records => n == 0 || (*len == n && n < HALF_A_PAGE && room > 0),
            Style::LongRecords => n == 0,
        };
        if done || bytes.len() >= MAX_CONTENT {
            return Ok(());
        }
        // A tenth of slack keeps numbers that gain a digit from growing the buffer again.
        if room < bytes.len() / 10 {
            let style_restarts = style == Style::Whole;
            bytes.resize((bytes.len() * 2).min(MAX_CONTENT), 0);
            if style_restarts {
                *len = 0;
            }
        }
    }
}

/// One `pread`, tried again when a signal came in between.
#[inline]
pub(crate) fn pread(fd: impl AsFd, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
    loop {
        match rustix::io::pread(&fd, &mut *buf, offset) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Opens, reads and closes a file that is looked at too rarely to keep.
pub(crate) fn read_once(
    dir: impl AsFd,
    path: &std::ffi::CStr,
    bytes: &mut Vec<u8>,
) -> Result<usize, GapCause> {
    let fd = open_at(dir, path)?;
    let mut len = 0;
    read_all(fd, Style::Records, bytes, &mut len)?;
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_is_read_anew_and_compared_with_the_read_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "one").unwrap();
        let mut file = KernelFile::new(&path, Style::Whole);
        assert!(!file.read(0).unwrap().unwrap().is_same());
        assert!(file.read(0).unwrap().unwrap().is_same());
        std::fs::write(&path, "two!").unwrap();
        let reading = file.read(0).unwrap().unwrap();
        assert_eq!((reading.old, reading.new), (&b"one"[..], &b"two!"[..]));
    }

    #[test]
    fn large_files_are_read_whole_in_either_style() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut out = std::fs::File::create(&path).unwrap();
        for i in 0..20_000 {
            writeln!(out, "{i}").unwrap();
        }
        let want = std::fs::read(&path).unwrap();
        for style in [Style::Whole, Style::Records, Style::LongRecords] {
            let mut file = KernelFile::new(&path, style);
            assert_eq!(file.read(0).unwrap().unwrap().new, want);
            assert!(file.read(0).unwrap().unwrap().is_same());
        }
    }

    #[test]
    fn an_absent_file_is_counted_once_until_its_time_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut file = KernelFile::new(&path, Style::Whole);
        assert_eq!(file.read(1).unwrap_err(), GapCause::Absent);
        assert!(file.read(2).unwrap().is_none());
        std::fs::write(&path, "now").unwrap();
        assert!(file.read(3).unwrap().is_none());
        assert_eq!(file.read(RETRY_US + 1).unwrap().unwrap().new, b"now");
    }
}
