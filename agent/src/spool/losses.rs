//! Giving frames up, and saying so: what is dropped is counted to the sample and reported to the
//! ledger by a frame with a number of its own, which is kept and confirmed like any other.

use std::time::Instant;

use fettle_shared::frame::{decode, seal_dropped, DroppedRange, FrameMeta, Header, Scratch};

use super::journal::Spool;
use super::walk::Entry;
use crate::handoff::Overflow;

/// Most ranges in one report.
const REPORT_RANGES: usize = 512;
/// Most reports at once; what is left is reported with the next frame.
const REPORTS: usize = 4;

impl Spool {
    /// Gives up the oldest segments until `len` more bytes fit the quota.
    pub(super) fn make_room(&mut self, len: u64) {
        if self.log.bytes() + len <= self.settings.quota {
            return;
        }
        while self.log.bytes() + len > self.settings.quota && self.log.bytes() > 0 && self.record() {
            if self.log.oldest_closed().is_none() {
                self.log.close_segment();
            }
            self.give_up_oldest();
            if self.log.delete_oldest().is_err() {
                self.counters.errors += 1;
                break;
            }
        }
        self.settle();
    }

    fn give_up_oldest(&mut self) {
        match self.log.oldest_entries() {
            Ok(entries) => {
                for entry in entries {
                    if !self.is_settled(entry.boot, entry.seq) {
                        self.give_up_entry(&entry);
                    }
                }
            }
            // Not even its headers can be read: the numbers are known, what was in them is not.
            Err(_) => {
                let runs = self.log.oldest_closed().map(|segment| segment.runs.clone()).unwrap_or_default();
                for run in runs {
                    let (boot, first_seq, last_seq) = (run.boot, run.first, run.last);
                    if !self.is_settled(boot, last_seq) {
                        self.give_up(DroppedRange { boot, first_seq, last_seq, rows: 0, samples: 0 });
                    }
                }
            }
        }
    }

    pub(super) fn give_up_entry(&mut self, entry: &Entry) {
        if entry.report {
            let bytes = self.log.read(entry).unwrap_or_default();
            self.take_over_report(&bytes);
        }
        let range = range_of(entry.boot, entry.seq, entry.rows, entry.samples);
        self.give_up(range);
    }

    pub(super) fn give_up_frame(&mut self, header: &Header, bytes: &[u8]) {
        if header.is_dropped_report() {
            self.take_over_report(bytes);
        }
        let range = range_of(header.boot, header.seq, header.rows, header.samples);
        self.give_up(range);
    }

    /// What a report said that nobody received is said again by the next one. Neighbours are put
    /// together here, so that an outage of months is still a few ranges.
    fn take_over_report(&mut self, bytes: &[u8]) {
        if let Ok(frame) = decode(bytes, &mut Scratch::default()) {
            frame.dropped.iter().for_each(|range| self.unreported.add(*range));
        }
    }

    pub(super) fn give_up(&mut self, range: DroppedRange) {
        self.counters.dropped_frames += range.last_seq - range.first_seq + 1;
        self.counters.dropped_samples += range.samples;
        self.given_up.add(range);
        self.unreported.add_apart(range);
    }

    /// Puts frames on record that found no room in the queue and so never had a number.
    pub fn note_overflow(&mut self, overflow: Overflow, now: Instant) {
        if overflow.frames > 0 {
            let first_seq = self.next_seq;
            self.next_seq += overflow.frames;
            self.give_up(DroppedRange {
                boot: self.boot,
                first_seq,
                last_seq: self.next_seq - 1,
                rows: overflow.rows,
                samples: overflow.samples,
            });
            self.report_losses(now);
        }
    }

    /// Appends frames that say what was given up.
    pub(super) fn report_losses(&mut self, now: Instant) {
        for _ in 0..REPORTS {
            if self.unreported.is_empty() {
                break;
            }
            let ranges = self.unreported.take(REPORT_RANGES);
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let mut bytes = Vec::new();
            let meta = FrameMeta { agent: self.agent.as_str(), boot: self.boot, seq: self.next_seq };
            seal_dropped(&meta, &ranges, wall.as_micros() as i64, &mut bytes);
            if !self.keep(bytes, now) {
                break;
            }
        }
    }
}

fn range_of(boot: u64, seq: u64, rows: u32, samples: u64) -> DroppedRange {
    DroppedRange { boot, first_seq: seq, last_seq: seq, rows: u64::from(rows), samples }
}
