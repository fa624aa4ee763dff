//! The key series of a host whose values are looked ahead at, from one-minute roll-ups of a week.

use fettle_analysis::outlook::values::step_for;
use fettle_analysis::outlook::{columns, Track, ValueSeries};

use super::read::{ByHost, Reader, Reading};
use crate::handoff::Level;
use crate::store::StoreError;

const WEEK_S: u32 = 7 * 86_400;
/// Devices that are not disks of their own.
const NOT_DISKS: [&str; 4] = ["loop", "ram", "zram", "dm-"];

impl Reader<'_> {
    /// The key series of these hosts.
    pub(super) async fn values(&self) -> Result<Vec<ValueSeries>, StoreError> {
        let oldest = self.store.oldest_minutes(self.hosts, self.now.saturating_sub(WEEK_S)).await?;
        let mut found = Vec::new();
        for step_s in [60, 300, 900] {
            let of_step = |host: &&String| {
                oldest.get(*host).is_some_and(|oldest| step_for(self.now.saturating_sub(*oldest)) == step_s)
            };
            let hosts: Vec<String> = self.hosts.iter().filter(of_step).cloned().collect();
            if hosts.is_empty() {
                continue;
            }
            let from = hosts.iter().filter_map(|host| oldest.get(host)).min().copied().unwrap_or(self.now);
            let reading = Reading { level: Some(Level::Minute), step_s, from, until: self.now + 1 };
            found.extend(Reader { hosts: &hosts, ..*self }.series(reading).await?);
        }
        Ok(found)
    }

    async fn series(&self, reading: Reading) -> Result<Vec<ValueSeries>, StoreError> {
        let mut memory = self.ask(reading.question("memory", columns::MEMORY, self.hosts)).await?;
        let mut load = self.ask(reading.question("load", columns::LOAD, self.hosts)).await?;
        let mut cpu = self.cpu(reading).await?;
        let mut disks = self.ask(reading.question("disk", columns::DISK, self.hosts)).await?;
        let mut network = self.ask(reading.question("network", columns::NETWORK, self.hosts)).await?;
        let mut found = Vec::new();
        for host in self.hosts {
            let mut add = |metric: &str, values: Option<Vec<f64>>, most: f64| {
                let range = (0.0, most);
                let (host, metric, step_s) = (host.clone(), metric.to_owned(), reading.step_s);
                found.extend(values.map(|values| ValueSeries { host, metric, values, step_s, range }));
            };
            let one = |tracks: &mut ByHost| tracks.remove(host).and_then(|mut tracks| tracks.pop());
            add("cpu.busy_percent", one(&mut cpu).map(|track| busy(&track)), 100.0);
            let used = |track: Track| track.derived(|c| c(0) - c(1));
            add("memory.used_bytes", one(&mut memory).map(used), f64::MAX);
            add("load.load_1m", one(&mut load).map(|track| track.columns[2].clone()), f64::MAX);
            let disks = disks.remove(host).unwrap_or_default();
            add("disk.bytes_per_second", throughput(&whole_disks(&disks)), f64::MAX);
            let network = network.remove(host).unwrap_or_default();
            let cards: Vec<&Track> =
                network.iter().filter(|t| t.entity.first().is_some_and(|e| e != "lo")).collect();
            add("network.bytes_per_second", throughput(&cards), f64::MAX);
        }
        Ok(found)
    }
}

/// Per cent of CPU time that was neither idle nor waiting.
fn busy(track: &Track) -> Vec<f64> {
    let rates: Vec<Vec<f64>> = (0..8).map(|column| track.rates(column)).collect();
    (0..track.steps())
        .map(|at| {
            let all: f64 = rates.iter().map(|rates| rates[at]).sum();
            let used: f64 = rates[..6].iter().map(|rates| rates[at]).sum();
            100.0 * used / all
        })
        .collect()
}

/// Devices that are neither virtual nor a part of another one in the list.
fn whole_disks(tracks: &[Track]) -> Vec<&Track> {
    let name = |track: &Track| track.entity.first().cloned().unwrap_or_default();
    let names: Vec<String> = tracks.iter().map(name).collect();
    let is_part = |own: &str| names.iter().any(|other| own.len() > other.len() && own.starts_with(other));
    let whole = |track: &&Track| {
        let own = name(track);
        !NOT_DISKS.iter().any(|prefix| own.starts_with(prefix)) && !is_part(&own)
    };
    tracks.iter().filter(whole).collect()
}

/// Bytes a second of all entities and both directions together, on the grid of the longest; `None` without any.
fn throughput(tracks: &[&Track]) -> Option<Vec<f64>> {
    let longest = tracks.iter().max_by_key(|track| track.steps())?;
    let rates: Vec<(&Track, Vec<f64>)> =
        tracks.iter().flat_map(|track| (0..2).map(|column| (*track, track.rates(column)))).collect();
    let sum = |at: usize| {
        let second = longest.start + at as u32 * longest.step_s;
        let values = rates.iter().filter_map(|(track, rates)| {
            let after = second.checked_sub(track.start)? / track.step_s;
            rates.get(after as usize).copied().filter(|rate| rate.is_finite())
        });
        values.reduce(|a, b| a + b).unwrap_or(f64::NAN)
    };
    Some((0..longest.steps()).map(sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(name: &str, values: &[f64]) -> Track {
        let rows: Vec<Vec<Option<f64>>> = values
            .iter()
            .enumerate()
            .map(|(at, value)| vec![Some(at as f64 * 60.0), Some(*value), Some(0.0)])
            .collect();
        Track::new(vec![name.into()], 60, &rows).unwrap()
    }

    #[test]
    fn partitions_and_loops_are_not_counted_again() {
        let tracks = ["sda", "sda1", "loop0", "nvme0n1", "nvme0n1p2"].map(|name| track(name, &[0.0, 60.0]));
        let whole: Vec<&str> = whole_disks(&tracks).iter().map(|t| t.entity[0].as_str()).collect();
        assert_eq!(whole, ["sda", "nvme0n1"]);
    }

    #[test]
    fn throughput_is_the_sum_over_devices() {
        let (one, other) = (track("a", &[0.0, 600.0, 1_200.0]), track("b", &[0.0, 60.0, 60.0]));
        let sums = throughput(&[&one, &other]).unwrap();
        assert!(sums[0].is_nan());
        assert_eq!(sums[1..], [11.0, 10.0]);
        assert!(throughput(&[]).is_none());
    }
}
