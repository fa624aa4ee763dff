//! Reads what a look ahead needs from ClickHouse, some hosts at a time, as tracks.

use std::collections::HashMap;

use fettle_analysis::outlook::{columns, ComponentTracks, HostHistory, HostTracks, Scale, Track};

use crate::handoff::Level;
use crate::store::{Growing, Store, StoreError, TrackQuestion};

/// Step of the fine tracks and how far they go back, in seconds.
pub(super) const STEP_S: u32 = 10;
const FINE_S: u32 = 3_600;
/// Of the coarse ones.
const COARSE_S: (u32, u32) = (60, 6 * 3_600);
/// Of those that show weeks.
const FAR_S: (u32, u32) = (3_600, 14 * 86_400);
/// How far back raw rows are read while there are too few roll-ups.
const RAW_S: u32 = 300;
/// Steps of fine tracks from which on they suffice.
const SUFFICE: usize = 30;
/// How far back a process's growth is looked at on the fine scale.
const PROCESS_S: u32 = 1_200;
/// Growing processes of a host that are looked at.
const PROCESSES: usize = 30;
/// What a process must have grown by to be looked at.
const LEAST_BYTES: f64 = 4e6;
const LEAST_DESCRIPTORS: f64 = 20.0;

/// Tracks by host.
pub(super) type ByHost = HashMap<String, Vec<Track>>;

/// Reads for some hosts at one moment.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub store: &'a Store,
    pub hosts: &'a [String],
    /// The moment, seconds since 1970.
    pub now: u32,
}

/// How a family is read.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub level: Option<Level>,
    pub step_s: u32,
    pub from: u32,
    pub until: u32,
}

impl Reading {
    fn fine(from: u32, until: u32) -> Self {
        Self { level: Some(Level::TenSeconds), step_s: STEP_S, from, until }
    }

    pub(super) fn question<'a>(
        self,
        family: &'a str,
        columns: &'a [&'a str],
        hosts: &'a [String],
    ) -> TrackQuestion<'a> {
        let Self { level, step_s, from, until } = self;
        TrackQuestion { family, columns, level, step_s, from, until, hosts, only: None, growing: None }
    }
}

