//! The segment files: appends at the end, reads anywhere, deletes whole files from the front.
//!
//! An append is one write. One that fails is cut off again; where even that fails the segment is
//! closed at its last good byte and the next append starts another. Memory is bounded: of each
//! segment only its ends and runs are kept, the table of frames of the one last read beside that of
//! the one being written.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fettle_shared::frame::Header;

use super::medium;
use super::walk::{walk, Entry, Walk};

const EXTENSION: &str = "seg";

/// Consecutive frames of one boot in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub boot: u64,
    pub first: u64,
    pub last: u64,
    pub frames: u64,
}

/// What is kept in memory of a segment.
#[derive(Debug)]
pub(super) struct Segment {
    number: u64,
    bytes: u64,
    first_index: u64,
    pub(super) runs: Vec<Run>,
    frames: u64,
}

impl Segment {
    fn end_index(&self) -> u64 {
        self.first_index + self.frames
    }

    fn push(&mut self, entry: &Entry) {
        self.bytes = entry.offset + entry.len as u64;
        self.frames += 1;
        match self.runs.last_mut() {
            Some(run) if run.boot == entry.boot && entry.seq > run.last => {
                run.last = entry.seq;
                run.frames += 1;
            }
            _ => {
                self.runs.push(Run { boot: entry.boot, first: entry.seq, last: entry.seq, frames: 1 });
            }
        }
    }
}

/// An append that failed.
#[derive(Debug)]
pub(super) struct AppendError {
    pub cause: io::Error,
    /// Whether nothing of the frame can be on disk.
    pub undone: bool,
}

#[derive(Debug)]
struct Table {
    number: u64,
    file: File,
    entries: Vec<Entry>,
}

/// The files of one spool.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    segment_bytes: u64,
    sync: bool,
    segments: VecDeque<Segment>,
    active: Option<Table>,
    cached: Option<Table>,
    next_number: u64,
    end_index: u64,
}

