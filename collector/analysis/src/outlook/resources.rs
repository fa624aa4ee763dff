//! Every resource of a host that has a capacity, and when it runs out.
//!
//! A history is looked at on several scales: seconds while there is nothing else, ten seconds over an hour,
//! a minute over six hours, an hour over two weeks. The longest that has enough rows speaks for as far as
//! four times its length; a shorter one may only speak for as far as it has watched, and is heard when
//! it sees the end as likely and nearer. So a disk that has grown for days and one that began to fill
//! ten minutes ago are both told, each from the history that shows it.

use serde::{Deserialize, Serialize};

use super::track::{finite, last_finite, Track};
use crate::forecast::{Exhaustion, Resource, LIKELY};

/// Fewest values to say anything from.
pub const LEAST: usize = 24;
/// What the longest history may speak for, in its own lengths.
const REACH: f64 = 4.0;
/// The least and most horizon, in seconds.
const HORIZON_S: (f64, f64) = (900.0, 86_400.0);
/// The most horizon of a history of hours or more a step.
const FAR_S: f64 = 30.0 * 86_400.0;
/// Below this a probability is left out.
pub const WORTH_SAYING: f64 = 0.01;
/// A limit so large that it is none.
const NO_LIMIT: f64 = 1e18;

/// One host's history on one scale; tracks have the columns of [`super::columns`].
#[derive(Clone, Debug, Default)]
pub struct Scale {
    /// Length of a step in seconds.
    pub step_s: u32,
    /// `memory`.
    pub memory: Option<Track>,
    /// `load`.
    pub load: Option<Track>,
    /// `net_stack`.
    pub net_stack: Option<Track>,
    /// `filesystem`; entity: mount, device, type.
    pub filesystems: Vec<Track>,
    /// `process`, those that grow; entity: process id, start, name.
    pub processes: Vec<Track>,
    /// `process_detail`, those whose descriptors grow; entity as of `processes`.
    pub descriptors: Vec<Track>,
}

/// One host's history on all scales, finest first.
#[derive(Clone, Debug, Default)]
pub struct HostHistory {
    /// Agent's name.
    pub host: String,
    /// The moment of looking, seconds since 1970.
    pub now: u32,
    /// Scales, finest first.
    pub scales: Vec<Scale>,
}

/// What is to be expected of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutlookRow {
    /// Agent's name.
    pub host: String,
    /// What runs out.
    pub resource: Resource,
    /// Which one: a mount, `name[pid]`, or empty for the host's only one.
    pub entity: String,
    /// Metric whose growth it is, `filesystem.used_bytes`.
    pub metric: String,
    /// The newest value, in the metric's unit.
    pub used: f64,
    /// Where it is at its end, in the metric's unit.
    pub capacity: f64,
    /// What was asked: the end within so many seconds from now.
    pub horizon_s: f64,
    /// When, in seconds from now; `None`: nothing leads there.
    pub exhaustion: Option<Exhaustion>,
    /// In words: `full in 3 h 20 min (80 %: 2 h 50 min – 4 h)`.
    pub words: String,
}

impl OutlookRow {
    /// Probability that it runs out within the horizon, 0 to 1.
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.exhaustion.map_or(0.0, |e| e.probability)
    }

    /// Probability that it runs out within so many seconds from now: the quantiles of the moment joined by
    /// straight lines, nothing before half of the lower one, all of it at once after twice the distance to
    /// the upper.
    #[must_use]
    pub fn within(&self, seconds: f64) -> f64 {
        let Some(e) = self.exhaustion else { return 0.0 };
        if e.eta_s <= 0.0 {
            return e.probability;
        }
        let end = e.high_s + (e.high_s - e.eta_s).max(1.0);
        let points = [(0.5 * e.low_s, 0.0), (e.low_s, 0.1), (e.eta_s, 0.5), (e.high_s, 0.9), (end, 1.0)];
        let above = points.iter().position(|(at, _)| *at > seconds);
        let share = match above {
            Some(0) => 0.0,
            None => 1.0,
            Some(at) => {
                let ((x0, y0), (x1, y1)) = (points[at - 1], points[at]);
                y0 + (y1 - y0) * (seconds - x0) / (x1 - x0).max(1e-9)
            }
        };
        e.probability * share
    }
}

/// What is asked about: how use and capacity come from the columns of a track.
struct Question {
    resource: Resource,
    metric: &'static str,
    used: fn(&dyn Fn(usize) -> f64) -> f64,
    capacity: fn(&dyn Fn(usize) -> f64) -> f64,
}

