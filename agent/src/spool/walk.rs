//! Walks a segment file header by header: what is intact, and where something is damaged.
//!
//! A record *is* a sealed frame: its header carries the length, the numbers, the counts and two
//! checksums, so the spool adds nothing and a segment file is simply frames one after another. A
//! header is checked by its own checksum, so its length can be trusted even when its payload
//! cannot; payloads are checked when they are read to be published. Where no header stands, the
//! walk looks for the next one. Rejected: an index file, which is one more thing to be torn.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use fettle_shared::frame::{AgentName, FrameError, Header};

/// First bytes of every frame, to find the next one behind damage.
const MAGIC: &[u8] = b"FTLE";
/// Headers are read this far apart at least, so a look-ahead pays only for small frames.
const WINDOW: usize = 4096;

/// One frame in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Place in the spool as a whole; set by the log.
    pub index: u64,
    /// Where in the file.
    pub offset: u64,
    /// Bytes of the frame.
    pub len: usize,
    /// Boot.
    pub boot: u64,
    /// Sequence number.
    pub seq: u64,
    /// Rows.
    pub rows: u32,
    /// Samples.
    pub samples: u64,
    /// Whether it reports dropped frames.
    pub report: bool,
}

impl Entry {
    /// The entry of a frame with this header.
    pub(super) fn new(header: &Header, offset: u64, index: u64) -> Self {
        Self {
            index,
            offset,
            len: header.frame_len(),
            boot: header.boot,
            seq: header.seq,
            rows: header.rows,
            samples: header.samples,
            report: header.is_dropped_report(),
        }
    }
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// With its last frame.
    Clean,
    /// With a frame that was being written: its first part, or less than a header.
    Torn,
    /// With bytes that were never the beginning of a frame, or are no longer.
    Garbage,
}

/// What a walk found.
#[derive(Debug)]
pub(super) struct Walk {
    /// Frames with an intact header and all their bytes there.
    pub entries: Vec<Entry>,
    /// Whose frames these are; a name is repeated only where another came in between.
    pub agents: Vec<AgentName>,
    /// Positions in `entries` before which bytes had to be skipped.
    pub damage_before: Vec<usize>,
    /// Bytes skipped between frames.
    pub skipped: u64,
    /// End of the last frame.
    pub end: u64,
    /// Bytes behind it.
    pub tail_bytes: u64,
    /// What these are.
    pub tail: Tail,
}

/// Walks the first `len` bytes of `file`.
pub(super) fn walk(file: &File, len: u64) -> io::Result<Walk> {
    let mut found = Walk {
        entries: Vec::new(),
        agents: Vec::new(),
        damage_before: Vec::new(),
        skipped: 0,
        end: 0,
        tail_bytes: 0,
        tail: Tail::Clean,
    };
    let mut reader = Window { file, len, start: 0, bytes: Vec::new() };
    let mut offset = 0;
    while offset < len {
        match Header::parse(reader.at(offset)?) {
            Ok(header) if offset + header.frame_len() as u64 <= len => {
                found.entries.push(Entry::new(&header, offset, 0));
                if found.agents.last() != Some(&header.agent) {
                    found.agents.push(header.agent);
                }
                offset += header.frame_len() as u64;
                found.end = offset;
                continue;
            }
            Ok(_) => found.tail = Tail::Torn,
            Err(FrameError::ShortHeader { .. }) => found.tail = Tail::Torn,
            Err(_) => found.tail = Tail::Garbage,
        }
        match next_header(file, offset + 1, len)? {
            Some(next) => {
                found.skipped += next - offset;
                found.damage_before.push(found.entries.len());
                found.tail = Tail::Clean;
                offset = next;
            }
            None => break,
        }
    }
    found.tail_bytes = len - found.end;
    Ok(found)
}

/// Offset of the next intact header at or behind `from`. Only damage leads here, so it may be slow.
fn next_header(file: &File, from: u64, len: u64) -> io::Result<Option<u64>> {
    let mut rest = vec![0; len.saturating_sub(from) as usize];
    file.read_exact_at(&mut rest, from)?;
    let mut at = 0;
    while let Some(step) = rest[at..].windows(MAGIC.len()).position(|window| window == MAGIC) {
        at += step;
        if Header::parse(&rest[at..]).is_ok() {
            return Ok(Some(from + at as u64));
        }
        at += 1;
    }
    Ok(None)
}

/// Reads headers through a small window: one call serves many small frames.
struct Window<'a> {
    file: &'a File,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The bytes from `offset` on: at least a header, or what is left of the file.
    fn at(&mut self, offset: u64) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        let need = (Header::LEN as u64).min(self.len - offset);
        if offset < self.start || offset + need > end {
            let take = (self.len - offset).min(WINDOW as u64) as usize;
            self.bytes.resize(take, 0);
            self.file.read_exact_at(&mut self.bytes, offset)?;
            self.start = offset;
        }
        Ok(&self.bytes[(offset - self.start) as usize..])
    }
}
