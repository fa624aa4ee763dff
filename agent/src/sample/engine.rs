//! The scan engine: which families are due, and one scan over them.

use std::path::PathBuf;

use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::FrameBuilder;

use super::{GapCounts, Mode, SamplerSettings};

/// Why the sampler cannot start. Once it runs, trouble is a counted gap, never an error.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The proc file system is not where it should be.
    #[error("cannot open {path}: {cause}; mount proc there or set the right proc root")]
    ProcRoot {
        /// The root that was tried.
        path: PathBuf,
        /// What the kernel said.
        cause: rustix::io::Errno,
    },
    /// A family is named that the catalogue does not have.
    #[error("there is no family {name:?}; `fettle metrics list` prints the families there are")]
    UnknownFamily {
        /// The name that was given.
        name: String,
    },
    /// The timer of the scan thread could not be made or read.
    #[error("the scan timer failed: {cause}; check that the kernel has timerfd and descriptors are left")]
    Timer {
        /// What the kernel said.
        cause: rustix::io::Errno,
    },
}

/// The time of a scan, handed in so that the engine itself never asks a clock for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanClock {
    /// Wall clock, µs since the epoch.
    pub wall_us: i64,
    /// Monotonic clock, µs.
    pub mono_us: u64,
}

/// What one call of [`Sampler::scan`] did.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanReport {
    /// Metric values written.
    pub samples: u64,
    /// Families that were due.
    pub families: u32,
    /// Gaps of this scan by cause.
    pub gaps: GapCounts,
}

/// Samples one host.
#[derive(Debug)]
pub struct Sampler {
    gaps: GapCounts,
}

impl Sampler {
    /// Opens what can be opened; files that are absent become gaps, not errors.
    pub fn open(_settings: SamplerSettings, _catalogue: &'static Catalogue) -> Result<Self, SampleError> {
        Ok(Self { gaps: GapCounts::default() })
    }

    /// Samples every family that is due at `now`.
    pub fn scan(&mut self, _now: ScanClock, _builder: &mut FrameBuilder) -> ScanReport {
        ScanReport::default()
    }

    /// When the next family is due, on the monotonic clock in µs.
    pub fn next_due(&self) -> u64 {
        0
    }

    /// All gaps since the start.
    pub fn gaps(&self) -> &GapCounts {
        &self.gaps
    }

    /// Slows families down or lets them run again.
    pub fn set_mode(&mut self, _mode: Mode) {}
}
