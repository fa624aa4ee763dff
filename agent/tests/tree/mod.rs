//! A copy of a fixture tree that a test may change, and scans over it.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use fettle_agent::sample::{Sampler, SamplerSettings, ScanClock, ScanReport};
use fettle_shared::catalogue::catalogue;
use fettle_shared::frame::{decode, FrameBuilder, FrameMeta, KeyColumn, Scratch};

/// A fixture tree in a directory of its own.
pub(crate) struct Tree {
    dir: tempfile::TempDir,
}

#[allow(dead_code)]
impl Tree {
    /// A copy of `tests/fixtures/NAME`.
    pub(crate) fn copy(name: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&from, dir.path());
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Every file of the tree.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files.sort();
        files
    }

    pub(crate) fn settings(&self) -> SamplerSettings {
        SamplerSettings {
            proc_root: self.path("proc"),
            sys_root: self.path("sys"),
            ..SamplerSettings::default()
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A sampler with a clock that the test moves.
pub(crate) struct Bench {
    pub(crate) sampler: Sampler,
    pub(crate) builder: FrameBuilder,
    pub(crate) clock: ScanClock,
    out: Vec<u8>,
}

/// One entity's last values in a frame: family, key, metric, value.
pub(crate) type Sample = (String, String, String, i64);

#[allow(dead_code)]
impl Bench {
    pub(crate) fn new(settings: SamplerSettings) -> Self {
        Self {
            sampler: Sampler::open(settings, catalogue()).unwrap(),
            builder: FrameBuilder::new(catalogue()),
            clock: ScanClock { wall_us: 1_700_000_000_000_000, mono_us: 1_000_000 },
            out: Vec::new(),
        }
    }

    /// Moves the clock and samples what is due.
    pub(crate) fn scan_after(&mut self, us: u64) -> ScanReport {
        self.clock.mono_us += us;
        self.clock.wall_us += us as i64;
        self.sampler.scan(self.clock, &mut self.builder)
    }

    /// Seals the frame and gives what is in it.
    pub(crate) fn seal(&mut self) -> Vec<Sample> {
        self.builder.seal(&FrameMeta { agent: "test", boot: 1, seq: 1 }, &mut self.out);
        samples(&self.out)
    }
}

/// Every entity's last row in a frame.
pub(crate) fn samples(bytes: &[u8]) -> Vec<Sample> {
    let mut scratch = Scratch::default();
    let frame = decode(bytes, &mut scratch).expect("a frame of the sampler is sound");
    let mut all = Vec::new();
    for block in &frame.blocks {
        let family = catalogue().family_by_id(block.family).unwrap();
        let mut run = 0;
        for (entity, runs) in block.entity_runs.iter().enumerate() {
            run += *runs as usize;
            let parts: Vec<String> = block
                .keys
                .iter()
                .map(|key| match key {
                    KeyColumn::Int(n) => n[entity].to_string(),
                    KeyColumn::Text(t) => t[entity].to_owned(),
                })
                .collect();
            for (at, id) in block.metrics.iter().enumerate() {
                let metric = &family.metrics[family.metric_index_by_id(*id).unwrap()];
                let value = block.column(at)[run - 1];
                all.push((family.name.clone(), parts.join("|"), metric.name.clone(), value));
            }
        }
    }
    all
}

/// The value of one metric of one entity.
#[allow(dead_code)]
pub(crate) fn value(all: &[Sample], family: &str, key: &str, metric: &str) -> Option<i64> {
    all.iter().find(|s| s.0 == family && s.1 == key && s.2 == metric).map(|s| s.3)
}

/// The keys of a family's entities.
#[allow(dead_code)]
pub(crate) fn keys(all: &[Sample], family: &str) -> Vec<String> {
    let mut keys: Vec<String> = all.iter().filter(|s| s.0 == family).map(|s| s.1.clone()).collect();
    keys.dedup();
    keys
}
