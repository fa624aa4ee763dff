//! Opening a spool: reads the state and the log, decides in which boot the numbers continue, and
//! finds what is missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use fettle_shared::frame::{decode, AgentName, DroppedRange, Scratch};
use xxhash_rust::xxh3::xxh3_64;

use super::log::Log;
use super::ranges::Ranges;
use super::state::{State, StateFile};
use super::walk::{Tail, Walk};
use super::{Durability, SpoolError, SpoolSettings};
use crate::dir_lock::DirLock;

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Frames found on disk.
    pub frames: u64,
    /// Why a new boot begins, if one does.
    pub new_boot: Option<&'static str>,
    /// Bytes of a frame whose writing was cut short; nobody was ever told of it.
    pub torn_bytes: u64,
    /// Bytes of damage skipped elsewhere.
    pub damaged_bytes: u64,
    /// Frames that are missing for good, and will be reported to the ledger.
    pub lost_frames: u64,
    /// Names of agents whose frames are there, this agent's included.
    pub agents: Vec<AgentName>,
}

/// All that a spool starts from.
#[derive(Debug)]
pub(super) struct Opened {
    pub lock: DirLock,
    pub state_file: StateFile,
    pub state: State,
    pub log: Log,
    pub given_up: Ranges,
    pub lost: Ranges,
    pub recovery: Recovery,
}

/// Opens the files in `settings.dir`. `host_boot` identifies this boot of the kernel.
pub(super) fn open(settings: &SpoolSettings, agent: AgentName, host_boot: u64) -> Result<Opened, SpoolError> {
    let dir = &settings.dir;
    let unusable = |cause| SpoolError::Unusable { path: dir.clone(), cause };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let lock =
        DirLock::take(dir).map_err(unusable)?.ok_or_else(|| SpoolError::InUse { path: dir.clone() })?;
    let (state_file, before) = StateFile::open(dir).map_err(unusable)?;
    let mut survey = Survey::default();
    let sync = settings.durability == Durability::Power;
    let log = Log::open(dir, settings.segment_bytes(), sync, |walk, is_last, file| {
        survey.visit(walk, is_last, file)
    })
    .map_err(unusable)?;
    let new_boot = match &before {
        _ if survey.garbage_tail => Some("the end of the log is damaged"),
        None => Some("the spool is new"),
        Some(state) if state.host_boot != host_boot => Some("the host has restarted"),
        Some(state) if state.agent != agent => Some("the agent has another name"),
        Some(_) => None,
    };
    let lost = survey.lost(before.as_ref());
    let mut state = before.unwrap_or(State {
        boot: 0,
        next_seq: 1,
        host_boot,
        published: (0, 0),
        agent,
        watermarks: Vec::new(),
    });
    state.host_boot = host_boot;
    state.agent = agent;
    if new_boot.is_some() {
        state.boot = fresh_boot();
        state.next_seq = 1;
    } else if let Some(last) = survey.last_seq.get(&state.boot) {
        state.next_seq = state.next_seq.max(last + 1);
    }
    survey.agents.insert(agent);
    let mut agents: Vec<_> = survey.agents.into_iter().collect();
    agents.sort_unstable();
    let recovery = Recovery {
        frames: log.end_index(),
        new_boot,
        torn_bytes: survey.torn_bytes,
        damaged_bytes: survey.damaged_bytes,
        lost_frames: lost.iter().map(|range| range.last_seq - range.first_seq + 1).sum(),
        agents,
    };
    Ok(Opened { lock, state_file, state, log, given_up: survey.reported, lost, recovery })
}

/// A boot number nobody has used: it need not grow, only differ.
pub(super) fn fresh_boot() -> u64 {
    let mut seed = [0; 8];
    if File::open("/dev/urandom").and_then(|file| file.read_exact_at(&mut seed, 0)).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        seed = (now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(40)).to_le_bytes();
    }
    xxh3_64(&seed).max(1)
}

