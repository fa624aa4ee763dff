//! What the spool is told. Settled values; the configuration is read elsewhere.

use std::path::PathBuf;

/// What a write must outlive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of the agent: the kernel has the bytes.
    #[default]
    Process,
    /// The loss of power: the disk has the bytes (`fdatasync` for every frame).
    Power,
}

impl Durability {
    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Power => "power",
        }
    }
}

/// Everything a spool needs to know.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Where its files are.
    pub dir: PathBuf,
    /// Most bytes on disk.
    pub quota: u64,
    /// Bytes of one segment file; what is confirmed is freed in such steps.
    pub segment: u64,
    /// Most bytes of frames held in memory while the disk refuses them.
    pub memory: usize,
    /// What a write must outlive.
    pub durability: Durability,
}

impl SpoolSettings {
    /// The default settings for a directory: 1 GiB in segments of 4 MiB.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            quota: 1 << 30,
            segment: 4 << 20,
            memory: 8 << 20,
            durability: Durability::Process,
        }
    }

    /// Bytes of a segment, small enough that giving one up leaves most of the quota in use.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment.min(self.quota / 8).max(4096)
    }
}
