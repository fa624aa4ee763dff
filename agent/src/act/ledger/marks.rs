//! The highest generation a second time: two slots written in turn, so that one of them is always whole.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{fallocate, FallocateFlags};
use xxhash_rust::xxh3::xxh3_64;

use crate::act::ActError;

/// Each slot on a sector of its own.
const SLOT: u64 = 4096;
/// Turn, generation, floor, checksum.
const BYTES: usize = 32;

/// The file.
#[derive(Debug)]
pub(super) struct Marks {
    file: File,
    path: PathBuf,
    turn: u64,
}

impl Marks {
    /// Opens it; gives the newest whole slot's generation and floor.
    pub(super) fn open(dir: &Path) -> Result<(Self, Option<(u64, i64)>), ActError> {
        let path = dir.join("marks");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(|cause| ActError::Ledger {
            what: "opened",
            path: path.clone(),
            cause,
        })?;
        // Room for both slots, so that the mark can be raised on a full disk.
        let _ = fallocate(&file, FallocateFlags::empty(), 0, 2 * SLOT);
        let slots: Vec<(u64, u64, i64)> = (0..2).filter_map(|slot| read(&file, slot)).collect();
        let turn = slots.iter().map(|slot| slot.0).max().unwrap_or(0);
        let high = slots.iter().map(|slot| slot.1).max();
        let floor_us = slots.iter().map(|slot| slot.2).max();
        Ok((Self { file, path, turn }, high.zip(floor_us)))
    }

    /// Writes the older slot and waits until the disk has it.
    pub(super) fn write(&mut self, high: u64, floor_us: i64) -> Result<(), ActError> {
        let turn = self.turn.wrapping_add(1);
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&turn.to_le_bytes());
        bytes[8..16].copy_from_slice(&high.to_le_bytes());
        bytes[16..24].copy_from_slice(&floor_us.to_le_bytes());
        let sum = xxh3_64(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        let written = self.file.write_all_at(&bytes, turn % 2 * SLOT).and_then(|()| self.file.sync_data());
        written.map_err(|cause| ActError::Ledger { what: "written", path: self.path.clone(), cause })?;
        self.turn = turn;
        Ok(())
    }
}

fn read(file: &File, slot: u64) -> Option<(u64, u64, i64)> {
    let mut bytes = [0; BYTES];
    file.read_exact_at(&mut bytes, slot * SLOT).ok()?;
    let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    // A slot of zeros has not been written.
    let is_whole = word(24)? == xxh3_64(&bytes[..24]) && word(0)? > 0;
    is_whole.then_some((word(0)?, word(8)?, word(16)? as i64))
}