impl Log {
    /// Opens the segments of `dir` and hands what a walk found in each, oldest first, to `visit`.
    pub(super) fn open(
        dir: &Path,
        segment_bytes: u64,
        sync: bool,
        mut visit: impl FnMut(&Walk, bool, &File) -> io::Result<()>,
    ) -> io::Result<Self> {
        let numbers = segment_numbers(dir)?;
        let mut log = Self {
            dir: dir.to_owned(),
            segment_bytes,
            sync,
            segments: VecDeque::new(),
            active: None,
            cached: None,
            next_number: numbers.last().map_or(1, |n| n + 1),
            end_index: 0,
        };
        for number in &numbers {
            let is_last = Some(number) == numbers.last();
            let file = OpenOptions::new().read(true).write(true).open(log.path(*number))?;
            let mut walked = walk(&file, file.metadata()?.len())?;
            visit(&walked, is_last, &file)?;
            if is_last && walked.tail_bytes > 0 {
                medium::truncate(&file, walked.end)?;
            }
            let mut segment = Segment {
                number: *number,
                bytes: 0,
                first_index: log.end_index,
                runs: Vec::new(),
                frames: 0,
            };
            for entry in &mut walked.entries {
                entry.index = segment.end_index();
                segment.push(entry);
            }
            // What is damaged at the end of an inner segment still takes room.
            segment.bytes = if is_last { walked.end } else { walked.end + walked.tail_bytes };
            log.end_index = segment.end_index();
            log.segments.push_back(segment);
            if is_last {
                log.active = Some(Table { number: *number, file, entries: walked.entries });
            }
        }
        Ok(log)
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// One past the index of the newest frame.
    pub(super) fn end_index(&self) -> u64 {
        self.end_index
    }

    /// The segments' runs, oldest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.segments.iter().flat_map(|segment| &segment.runs)
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The oldest segment, unless it is the one being written.
    pub(super) fn oldest_closed(&self) -> Option<&Segment> {
        let front = self.segments.front()?;
        let is_active = self.active.as_ref().is_some_and(|active| active.number == front.number);
        (!is_active).then_some(front)
    }

    /// Writes a frame to the end under the next index or a later one.
    pub(super) fn append(&mut self, header: &Header, bytes: &[u8], index: u64) -> Result<(), AppendError> {
        let undone = |cause| AppendError { cause, undone: true };
        let follows = index == self.end_index;
        let full = |segment: &Segment| segment.bytes + bytes.len() as u64 > self.segment_bytes;
        let room = self.segments.back().is_some_and(|segment| segment.frames == 0 || !full(segment));
        if self.active.is_none() || !room || !follows {
            self.start_segment(index).map_err(undone)?;
        }
        let (Some(active), Some(segment)) = (self.active.as_mut(), self.segments.back_mut()) else {
            return Err(undone(io::Error::other("no segment is open")));
        };
        let offset = segment.bytes;
        let written = medium::write_at(&active.file, bytes, offset);
        let synced = if written.is_ok() && self.sync { medium::sync(&active.file) } else { Ok(()) };
        // After a failed sync the kernel may have forgotten what it could not write: start afresh.
        let spoilt = synced.is_err();
        if let Err(cause) = written.and(synced) {
            let undone = medium::truncate(&active.file, offset).is_ok();
            if spoilt || !undone {
                self.close_segment();
            }
            return Err(AppendError { cause, undone });
        }
        let entry = Entry::new(header, offset, index);
        segment.push(&entry);
        active.entries.push(entry);
        self.end_index = index + 1;
        Ok(())
    }

    /// Ends the segment being written; the next append starts another.
    pub(super) fn close_segment(&mut self) {
        self.cached = self.active.take();
    }

    fn start_segment(&mut self, index: u64) -> io::Result<()> {
        let number = self.next_number;
        let file = medium::create(&self.path(number))?;
        if self.sync {
            medium::sync_dir(&self.dir)?;
        }
        self.close_segment();
        self.next_number += 1;
        self.end_index = index;
        self.active = Some(Table { number, file, entries: Vec::new() });
        self.segments.push_back(Segment {
            number,
            bytes: 0,
            first_index: index,
            runs: Vec::new(),
            frames: 0,
        });
        Ok(())
    }

    /// The first frame at or behind `index`.
    pub(super) fn entry_at(&mut self, index: u64) -> io::Result<Option<Entry>> {
        let mut place = self.segments.partition_point(|segment| segment.end_index() <= index);
        while let Some(segment) = self.segments.get(place) {
            let (number, first) = (segment.number, segment.first_index);
            let at = index.saturating_sub(first) as usize;
            // A segment that was damaged since it was opened has fewer frames than it had.
            if let Some(entry) = self.table(place, number)?.entries.get(at) {
                return Ok(Some(*entry));
            }
            place += 1;
        }
        Ok(None)
    }

    /// Reads the bytes of an entry.
    pub(super) fn read(&mut self, entry: &Entry) -> io::Result<Vec<u8>> {
        let place = self.segments.partition_point(|segment| segment.end_index() <= entry.index);
        let Some(number) = self.segments.get(place).map(|segment| segment.number) else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; entry.len];
        self.table(place, number)?.file.read_exact_at(&mut bytes, entry.offset)?;
        Ok(bytes)
    }

    fn table(&mut self, place: usize, number: u64) -> io::Result<&Table> {
        let is = |table: &Option<Table>| table.as_ref().is_some_and(|table| table.number == number);
        if !is(&self.active) && !is(&self.cached) {
            let segment = &self.segments[place];
            let file = File::open(self.path(number))?;
            let mut entries = walk(&file, segment.bytes)?.entries;
            for (n, entry) in entries.iter_mut().enumerate() {
                entry.index = segment.first_index + n as u64;
            }
            self.cached = Some(Table { number, file, entries });
        }
        let table = if is(&self.active) { &self.active } else { &self.cached };
        table.as_ref().ok_or_else(|| io::Error::other("the segment's table is gone"))
    }

    /// All frames of the oldest segment.
    pub(super) fn oldest_entries(&mut self) -> io::Result<Vec<Entry>> {
        let Some(number) = self.segments.front().map(|segment| segment.number) else {
            return Ok(Vec::new());
        };
        Ok(self.table(0, number)?.entries.clone())
    }

    /// Deletes the oldest segment.
    pub(super) fn delete_oldest(&mut self) -> io::Result<()> {
        let Some(segment) = self.segments.front() else {
            return Ok(());
        };
        let number = segment.number;
        medium::remove(&self.path(number))?;
        for table in [&mut self.active, &mut self.cached] {
            if table.as_ref().is_some_and(|table| table.number == number) {
                *table = None;
            }
        }
        self.segments.pop_front();
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        segment_path(&self.dir, number)
    }
}

/// The file of segment `number`.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.{EXTENSION}"))
}

/// Numbers of the segments in `dir`, ascending.
pub(super) fn segment_numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
        if let (Some(number), Some(EXTENSION)) = (number, path.extension().and_then(|e| e.to_str())) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}
