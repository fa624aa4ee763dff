//! What the sampler is told: where the kernel's files are, how fast to go, what each family may
//! override. Settled values only; the configuration file is read and validated elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the sampler needs to know, validated by the caller.
#[derive(Debug, Clone)]
pub struct SamplerSettings {
    /// Root of the proc file system, `/proc` but in tests.
    pub proc_root: PathBuf,
    /// Root of the sys file system, `/sys` but in tests.
    pub sys_root: PathBuf,
    /// What differs from the catalogue, by family name. Families not named run at their own pace.
    pub families: BTreeMap<String, FamilyOverride>,
    /// Most descriptors the sampler keeps open between scans; what does not fit is opened each time.
    pub max_open_files: usize,
    /// Metrics per second to aim for over all families.
    pub target_rate: f64,
    /// CPU the whole agent may use, in percent of one core.
    pub cpu_budget_percent: f64,
    /// How often /proc is listed to find new processes.
    pub discovery_interval: Duration,
    /// How often devices, mounts, cgroups and sensors are looked for.
    pub rediscover_interval: Duration,
}

impl Default for SamplerSettings {
    fn default() -> Self {
        Self {
            proc_root: PathBuf::from("/proc"),
            sys_root: PathBuf::from("/sys"),
            families: BTreeMap::new(),
            max_open_files: 4096,
            target_rate: 100_000.0,
            cpu_budget_percent: 2.0,
            discovery_interval: Duration::from_millis(500),
            rediscover_interval: Duration::from_secs(10),
        }
    }
}

/// What an operator changes about one family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FamilyOverride {
    /// `Some(false)` turns the family off.
    pub enabled: Option<bool>,
    /// An interval of its own in place of the catalogue's pace.
    pub interval: Option<Duration>,
}