impl Reader<'_> {
    pub(super) async fn ask(&self, question: TrackQuestion<'_>) -> Result<ByHost, StoreError> {
        let mut by_host = ByHost::new();
        for stored in self.store.tracks(&question).await? {
            if let Some(track) = Track::new(stored.entity, question.step_s, &stored.rows) {
                by_host.entry(stored.host).or_default().push(track);
            }
        }
        Ok(by_host)
    }

    /// The families of resources, one scale.
    async fn scale(&self, reading: Reading, hosts: &[String]) -> Result<HashMap<String, Scale>, StoreError> {
        let mut memory = self.ask(reading.question("memory", columns::MEMORY, hosts)).await?;
        let mut load = self.ask(reading.question("load", columns::LOAD, hosts)).await?;
        let mut net_stack = self.ask(reading.question("net_stack", columns::NET_STACK, hosts)).await?;
        let mut disks = self.ask(reading.question("filesystem", columns::FILESYSTEM, hosts)).await?;
        let mut scales = HashMap::new();
        for host in hosts {
            let scale = Scale {
                step_s: reading.step_s,
                memory: memory.remove(host).and_then(|mut tracks| tracks.pop()),
                load: load.remove(host).and_then(|mut tracks| tracks.pop()),
                net_stack: net_stack.remove(host).and_then(|mut tracks| tracks.pop()),
                filesystems: disks.remove(host).unwrap_or_default(),
                ..Scale::default()
            };
            scales.insert(host.clone(), scale);
        }
        Ok(scales)
    }

    /// What resources are judged by, and with each host its fine scale once more for predictions.
    pub(super) async fn histories(&self) -> Result<Vec<HostHistory>, StoreError> {
        let until = self.now + 1;
        let back = |seconds: u32| self.now.saturating_sub(seconds);
        let mut fine = self.scale(Reading::fine(back(FINE_S), until), self.hosts).await?;
        let (step_s, reach) = COARSE_S;
        let coarse = Reading { step_s, ..Reading::fine(back(reach), until) };
        let mut coarse = self.scale(coarse, self.hosts).await?;
        let young: Vec<String> = self
            .hosts
            .iter()
            .filter(|host| fine.get(*host).is_some_and(|scale| steps(scale) < SUFFICE))
            .cloned()
            .collect();
        let raw = Reading { level: None, step_s: 1, from: back(RAW_S), until };
        let mut raw = if young.is_empty() { HashMap::new() } else { self.scale(raw, &young).await? };
        let (step_s, reach) = FAR_S;
        let far = Reading { level: Some(Level::Hour), step_s, from: back(reach), until };
        let mut far = self.ask(far.question("filesystem", columns::FILESYSTEM, self.hosts)).await?;
        self.add_processes(&mut fine, Reading::fine(back(PROCESS_S), until)).await?;
        let minute = Reading { level: Some(Level::Minute), step_s: 60, from: back(COARSE_S.1), until };
        self.add_processes(&mut coarse, minute).await?;
        let mut histories = Vec::new();
        for host in self.hosts {
            let far = far.remove(host).map(|filesystems| Scale { step_s, filesystems, ..Scale::default() });
            let scales = [raw.remove(host), fine.remove(host), coarse.remove(host), far];
            histories.push(HostHistory {
                host: host.clone(),
                now: self.now,
                scales: scales.into_iter().flatten().collect(),
            });
        }
        Ok(histories)
    }

    async fn add_processes(
        &self,
        scales: &mut HashMap<String, Scale>,
        reading: Reading,
    ) -> Result<(), StoreError> {
        let memory = reading.question("process", &columns::PROCESS[..2], self.hosts);
        let growing = Some(Growing { by: LEAST_BYTES, most: PROCESSES });
        for (host, tracks) in self.ask(TrackQuestion { growing, ..memory }).await? {
            if let Some(scale) = scales.get_mut(&host) {
                scale.processes = tracks;
            }
        }
        let descriptors = reading.question("process_detail", columns::DESCRIPTORS, self.hosts);
        let growing = Some(Growing { by: LEAST_DESCRIPTORS, most: PROCESSES });
        for (host, tracks) in self.ask(TrackQuestion { growing, ..descriptors }).await? {
            if let Some(scale) = scales.get_mut(&host) {
                scale.descriptors = tracks;
            }
        }
        Ok(())
    }

    /// What predictions look at from `from` up to `until`, host by host, with the components of each; the host
    /// itself is a component without a name.
    pub(super) async fn sights(
        &self,
        from: u32,
        until: u32,
    ) -> Result<Vec<(HostTracks, Vec<ComponentTracks>)>, StoreError> {
        let reading = Reading::fine(from, until);
        let ask = |family, columns| self.ask(reading.question(family, columns, self.hosts));
        let mut memory = ask("memory", columns::MEMORY).await?;
        let mut load = ask("load", columns::LOAD).await?;
        let mut disks = ask("filesystem", columns::FILESYSTEM).await?;
        let mut pressure = ask("pressure", columns::PRESSURE).await?;
        let mut cpu = self.cpu(reading).await?;
        let mut components = self.components(reading).await?;
        let mut found = Vec::new();
        for host in self.hosts {
            let one = |tracks: &mut ByHost| tracks.remove(host).and_then(|mut tracks| tracks.pop());
            let mut filesystems = disks.remove(host).unwrap_or_default();
            filesystems.retain(|track| !is_volatile(&track.entity));
            let tracks = HostTracks {
                host: host.clone(),
                memory: one(&mut memory),
                load: one(&mut load),
                cpu: one(&mut cpu),
                pressure: pressure.remove(host).unwrap_or_default(),
                filesystems,
            };
            let mut of_host = components.remove(host).unwrap_or_default();
            of_host.push(ComponentTracks::default());
            found.push((tracks, of_host));
        }
        Ok(found)
    }

    /// `cpu` of the whole host.
    pub(super) async fn cpu(&self, reading: Reading) -> Result<ByHost, StoreError> {
        let all = ["all".to_owned()];
        let question = reading.question("cpu", columns::CPU, self.hosts);
        self.ask(TrackQuestion { only: Some(("cpu", &all)), ..question }).await
    }

    /// Components with their processes: those of the component's name.
    async fn components(
        &self,
        reading: Reading,
    ) -> Result<HashMap<String, Vec<ComponentTracks>>, StoreError> {
        let mut found: HashMap<String, Vec<ComponentTracks>> = HashMap::new();
        let mut names: Vec<String> = Vec::new();
        for (host, tracks) in self.ask(reading.question("component", columns::COMPONENT, self.hosts)).await? {
            for track in tracks {
                let name = track.entity.first().cloned().unwrap_or_default();
                names.push(name.clone());
                let of_host = found.entry(host.clone()).or_default();
                of_host.push(ComponentTracks { name, component: Some(track), ..ComponentTracks::default() });
            }
        }
        if names.is_empty() {
            return Ok(found);
        }
        // The kernel cuts a command name at 15 bytes.
        let mut commands: Vec<String> =
            names.iter().map(|name| name.chars().take(15).collect::<String>()).collect();
        commands.sort();
        commands.dedup();
        let only = Some(("comm", commands.as_slice()));
        for (family, columns) in [("process", columns::PROCESS), ("process_detail", columns::DETAIL)] {
            let question = TrackQuestion { only, ..reading.question(family, columns, self.hosts) };
            for (host, tracks) in self.ask(question).await? {
                for component in found.get_mut(&host).into_iter().flatten() {
                    let is_its = |track: &&Track| {
                        let command = track.entity.get(2).map_or("", String::as_str);
                        fettle_analysis::outlook::is_process_of(command, &component.name)
                    };
                    let its: Vec<Track> = tracks.iter().filter(is_its).cloned().collect();
                    if family == "process" {
                        component.processes = its;
                    } else {
                        component.details = its;
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Whether a file system lives in memory: what fills there is the memory of the host.
fn is_volatile(entity: &[String]) -> bool {
    entity.get(2).is_some_and(|kind| matches!(kind.as_str(), "tmpfs" | "devtmpfs" | "ramfs" | "squashfs"))
}

fn steps(scale: &Scale) -> usize {
    let longest = scale.filesystems.iter().map(Track::steps).min();
    scale.memory.as_ref().map_or(0, Track::steps).min(longest.unwrap_or(usize::MAX))
}