const DISK: [Question; 2] = [
    Question {
        resource: Resource::Disk,
        metric: "filesystem.used_bytes",
        used: |c| c(0),
        capacity: |c| c(0) + c(1),
    },
    Question {
        resource: Resource::Inodes,
        metric: "filesystem.inodes",
        used: |c| c(2) - c(3),
        capacity: |c| c(2) - c(3) + c(4),
    },
];
const MEMORY: [Question; 2] = [
    Question {
        resource: Resource::Memory,
        metric: "memory.available_bytes",
        used: |c| c(0) - c(1),
        capacity: |c| c(0),
    },
    Question {
        resource: Resource::Swap,
        metric: "memory.swap_free_bytes",
        used: |c| c(2) - c(3),
        capacity: |c| c(2),
    },
];
const LOAD: [Question; 1] = [Question {
    resource: Resource::Descriptors,
    metric: "load.open_files",
    used: |c| c(0),
    capacity: |c| c(1),
}];
const NET_STACK: [Question; 1] = [Question {
    resource: Resource::Conntrack,
    metric: "net_stack.conntrack_entries",
    used: |c| c(0),
    capacity: |c| c(1),
}];

/// What is to be expected of every resource of a host; improbable ends and those that nothing leads to are
/// in it too, with what is used now.
#[must_use]
pub fn outlooks(history: &HostHistory) -> Vec<OutlookRow> {
    let mut rows = Vec::new();
    for question in &MEMORY {
        rows.extend(ask(history, question, &|scale| scale.memory.as_ref(), String::new()));
    }
    for question in &LOAD {
        rows.extend(ask(history, question, &|scale| scale.load.as_ref(), String::new()));
    }
    for question in &NET_STACK {
        rows.extend(ask(history, question, &|scale| scale.net_stack.as_ref(), String::new()));
    }
    for mount in mounts(history) {
        for question in &DISK {
            let track = |scale: &'_ Scale| scale.filesystems.iter().position(|t| t.entity == mount);
            let pick = |scale| -> Option<&Track> { track(scale).map(|at| &scale.filesystems[at]) };
            let name = mount.first().cloned().unwrap_or_default();
            rows.extend(ask(history, question, &pick, name));
        }
    }
    rows.extend(processes(history));
    rows
}

/// File systems that can fill: writable, and of several mounts of one device the shortest path.
fn mounts(history: &HostHistory) -> Vec<Vec<String>> {
    let mut found: Vec<(Vec<String>, String)> = Vec::new();
    let tracks = history.scales.iter().flat_map(|scale| &scale.filesystems);
    for track in tracks.filter(|track| is_alive(track, history.now)) {
        let last = |column: usize| last_finite(&track.columns[column]).unwrap_or(0.0);
        let part = |at: usize| track.entity.get(at).map_or("", String::as_str);
        if last(5) > 0.0 || last(0) + last(1) <= 0.0 || matches!(part(2), "squashfs" | "iso9660" | "devtmpfs")
        {
            continue;
        }
        // Two file systems of one device have the same size; a tmpfs is its own whatever it is called.
        let same = if part(1).starts_with('/') {
            format!("{}:{:.0}", part(1), last(0) + last(1))
        } else {
            part(0).to_owned()
        };
        match found.iter_mut().find(|(_, other)| *other == same) {
            Some((entity, _)) if entity[0].len() > part(0).len() => entity.clone_from(&track.entity),
            Some(_) => {}
            None => found.push((track.entity.clone(), same)),
        }
    }
    found.into_iter().map(|(entity, _)| entity).collect()
}

/// Whether there is something of the last few steps. File systems may be sampled every ten seconds only.
fn is_alive(track: &Track, now: u32) -> bool {
    track.newest() + (3 * track.step_s).max(90) >= now
}

fn ask<'a>(
    history: &'a HostHistory,
    question: &Question,
    pick: &dyn Fn(&'a Scale) -> Option<&'a Track>,
    entity: String,
) -> Option<OutlookRow> {
    let tracks: Vec<&Track> =
        history.scales.iter().filter_map(pick).filter(|track| is_alive(track, history.now)).collect();
    let newest = *tracks.iter().max_by_key(|track| track.newest())?;
    let capacity = last_finite(&newest.derived(question.capacity))?;
    let used = last_finite(&newest.derived(question.used))?;
    if !(f64::MIN_POSITIVE..NO_LIMIT).contains(&capacity) {
        return None;
    }
    let histories: Vec<(Vec<f64>, &Track)> =
        tracks.into_iter().map(|track| (track.derived(question.used), track)).collect();
    let known = Known { resource: question.resource, metric: question.metric, used, capacity };
    judge(history, &known, entity, &histories)
}

/// What is known of a resource before its history is looked at.
struct Known<'a> {
    resource: Resource,
    metric: &'a str,
    used: f64,
    capacity: f64,
}

