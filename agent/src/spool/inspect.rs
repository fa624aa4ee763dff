//! Looking into a spool from outside, without taking it: for `fettle-agent spool`.

use std::fs::File;
use std::io;
use std::path::Path;

use fettle_shared::frame::Header;
use serde::Serialize;
use std::os::unix::fs::FileExt;

use super::log::{segment_numbers, segment_path};
use super::state::StateFile;
use super::walk::{walk, Tail, Walk};
use super::SpoolError;

/// A spool at one glance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpoolStatus {
    /// The agent it belongs to.
    pub agent: Option<String>,
    /// The boot a restart continues, in hexadecimal.
    pub boot: Option<String>,
    /// Highest confirmed number of that boot.
    pub stored_seq: u64,
    /// Segment files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames on disk.
    pub frames: u64,
    /// Frames not known to be confirmed (the file's state may be some seconds old).
    pub unconfirmed_frames: u64,
    /// Samples in these.
    pub unconfirmed_samples: u64,
    /// Earliest time in any frame, µs since 1970 UTC.
    pub first_us: Option<i64>,
    /// Latest time.
    pub last_us: Option<i64>,
    /// Bytes that are not frames: damage, or a write cut short.
    pub damaged_bytes: u64,
}

/// One frame of a spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedFrame {
    /// Segment file number.
    pub segment: u64,
    /// Offset in it.
    pub offset: u64,
    /// Whose frame.
    pub agent: String,
    /// Boot, in hexadecimal.
    pub boot: String,
    /// Sequence number.
    pub seq: u64,
    /// Earliest scan, µs since 1970 UTC.
    pub first_us: i64,
    /// Latest scan, µs since 1970 UTC.
    pub last_us: i64,
    /// Rows.
    pub rows: u32,
    /// Samples.
    pub samples: u64,
    /// Bytes.
    pub bytes: u64,
    /// Whether it reports dropped frames instead of samples.
    pub reports_drops: bool,
    /// Whether the collector has confirmed it, as far as the state file knows.
    pub confirmed: bool,
}

/// Sums up the spool in `dir`.
pub fn status(dir: &Path) -> Result<SpoolStatus, SpoolError> {
    let mut status = SpoolStatus::default();
    let state = StateFile::peek(dir).map_err(|cause| unusable(dir, cause))?;
    if let Some(state) = &state {
        status.agent = Some(state.agent.to_string());
        status.boot = Some(format!("{:016x}", state.boot));
        let mark = state.watermarks.iter().find(|(boot, _)| *boot == state.boot);
        status.stored_seq = mark.map_or(0, |(_, upto)| *upto);
    }
    let damage = visit(dir, |frame| {
        status.frames += 1;
        if !frame.confirmed {
            status.unconfirmed_frames += 1;
            status.unconfirmed_samples += frame.samples;
        }
        status.first_us = Some(status.first_us.map_or(frame.first_us, |t| t.min(frame.first_us)));
        status.last_us = Some(status.last_us.map_or(frame.last_us, |t| t.max(frame.last_us)));
    })?;
    (status.segments, status.bytes, status.damaged_bytes) = damage;
    Ok(status)
}

/// Hands every frame of the spool in `dir` to `each`, oldest first.
pub fn list(dir: &Path, each: impl FnMut(ListedFrame)) -> Result<(), SpoolError> {
    visit(dir, each).map(|_| ())
}

fn unusable(dir: &Path, cause: io::Error) -> SpoolError {
    SpoolError::Unusable { path: dir.to_owned(), cause }
}

fn visit(dir: &Path, mut each: impl FnMut(ListedFrame)) -> Result<(u64, u64, u64), SpoolError> {
    let fail = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => SpoolError::Absent { path: dir.to_owned() },
        _ => unusable(dir, cause),
    };
    let numbers = segment_numbers(dir).map_err(fail)?;
    let marks = StateFile::peek(dir).map_err(fail)?.map(|state| state.watermarks).unwrap_or_default();
    let (mut bytes, mut damaged) = (0, 0);
    for number in &numbers {
        let file = match File::open(segment_path(dir, *number)) {
            // A running agent has just freed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(fail)?,
        };
        let len = file.metadata().map_err(fail)?.len();
        let walked: Walk = walk(&file, len).map_err(fail)?;
        bytes += len;
        damaged += walked.skipped + if walked.tail == Tail::Clean { 0 } else { walked.tail_bytes };
        for entry in &walked.entries {
            let mut head = [0; Header::LEN];
            file.read_exact_at(&mut head, entry.offset).map_err(fail)?;
            let Ok(header) = Header::parse(&head) else {
                continue;
            };
            each(ListedFrame {
                segment: *number,
                offset: entry.offset,
                agent: header.agent.to_string(),
                boot: format!("{:016x}", header.boot),
                seq: header.seq,
                first_us: header.first_us,
                last_us: header.last_us,
                rows: header.rows,
                samples: header.samples,
                bytes: entry.len as u64,
                reports_drops: header.is_dropped_report(),
                confirmed: marks.iter().any(|(boot, upto)| *boot == header.boot && header.seq <= *upto),
            });
        }
    }
    Ok((numbers.len() as u64, bytes, damaged))
}
