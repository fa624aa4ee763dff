//! Gaps: every number that could not be had is counted by its cause, so that a missing sample is
//! a fact in the `self` family and never a silence.

use rustix::io::Errno;

/// Why a number is missing from a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum GapCause {
    /// The process, device or mount went away between two scans. Expected on every host.
    Vanished,
    /// The kernel refused: EACCES or EPERM.
    Denied,
    /// The file is not there: this kernel or this host lacks the feature.
    Absent,
    /// The read failed with another error, EIO for one.
    Failed,
    /// The content is shorter than its format says, or not in that format.
    Malformed,
    /// The table of open files is full, of this process or of the host: EMFILE or ENFILE.
    TooManyFiles,
    /// The scan came so late that whole intervals were skipped.
    Late,
    /// There are more entities than the sampler keeps for one family.
    Overflow,
}

impl GapCause {
    /// Every cause, in the order of the counters.
    pub const ALL: [Self; 8] = [
        Self::Vanished,
        Self::Denied,
        Self::Absent,
        Self::Failed,
        Self::Malformed,
        Self::TooManyFiles,
        Self::Late,
        Self::Overflow,
    ];

    /// The name used in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vanished => "vanished",
            Self::Denied => "denied",
            Self::Absent => "absent",
            Self::Failed => "failed",
            Self::Malformed => "malformed",
            Self::TooManyFiles => "too_many_files",
            Self::Late => "late",
            Self::Overflow => "overflow",
        }
    }
}

impl From<Errno> for GapCause {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::SRCH | Errno::NODEV | Errno::NXIO => Self::Vanished,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::NOENT | Errno::NOTDIR | Errno::OPNOTSUPP | Errno::NOSYS => Self::Absent,
            Errno::MFILE | Errno::NFILE => Self::TooManyFiles,
            _ => Self::Failed,
        }
    }
}

/// Gaps counted by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GapCounts([u64; GapCause::ALL.len()]);

impl GapCounts {
    /// Counts one gap.
    pub fn count(&mut self, cause: GapCause) {
        self.add(cause, 1);
    }

    /// Counts `n` gaps of one cause.
    pub fn add(&mut self, cause: GapCause, n: u64) {
        self.0[cause as usize] += n;
    }

    /// How many gaps of this cause there were.
    pub fn get(&self, cause: GapCause) -> u64 {
        self.0[cause as usize]
    }

    /// Gaps of every cause together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What was counted since `earlier`, a copy taken before.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = [0; GapCause::ALL.len()];
        for (i, count) in counts.iter_mut().enumerate() {
            *count = self.0[i].saturating_sub(earlier.0[i]);
        }
        Self(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_apart_and_subtract() {
        let mut counts = GapCounts::default();
        for cause in GapCause::ALL {
            counts.add(cause, cause as u64 + 1);
        }
        let before = counts;
        counts.count(GapCause::Denied);
        assert_eq!(counts.get(GapCause::Denied), 3);
        assert_eq!(counts.since(&before).total(), 1);
        assert_eq!(before.total(), 36);
    }

    #[test]
    fn errors_are_named_by_what_they_mean() {
        assert_eq!(GapCause::from(Errno::SRCH), GapCause::Vanished);
        assert_eq!(GapCause::from(Errno::ACCESS), GapCause::Denied);
        assert_eq!(GapCause::from(Errno::IO), GapCause::Failed);
        assert_eq!(GapCause::from(Errno::MFILE), GapCause::TooManyFiles);
    }
}