/// Hears the longest history, then the shorter ones. `None` while every one of them is too short.
fn judge(
    history: &HostHistory,
    known: &Known<'_>,
    entity: String,
    histories: &[(Vec<f64>, &Track)],
) -> Option<OutlookRow> {
    let mut enough = histories.iter().filter(|(values, _)| finite(values) >= LEAST).rev();
    let (values, track) = enough.next()?;
    let span = span_s(values, track);
    let most = if track.step_s >= 3600 { FAR_S } else { HORIZON_S.1 };
    let mut horizon_s = (REACH * span).clamp(HORIZON_S.0, most);
    let mut found = end_of(history.now, known, values, track, horizon_s);
    for (values, track) in enough {
        let near_s = span_s(values, track);
        let Some(near) = end_of(history.now, known, values, track, near_s) else { continue };
        let sooner = found.is_none_or(|far| far.probability < LIKELY || near.eta_s < far.eta_s);
        if near.probability >= LIKELY && sooner {
            (found, horizon_s) = (Some(near), near_s);
        }
    }
    let words = match found {
        Some(end) if end.probability >= LIKELY => known.resource.words(&end),
        Some(end) if end.probability >= WORTH_SAYING => {
            let words = known.resource.words(&end);
            format!("probably not; if it goes on: {words}, probability {:.0} %", 100.0 * end.probability)
        }
        _ => "nothing leads to its end".to_owned(),
    };
    Some(OutlookRow {
        host: history.host.clone(),
        resource: known.resource,
        entity,
        metric: known.metric.to_owned(),
        used: known.used,
        capacity: known.capacity,
        horizon_s,
        exhaustion: found,
        words,
    })
}

fn span_s(values: &[f64], track: &Track) -> f64 {
    let first = values.iter().position(|v| v.is_finite()).unwrap_or(0);
    f64::from(track.step_s) * (values.len() - first) as f64
}

/// The end by one history, counted from now and not from its last value.
fn end_of(now: u32, known: &Known<'_>, values: &[f64], track: &Track, horizon_s: f64) -> Option<Exhaustion> {
    let last = values.iter().rposition(|v| v.is_finite())?;
    let end = known.resource.outlook(&values[..=last], known.capacity, f64::from(track.step_s), horizon_s)?;
    // A step's value is the last one in it.
    let age_s = f64::from(now.saturating_sub(track.start + (last as u32 + 1) * track.step_s));
    let from_now = |at: f64| (at - age_s).max(0.0);
    Some(Exhaustion {
        eta_s: from_now(end.eta_s),
        low_s: from_now(end.low_s),
        high_s: from_now(end.high_s),
        ..end
    })
}

/// What grows of a process: its tracks on a scale, and what is known of it from columns 0 and 1 of one.
struct Growth {
    resource: Resource,
    metric: &'static str,
    tracks: fn(&Scale) -> &Vec<Track>,
}

const GROWTHS: [Growth; 2] = [
    Growth {
        resource: Resource::ProcessMemory,
        metric: "process.rss_bytes",
        tracks: |scale| &scale.processes,
    },
    Growth {
        resource: Resource::Descriptors,
        metric: "process_detail.fds",
        tracks: |scale| &scale.descriptors,
    },
];

/// Processes that grow: in memory, against the limit that the kernel knows of or what the host has left for
/// them; in descriptors, against their own limit.
fn processes(history: &HostHistory) -> Vec<OutlookRow> {
    let spare = history.scales.iter().find_map(|scale| {
        let memory = scale.memory.as_ref().filter(|track| is_alive(track, history.now))?;
        last_finite(&memory.columns[1])
    });
    let mut rows = Vec::new();
    for Growth { resource, metric, tracks } in GROWTHS {
        let mut seen: Vec<&[String]> = Vec::new();
        for track in history.scales.iter().flat_map(tracks) {
            if seen.contains(&track.entity.as_slice()) || !is_alive(track, history.now) {
                continue;
            }
            seen.push(&track.entity);
            let limit = last_finite(&track.columns[1]).filter(|limit| *limit > 0.0);
            let Some(used) = last_finite(&track.columns[0]) else { continue };
            let capacity = match resource {
                Resource::ProcessMemory => spare.map(|spare| limit.unwrap_or(f64::MAX).min(used + spare)),
                _ => limit,
            };
            let Some(capacity) = capacity else { continue };
            let histories: Vec<(Vec<f64>, &Track)> = history
                .scales
                .iter()
                .flat_map(tracks)
                .filter(|other| other.entity == track.entity)
                .map(|other| (other.columns[0].clone(), other))
                .collect();
            let known = Known { resource, metric, used, capacity };
            let part = |at: usize| track.entity.get(at).map_or("", String::as_str);
            rows.extend(judge(history, &known, format!("{}[{}]", part(2), part(0)), &histories));
        }
    }
    rows
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
