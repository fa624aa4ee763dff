//! Reading frames back to publish them, from the disk or from memory, checked once more.

use std::time::Instant;

use bytes::Bytes;
use fettle_shared::frame::{verify, Header};

use super::journal::Spool;
use crate::handoff::{Batch, Outgoing, ReadRequest, SpoolView};

/// How often a frame that cannot be read is tried again before it is given up.
const READ_ATTEMPTS: u32 = 5;

impl Spool {
    /// What there is to publish.
    pub fn view(&self) -> SpoolView {
        // A held frame that a restart would number again must not be seen before it is on disk.
        let barred = self.pending.iter().find(|held| held.header.boot == self.recorded.boot);
        let end = barred.map_or(self.end, |held| held.index);
        SpoolView { oldest: self.oldest.min(end), end }
    }

    /// Reads frames that are not settled.
    pub fn read(&mut self, request: ReadRequest, now: Instant) -> Batch {
        let end = self.view().end.min(request.to.saturating_add(1));
        let mut batch = Batch { frames: Vec::new(), next: request.from.max(self.oldest) };
        let mut bytes_left = request.bytes;
        while batch.next < end && batch.frames.len() < request.frames {
            let Some(found) = self.frame_at(batch.next, now) else {
                break;
            };
            let frame = match found {
                Found::Frame(frame) => frame,
                Found::Skip(next) => {
                    batch.next = next;
                    continue;
                }
            };
            if frame.index >= end || (frame.bytes.len() > bytes_left && !batch.frames.is_empty()) {
                break;
            }
            bytes_left = bytes_left.saturating_sub(frame.bytes.len());
            batch.next = frame.index + 1;
            batch.frames.push(frame);
        }
        batch
    }

    fn frame_at(&mut self, index: u64, now: Instant) -> Option<Found> {
        let entry = match self.log.entry_at(index) {
            Ok(Some(entry)) => entry,
            Ok(None) => return Some(self.held_at(index)),
            Err(_) => {
                self.counters.errors += 1;
                return None;
            }
        };
        if self.is_settled(entry.boot, entry.seq) {
            return Some(Found::Skip(entry.index + 1));
        }
        let bytes = match self.log.read(&entry) {
            Ok(bytes) => bytes,
            Err(_) => {
                self.counters.errors += 1;
                let attempts = if self.unreadable.0 == entry.index { self.unreadable.1 + 1 } else { 1 };
                self.unreadable = (entry.index, attempts);
                if attempts < READ_ATTEMPTS {
                    return None;
                }
                Vec::new()
            }
        };
        match verify(&bytes) {
            Ok(header) if header.boot == entry.boot && header.seq == entry.seq => {
                Some(Found::Frame(outgoing(entry.index, &header, bytes.into())))
            }
            _ => {
                self.give_up_entry(&entry);
                self.report_losses(now);
                Some(Found::Skip(entry.index + 1))
            }
        }
    }

    fn held_at(&self, index: u64) -> Found {
        match self.pending.at(index) {
            Some(held) if self.is_settled(held.header.boot, held.header.seq) => Found::Skip(held.index + 1),
            Some(held) => Found::Frame(outgoing(held.index, &held.header, held.bytes.clone())),
            None => Found::Skip(self.end),
        }
    }
}

enum Found {
    Frame(Outgoing),
    /// Nothing to send before this index.
    Skip(u64),
}

fn outgoing(index: u64, header: &Header, bytes: Bytes) -> Outgoing {
    Outgoing { index, agent: header.agent, boot: header.boot, seq: header.seq, bytes }
}
