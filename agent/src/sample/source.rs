//! What a source of samples is to the engine, and the pieces most sources share: the scan they
//! work in, which columns this host has, and the single row of a family about the host as a whole.

use fettle_shared::catalogue::Family;
use fettle_shared::frame::{FrameBuilder, Slot};

use super::file::{KernelFile, Reading};
use super::{GapCause, GapCounts, ScanClock};

/// One scan, as a source sees it.
pub(crate) struct Scan<'a> {
    pub(crate) builder: &'a mut FrameBuilder,
    pub(crate) gaps: &'a mut GapCounts,
    pub(crate) clock: ScanClock,
    /// Number of this scan since the start; two families of one source share a read by it.
    pub(crate) number: u64,
    /// A buffer for files that are not kept open.
    pub(crate) scratch: &'a mut Vec<u8>,
}

impl Scan<'_> {
    /// Reads a kept file; a failure is counted and gives `None`.
    pub(crate) fn read<'f>(&mut self, file: &'f mut KernelFile) -> Option<Reading<'f>> {
        match file.read(self.clock.mono_us) {
            Ok(reading) => reading,
            Err(cause) => {
                self.gaps.count(cause);
                None
            }
        }
    }
}

/// Whether a source is done with a family or wants the next tick to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    More,
}

/// Where samples come from. One source may serve several families that share files.
pub(crate) trait Source: Send {
    /// Takes one scan of a family into the builder.
    fn sample(&mut self, family: u16, scan: &mut Scan<'_>) -> Progress;

    /// Looks for devices, mounts and groups that came; called every ten seconds or so.
    fn rediscover(&mut self, _scan: &mut Scan<'_>) {}

    /// Entities followed now.
    fn entities(&self) -> usize {
        0
    }
}

/// Which columns of a family this host has.
#[derive(Debug)]
pub(crate) struct Presence {
    family: u16,
    flags: Vec<bool>,
    stale: bool,
}

impl Presence {
    /// Required columns are there, optional ones not yet.
    pub(crate) fn new(family: &Family) -> Self {
        let flags = family.metrics.iter().map(|m| !m.optional).collect();
        Self { family: family.id, flags, stale: true }
    }

    /// Says that the host has a column.
    pub(crate) fn mark(&mut self, column: usize) {
        if let Some(flag) = self.flags.get_mut(column).filter(|f| !**f) {
            *flag = true;
            self.stale = true;
        }
    }

    /// Tells the builder, at the start of a frame only: a column that turned up in the middle of one
    /// would show values it never had in the scans before.
    pub(crate) fn apply(&mut self, builder: &mut FrameBuilder) {
        if self.stale && builder.scans(self.family) == 0 {
            builder.set_present(self.family, &self.flags);
            self.stale = false;
        }
    }

    pub(crate) fn flags(&self) -> &[bool] {
        &self.flags
    }
}

/// The one row of a family about the host as a whole.
#[derive(Debug)]
pub(crate) struct HostRow {
    family: u16,
    slot: Option<Slot>,
    pub(crate) row: Vec<i64>,
    pub(crate) presence: Presence,
    /// Whether `row` changed since it was last handed over.
    pub(crate) fresh: bool,
}

impl HostRow {
    pub(crate) fn new(family: &Family) -> Self {
        Self {
            family: family.id,
            slot: None,
            row: vec![0; family.metrics.len()],
            presence: Presence::new(family),
            fresh: true,
        }
    }

    /// Hands the row to the builder as this scan's.
    pub(crate) fn push(&mut self, scan: &mut Scan<'_>) {
        self.presence.apply(scan.builder);
        scan.builder.begin_scan(self.family, scan.clock.wall_us);
        match self.slot {
            Some(slot) if !self.fresh => scan.builder.repeat(self.family, slot),
            Some(slot) => scan.builder.push(self.family, slot, &self.row),
            None => {
                let slot = scan.builder.add_entity(self.family, &[]);
                self.slot = Some(slot);
                scan.builder.push(self.family, slot, &self.row);
            }
        }
        self.fresh = false;
    }

    /// Counts a gap for every required column among `columns` that is missing.
    pub(crate) fn count_missing(&self, found: &[bool], gaps: &mut GapCounts) {
        let missing = self.presence.flags().iter().zip(found).filter(|(want, have)| **want && !**have);
        gaps.add(GapCause::Absent, missing.count() as u64);
    }
}

/// Position of a metric that the catalogue is known to have.
pub(crate) fn column(family: &Family, name: &str) -> usize {
    family.metric_index(name).unwrap_or_else(|| panic!("the catalogue has no {}.{name}", family.name))
}