/// Identifies this boot of the kernel.
pub(super) fn host_boot() -> u64 {
    std::fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| xxh3_64(&id))
}

/// What the walks add up to.
#[derive(Debug, Default)]
struct Survey {
    agents: HashSet<AgentName>,
    last_seq: HashMap<u64, u64>,
    first_seq: BTreeMap<u64, u64>,
    /// Jumps of a boot's numbers, and whether damage lies in between.
    holes: Vec<(u64, u64, u64, bool)>,
    /// Boots that had damage since their last frame.
    damaged_since: HashMap<u64, bool>,
    reported: Ranges,
    torn_bytes: u64,
    damaged_bytes: u64,
    garbage_tail: bool,
}

impl Survey {
    fn visit(&mut self, walk: &Walk, is_last: bool, file: &File) -> io::Result<()> {
        let mut scratch = Scratch::default();
        self.agents.extend(&walk.agents);
        let mut damage = walk.damage_before.iter().peekable();
        for (n, entry) in walk.entries.iter().enumerate() {
            while damage.next_if(|at| **at <= n).is_some() {
                self.mark_damage();
            }
            self.count(entry.boot, entry.seq);
            if entry.report {
                let mut bytes = vec![0; entry.len];
                file.read_exact_at(&mut bytes, entry.offset)?;
                if let Ok(frame) = decode(&bytes, &mut scratch) {
                    frame.dropped.iter().for_each(|range| self.reported.add(*range));
                }
            }
        }
        self.damaged_bytes += walk.skipped;
        if walk.tail == Tail::Clean {
            return Ok(());
        }
        if is_last && walk.tail == Tail::Torn {
            self.torn_bytes += walk.tail_bytes;
        } else {
            self.damaged_bytes += walk.tail_bytes;
            self.garbage_tail |= is_last;
            self.mark_damage();
        }
        Ok(())
    }

    fn mark_damage(&mut self) {
        self.damaged_since.values_mut().for_each(|damaged| *damaged = true);
    }

    fn count(&mut self, boot: u64, seq: u64) {
        let damaged = self.damaged_since.insert(boot, false).unwrap_or(false);
        self.first_seq.entry(boot).or_insert(seq);
        if let Some(last) = self.last_seq.insert(boot, seq) {
            if seq > last + 1 {
                self.holes.push((boot, last + 1, seq - 1, damaged));
            }
            if seq <= last {
                self.last_seq.insert(boot, last);
            }
        }
    }

    /// Frames that had a number and are nowhere: not on disk, not confirmed, not reported.
    fn lost(&self, state: Option<&State>) -> Ranges {
        let mut lost = Ranges::default();
        let confirmed = |boot: u64| {
            let marks = state.map_or(&[][..], |state| &state.watermarks);
            marks.iter().find(|(b, _)| *b == boot).map_or(0, |(_, upto)| *upto)
        };
        let mut holes: Vec<(u64, u64, u64)> = Vec::new();
        if let Some(State { boot, next_seq, .. }) = state {
            // Of the boot that was being written it is known where it began and how far it came.
            let first = self.first_seq.get(boot).copied().unwrap_or(*next_seq);
            let last = self.last_seq.get(boot).copied().unwrap_or(0);
            holes.push((*boot, 1, first.saturating_sub(1)));
            holes.push((*boot, last.max(first.saturating_sub(1)) + 1, next_seq.saturating_sub(1)));
        }
        let known = state.map(|state| state.boot);
        holes.extend(
            self.holes
                .iter()
                .filter(|(boot, _, _, damaged)| *damaged || Some(*boot) == known)
                .map(|(boot, first, last, _)| (*boot, *first, *last)),
        );
        for (boot, first, last) in holes {
            let first = first.max(confirmed(boot) + 1);
            if first <= last {
                for (first_seq, last_seq) in self.reported.missing(boot, first, last) {
                    lost.add(DroppedRange { boot, first_seq, last_seq, rows: 0, samples: 0 });
                }
            }
        }
        lost
    }
}
