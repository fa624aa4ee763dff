//! What every benchmark is told: for how long, where state and results go.

use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::TempDir;

/// Flags that all benchmarks share.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Seconds to measure [default: 60; record 300, ingest 180, soak 1800, calm 3600].
    #[arg(long)]
    seconds: Option<u64>,
    /// Directory of the results.
    #[arg(long, value_name = "DIR", default_value = "benchmarks/results")]
    pub(crate) results: PathBuf,
    /// Directory below which state is kept while a benchmark runs; it should be on a disk.
    #[arg(long, value_name = "DIR", env = "FETTLE_BENCH_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Leave state and logs behind, for a look.
    #[arg(long)]
    pub(crate) keep: bool,
}

impl Settings {
    /// Seconds to measure, this many if nothing was said.
    pub(crate) fn seconds_or(&self, default: u64) -> u64 {
        self.seconds.unwrap_or(default).max(1)
    }

    /// A fresh directory for state. It is removed at the end unless `--keep` was given.
    pub(crate) fn state(&self) -> anyhow::Result<State> {
        let base = self.state.clone().unwrap_or_else(|| crate::child::cache_directory().join("bench"));
        std::fs::create_dir_all(&base)?;
        let base = std::fs::canonicalize(base)?;
        let mut directory = tempfile::Builder::new().prefix("run-").tempdir_in(base)?;
        directory.disable_cleanup(self.keep);
        Ok(State(directory))
    }
}

/// State of one run.
#[derive(Debug)]
pub(crate) struct State(TempDir);

impl State {
    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The median; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// All bytes below a directory, as the files say (not the blocks they take).
pub(crate) fn bytes_below(directory: &Path) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        sum += match kind.is_dir() {
            true => bytes_below(&entry.path()),
            false => entry.metadata().map_or(0, |metadata| metadata.len()),
        };
    }
    sum
}
