//! The programs of a second: what each process takes, from the catalogue by name.

use fettle_shared::catalogue::Catalogue;

use super::look::{entities, mean, place, sum, Place, Which};
use crate::detect::host::{ProgramsMatter, Running};
use crate::second::{EntitySecond, HostSecond, KeyValue};

/// Share of the host's processors that matters of one program; of few processors, [`LEAST_CORES`].
const CORES_SHARE: f32 = 0.01;
const LEAST_CORES: f32 = 0.03;
/// Share of the host's memory that matters of one program.
const MEMORY_SHARE: f32 = 0.01;
/// Ticks of a processor in a second: `USER_HZ`, which is 100 for all programs whatever the kernel uses itself.
const TICKS: f64 = 100.0;

/// Where the catalogue has what is asked.
#[derive(Debug, Clone)]
pub(super) struct ProgramPlaces {
    /// Processor time in user and in kernel mode, and resident memory.
    process: [Place; 3],
    /// Position of the name among a process's keys.
    comm: usize,
    total: Place,
    processor: Place,
}

impl ProgramPlaces {
    /// The places; none when the catalogue has no processes.
    pub fn of(catalogue: &Catalogue) -> Option<Self> {
        let process = [
            place(catalogue, "process.utime_ticks")?,
            place(catalogue, "process.stime_ticks")?,
            place(catalogue, "process.rss_bytes")?,
        ];
        let keys = &catalogue.families[process[0].family].entity;
        Some(Self {
            process,
            comm: keys.iter().position(|key| key.name == "comm")?,
            total: place(catalogue, "memory.total_bytes")?,
            processor: place(catalogue, "cpu.user_ticks")?,
        })
    }

    /// What matters on this host.
    pub fn matter(&self, second: &HostSecond) -> ProgramsMatter {
        // One of them is the sum.
        let processors = entities(second, self.processor.family, Which::All).count().saturating_sub(1);
        ProgramsMatter { cores: LEAST_CORES.max(CORES_SHARE * processors as f32), memory: MEMORY_SHARE }
    }

    /// Its processes.
    pub fn running<'a>(&'a self, second: &'a HostSecond) -> impl Iterator<Item = Running<'a>> {
        let total = sum(second, self.total, Which::All).unwrap_or(f64::NAN);
        let [user, system, resident] = self.process;
        entities(second, user.family, Which::All).filter_map(move |one| {
            let cores = mean(one, user.metric)
                .zip(mean(one, system.metric))
                .map_or(f64::NAN, |(user, system)| (user + system) / TICKS);
            let memory = mean(one, resident.metric).map_or(f64::NAN, |bytes| bytes / total);
            Some(Running { comm: self.comm(one)?, cores: cores as f32, memory: memory as f32 })
        })
    }

    fn comm<'a>(&self, one: &'a EntitySecond) -> Option<&'a str> {
        match one.key.get(self.comm)? {
            KeyValue::Text(text) => Some(text),
            KeyValue::Int(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;

    #[test]
    fn the_catalogue_has_what_is_asked() {
        let places = ProgramPlaces::of(catalogue()).unwrap();
        assert_eq!(places.comm, 2);
    }
}
