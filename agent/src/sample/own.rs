//! The agent's own row in the `self` family, made from the figures its threads keep.

use std::path::Path;

use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::{Key, Slot};

use super::file::{KernelFile, Style};
use super::process::own_fd_count;
use super::process_stat::StatLayout;
use super::source::{Presence, Scan};
use super::Figures;

pub(crate) struct OwnRow {
    pub(crate) id: u16,
    /// Names of the columns the agent has a figure for.
    columns: Vec<(&'static str, usize)>,
    presence: Presence,
    slot: Option<Slot>,
    row: Vec<i64>,
    stat: KernelFile,
    layout: StatLayout,
    process_row: Vec<i64>,
    rss: usize,
    threads: usize,
    proc_root: std::path::PathBuf,
}

impl OwnRow {
    pub(crate) fn new(catalogue: &'static Catalogue) -> Option<Self> {
        let family = catalogue.family("self")?;
        let process = catalogue.family("process")?;
        let figures = Figures::default();
        let mut presence = Presence::new(family);
        let mut columns = Vec::new();
        for (at, metric) in family.metrics.iter().enumerate() {
            if figures.by_name(&metric.name).is_some() {
                columns.push((metric.name.as_str(), at));
                presence.mark(at);
            }
        }
        // The program itself is always in the real /proc, whatever tree it samples.
        let proc_root = Path::new("/proc");
        Some(Self {
            id: family.id,
            columns,
            presence,
            slot: None,
            row: vec![0; family.metrics.len()],
            stat: KernelFile::new(&proc_root.join("self/stat"), Style::Whole),
            layout: StatLayout::of(process),
            process_row: vec![0; process.metrics.len()],
            rss: process.metric_index("rss_bytes")?,
            threads: process.metric_index("threads")?,
            proc_root: proc_root.to_owned(),
        })
    }

    /// Brings the figures about the process itself up to date.
    pub(crate) fn measure(&mut self, figures: &Figures) {
        if let Ok(Some(reading)) = self.stat.read(u64::MAX / 2) {
            if self.layout.parse(reading.new, &mut self.process_row).is_some() {
                figures.rss_bytes.set(self.process_row[self.rss] as u64);
                figures.threads.set(self.process_row[self.threads] as u64);
            }
        }
        if let Ok(dir) = rustix::fs::openat(
            rustix::fs::CWD,
            &self.proc_root,
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        ) {
            figures.open_fds.set(own_fd_count(&dir).max(0) as u64);
        }
    }

    /// Hands the agent's row over.
    pub(crate) fn push(&mut self, figures: &Figures, scan: &mut Scan<'_>) {
        for (name, column) in &self.columns {
            if let Some(figure) = figures.by_name(name) {
                self.row[*column] = figure.get() as i64;
            }
        }
        self.presence.apply(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        let slot = *self.slot.get_or_insert_with(|| scan.builder.add_entity(self.id, &[Key::Text("agent")]));
        scan.builder.push(self.id, slot, &self.row);
    }
}
