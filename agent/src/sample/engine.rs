//! The scan engine: opens the sources, and at each tick samples the families that are due.

use std::path::PathBuf;
use std::sync::Arc;

use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::FrameBuilder;
use rustix::process::{getrlimit, Resource};

use super::cgroup::CgroupSource;
use super::component::ComponentSource;
use super::disk::DiskSource;
use super::file::Style;
use super::filesystem::FilesystemSource;
use super::hostwide::KeyedSource;
use super::interrupts::{InterruptsSource, SoftirqsSource};
use super::load::LoadSource;
use super::net_stack::NetStackSource;
use super::network::NetworkSource;
use super::own::OwnRow;
use super::pressure::PressureSource;
use super::process::ProcessSource;
use super::schedule::Schedule;
use super::sensor::SensorSource;
use super::source::{Progress, Scan, Source};
use super::stat::StatSource;
use super::{Figures, GapCause, GapCounts, Mode, SamplerSettings};
use crate::handoff::ComponentView;

/// Descriptors left to the rest of the agent: sockets, spool, logs, files that are opened briefly.
const RESERVED_FILES: usize = 64;

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
    /// A frame made here could not be read back: a fault in the program, not in the host.
    #[error("the frame of this scan cannot be read back: {cause}; please report this")]
    Frame {
        /// What the decoder said.
        cause: String,
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

impl ScanClock {
    /// Both clocks now.
    pub fn now() -> Self {
        super::clock::now()
    }
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
pub struct Sampler {
    settings: SamplerSettings,
    schedule: Schedule,
    sources: Vec<Box<dyn Source>>,
    /// Source of each entry of the schedule; `None` for the agent's own row.
    source_of: Vec<Option<usize>>,
    own: Option<OwnRow>,
    figures: Arc<Figures>,
    gaps: GapCounts,
    scans: u64,
    scratch: Vec<u8>,
    next_rediscovery_us: u64,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler")
            .field("scans", &self.scans)
            .field("gaps", &self.gaps)
            .finish_non_exhaustive()
    }
}

impl Sampler {
    /// Opens what can be opened; files that are absent become gaps, not errors.
    pub fn open(settings: SamplerSettings, catalogue: &'static Catalogue) -> Result<Self, SampleError> {
        if let Some(name) = settings.families.keys().find(|name| catalogue.family(name).is_none()) {
            return Err(SampleError::UnknownFamily { name: name.clone() });
        }
        let schedule = Schedule::new(catalogue, &settings);
        let mut sampler = Self {
            source_of: vec![None; schedule.entries.len()],
            schedule,
            sources: Vec::new(),
            own: OwnRow::new(catalogue),
            figures: Arc::default(),
            gaps: GapCounts::default(),
            scans: 0,
            scratch: vec![0; 16 * 1024],
            next_rediscovery_us: 0,
            settings,
        };
        sampler.open_sources(catalogue)?;
        Ok(sampler)
    }

    fn open_sources(&mut self, catalogue: &'static Catalogue) -> Result<(), SampleError> {
        let proc_root = self.settings.proc_root.clone();
        let sys_root = self.settings.sys_root.clone();
        let (proc, sys) = (proc_root.as_path(), sys_root.as_path());
        let keyed = |name: &str, file: &str, style| {
            Some(KeyedSource::new(&proc.join(file), style, catalogue.family(name)?))
        };
        let interval_us = self.settings.discovery_interval.as_micros() as u64;
        let processes = ProcessSource::new(proc, catalogue, self.descriptors_to_keep(), interval_us)
            .map_err(|cause| SampleError::ProcRoot { path: proc_root.clone(), cause })?;
        self.add(&["cpu", "scheduler"], StatSource::new(proc, catalogue));
        self.add(&["load"], LoadSource::new(proc, catalogue));
        self.add(&["memory"], keyed("memory", "meminfo", Style::Whole));
        self.add(&["vm"], keyed("vm", "vmstat", Style::Records));
        self.add(&["pressure"], PressureSource::new(proc, catalogue));
        self.add(&["disk"], DiskSource::new(proc, catalogue));
        self.add(&["filesystem"], FilesystemSource::new(proc, catalogue));
        self.add(&["network"], NetworkSource::new(proc, sys, catalogue));
        self.add(&["net_stack"], NetStackSource::new(proc, catalogue));
        self.add(&["interrupts"], InterruptsSource::new(proc, catalogue));
        self.add(&["softirqs"], SoftirqsSource::new(proc, catalogue));
        self.add(&["process", "process_detail"], processes);
        self.add(&["cgroup"], CgroupSource::new(proc, sys, catalogue));
        self.add(&["sensor"], SensorSource::new(sys, catalogue));
        Ok(())
    }

    /// Samples what the checks of components find, too.
    pub fn show_components(&mut self, view: ComponentView, catalogue: &'static Catalogue) {
        self.add(&["component"], ComponentSource::new(view, catalogue));
    }

    fn add(&mut self, families: &[&str], source: Option<impl Source + 'static>) {
        let Some(source) = source else { return };
        for (at, entry) in self.schedule.entries.iter().enumerate() {
            if families.contains(&entry.name) {
                self.source_of[at] = Some(self.sources.len());
            }
        }
        self.sources.push(Box::new(source));
    }

    /// What the operator allows, within what the kernel allows, less what the agent needs elsewhere.
    fn descriptors_to_keep(&self) -> usize {
        let soft = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let soft = usize::try_from(soft).unwrap_or(usize::MAX);
        self.settings.max_open_files.min(soft).saturating_sub(RESERVED_FILES)
    }

    /// Samples every family that is due at `now`.
    pub fn scan(&mut self, now: ScanClock, builder: &mut FrameBuilder) -> ScanReport {
        let before = (builder.samples(), self.gaps);
        self.scans += 1;
        self.rediscover(now, builder);
        let mut report = ScanReport::default();
        let mut counted = before.0;
        for at in 0..self.schedule.entries.len() {
            if !self.schedule.is_due(at, now.mono_us) {
                continue;
            }
            report.families += 1;
            let progress = self.sample_family(at, now, builder);
            let samples = builder.samples();
            self.schedule.note_samples(at, samples - counted);
            counted = samples;
            let skipped = self.schedule.done(at, now.mono_us, progress == Progress::More);
            self.gaps.add(GapCause::Late, skipped);
        }
        report.samples = counted - before.0;
        report.gaps = self.gaps.since(&before.1);
        report
    }

    /// Samples every family at once, whole, due or not: one scan for a person.
    pub fn scan_everything(&mut self, now: ScanClock, builder: &mut FrameBuilder) -> ScanReport {
        let before = (builder.samples(), self.gaps);
        self.scans += 1;
        let mut report = ScanReport::default();
        for at in 0..self.schedule.entries.len() {
            report.families += 1;
            while self.sample_family(at, now, builder) == Progress::More && !builder.is_full() {}
        }
        report.samples = builder.samples() - before.0;
        report.gaps = self.gaps.since(&before.1);
        report
    }

    fn sample_family(&mut self, at: usize, now: ScanClock, builder: &mut FrameBuilder) -> Progress {
        let id = self.schedule.entries[at].id;
        let Self { sources, source_of, own, gaps, scratch, figures, scans, .. } = self;
        let mut scan = Scan { builder, gaps, clock: now, number: *scans, scratch };
        match source_of[at] {
            Some(source) => sources[source].sample(id, &mut scan),
            None => {
                if let Some(own) = own.as_mut().filter(|own| own.id == id) {
                    own.push(figures, &mut scan);
                }
                Progress::Done
            }
        }
    }

    /// Every ten seconds or so devices, groups and attributes are looked at again.
    fn rediscover(&mut self, now: ScanClock, builder: &mut FrameBuilder) {
        if now.mono_us < self.next_rediscovery_us {
            return;
        }
        let first = self.next_rediscovery_us == 0;
        self.next_rediscovery_us = now.mono_us + self.settings.rediscover_interval.as_micros() as u64;
        if first {
            return; // Everything looks for itself when it is sampled first.
        }
        let Self { sources, gaps, scratch, scans, .. } = self;
        for source in sources {
            let mut scan = Scan { builder, gaps, clock: now, number: *scans, scratch };
            source.rediscover(&mut scan);
        }
    }

    /// When the next family is due, on the monotonic clock in µs.
    pub fn next_due(&self) -> u64 {
        self.schedule.next_due_us()
    }

    /// All gaps since the start.
    pub fn gaps(&self) -> &GapCounts {
        &self.gaps
    }

    /// Scans made since the start.
    pub fn scans(&self) -> u64 {
        self.scans
    }

    /// Entities of all families that are followed now.
    pub fn entities(&self) -> usize {
        self.sources.iter().map(|s| s.entities()).sum()
    }

    /// Slows families down or lets them run again.
    pub fn set_mode(&mut self, mode: Mode, mono_us: u64) {
        self.schedule.set_mode(mode, mono_us);
    }

    /// Sets the share of the target rate that is sampled in full mode.
    pub fn set_share(&mut self, share: f64) {
        self.schedule.set_share(share);
    }

    /// The mode that holds.
    pub fn mode(&self) -> Mode {
        self.schedule.mode()
    }

    /// CPU budget of the settings, in percent of one core.
    pub fn cpu_budget_percent(&self) -> f64 {
        self.settings.cpu_budget_percent
    }

    /// Sets the fast interval anew from what the scans bring. To be called once a second.
    pub fn govern(&mut self) {
        self.schedule.govern();
    }

    /// Interval of the fast families in µs.
    pub fn fast_interval_us(&self) -> u64 {
        self.schedule.fast_us()
    }

    /// Uses these figures for the `self` family, in place of a set nobody else knows.
    pub fn share_figures(&mut self, figures: Arc<Figures>) {
        self.figures = figures;
    }

    /// The figures of the `self` family.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// Brings the figures about this process up to date: memory, threads, descriptors.
    pub fn measure_self(&mut self) {
        let Self { own, figures, .. } = self;
        if let Some(own) = own {
            own.measure(figures);
        }
        self.figures.entities.set(self.entities() as u64);
        for cause in GapCause::ALL {
            self.figures.gap(cause).set(self.gaps.get(cause));
        }
    }
}
