//! Frames the disk would not take, in memory, bounded, in order.

use std::collections::VecDeque;

use bytes::Bytes;
use fettle_shared::frame::Header;

/// One frame that is held.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Place in the spool as a whole.
    pub index: u64,
    /// Its header.
    pub header: Header,
    /// All of it, header included.
    pub bytes: Bytes,
}

/// The held frames, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    frames: VecDeque<Held>,
    bytes: usize,
}

impl Pending {
    /// Holds another frame.
    pub(super) fn push(&mut self, held: Held) {
        self.bytes += held.bytes.len();
        self.frames.push_back(held);
    }

    /// Lets the oldest go.
    pub(super) fn pop(&mut self) -> Option<Held> {
        let held = self.frames.pop_front()?;
        self.bytes -= held.bytes.len();
        Some(held)
    }

    /// The oldest.
    pub(super) fn front(&self) -> Option<&Held> {
        self.frames.front()
    }

    /// The first at or behind `index`.
    pub(super) fn at(&self, index: u64) -> Option<&Held> {
        self.frames.get(self.frames.partition_point(|held| held.index < index))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.frames.iter()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many frames.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether none is held.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}
