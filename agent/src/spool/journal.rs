//! The spool itself: numbers frames, keeps them, reads them back, and lets them go.
//!
//! Nothing here fails once the spool is open. A frame is either on disk, or held in memory, or
//! given up and on the list of what the next report will say.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fettle_shared::frame::{AgentName, Header};

use super::log::Log;
use super::open::{fresh_boot, host_boot, open, Opened};
use super::pending::{Held, Pending};
use super::ranges::Ranges;
use super::state::{State, StateFile};
use super::{Durability, Recovery, SpoolError, SpoolSettings};
use crate::dir_lock::DirLock;

/// How long to leave a disk alone that refused a write, at first.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long at most.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(8);

/// What the spool has done and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames not confirmed yet.
    pub frames: u64,
    /// Bytes on disk and in memory.
    pub bytes: u64,
    /// Bytes of that in memory because the disk refuses them.
    pub held_bytes: u64,
    /// Frames given up.
    pub dropped_frames: u64,
    /// Samples in them.
    pub dropped_samples: u64,
    /// Calls to the disk that failed.
    pub errors: u64,
    /// Highest confirmed number of the current boot.
    pub stored_seq: u64,
    /// Highest number given out in the current boot.
    pub last_seq: u64,
}

/// Why and since when the disk is left alone.
#[derive(Debug)]
pub(super) struct Trouble {
    wait: Duration,
    retry_at: Instant,
}

/// One agent's spool.
#[derive(Debug)]
pub struct Spool {
    pub(super) settings: SpoolSettings,
    pub(super) agent: AgentName,
    pub(super) _lock: DirLock,
    pub(super) state_file: StateFile,
    pub(super) log: Log,
    /// The boot a restart would continue, as the state file has it.
    pub(super) recorded: State,
    pub(super) boot: u64,
    pub(super) next_seq: u64,
    /// One past the newest index, on disk or held.
    pub(super) end: u64,
    /// Index of the oldest frame that is not settled.
    pub(super) oldest: u64,
    pub(super) watermarks: BTreeMap<u64, u64>,
    pub(super) published: (u64, u64),
    pub(super) pending: Pending,
    pub(super) trouble: Option<Trouble>,
    /// Given up: on disk perhaps, but never to be sent.
    pub(super) given_up: Ranges,
    /// Given up and not yet in a report.
    pub(super) unreported: Ranges,
    pub(super) unreadable: (u64, u32),
    pub(super) counters: Counters,
}

impl Spool {
    /// Opens or makes the spool in `settings.dir` for this agent.
    pub fn open(settings: SpoolSettings, agent: &str) -> Result<(Self, Recovery), SpoolError> {
        Self::open_on_host(settings, agent, host_boot())
    }

    pub(super) fn open_on_host(
        settings: SpoolSettings,
        agent: &str,
        host_boot: u64,
    ) -> Result<(Self, Recovery), SpoolError> {
        let agent = AgentName::new(agent).ok_or_else(|| SpoolError::AgentName { name: agent.to_owned() })?;
        let Opened { lock, state_file, state, log, given_up, lost, recovery } =
            open(&settings, agent, host_boot)?;
        let end = log.end_index();
        let mut spool = Self {
            settings,
            agent,
            _lock: lock,
            state_file,
            log,
            boot: state.boot,
            next_seq: state.next_seq,
            end,
            oldest: 0,
            watermarks: state.watermarks.iter().copied().collect(),
            published: state.published,
            recorded: state,
            pending: Pending::default(),
            trouble: None,
            given_up,
            unreported: Ranges::default(),
            unreadable: (0, 0),
            counters: Counters::default(),
        };
        if recovery.new_boot.is_some() {
            // Not on disk yet: a restart would not continue it.
            spool.recorded.boot = 0;
            spool.record();
        }
        for range in lost.iter() {
            spool.give_up(*range);
        }
        spool.report_losses(Instant::now());
        spool.settle();
        Ok((spool, recovery))
    }

    /// Numbers a sealed frame and keeps it. `false`: these bytes are not a frame, nothing was kept.
    pub fn append(&mut self, bytes: Vec<u8>, now: Instant) -> bool {
        if !self.keep(bytes, now) {
            return false;
        }
        self.report_losses(now);
        true
    }

    pub(super) fn keep(&mut self, mut bytes: Vec<u8>, now: Instant) -> bool {
        self.retry(now);
        if self.trouble.is_none() {
            self.make_room(bytes.len() as u64);
        }
        let header = match Header::renumber(&mut bytes, self.boot, self.next_seq) {
            Ok(header) if header.frame_len() == bytes.len() => header,
            _ => {
                self.counters.errors += 1;
                return false;
            }
        };
        self.next_seq += 1;
        if self.trouble.is_some() {
            self.hold(header, bytes);
            return true;
        }
        match self.log.append(&header, &bytes, self.end) {
            Ok(()) => self.end += 1,
            Err(error) => {
                self.meet_trouble(&error.cause, now);
                self.hold_in_new_boot(header, bytes, error.undone);
            }
        }
        true
    }

    /// The disk refused: from here on numbers come from a boot that a restart would not continue.
    fn hold_in_new_boot(&mut self, mut header: Header, mut bytes: Vec<u8>, undone: bool) {
        if self.boot == self.recorded.boot {
            self.recorded.next_seq = if undone { header.seq } else { header.seq + 1 };
            self.boot = fresh_boot();
            self.next_seq = 1;
            // A number that was never seen on disk is free again, so the frame may have another.
            if undone {
                if let Ok(renumbered) = Header::renumber(&mut bytes, self.boot, self.next_seq) {
                    header = renumbered;
                    self.next_seq += 1;
                }
            }
        }
        self.hold(header, bytes);
    }

    fn hold(&mut self, header: Header, bytes: Vec<u8>) {
        self.pending.push(Held { index: self.end, header, bytes: Bytes::from(bytes) });
        self.end += 1;
        while self.pending.bytes() > self.settings.memory && self.pending.len() > 1 {
            if let Some(held) = self.pending.pop() {
                self.give_up_frame(&held.header, &held.bytes);
            }
        }
    }

    fn meet_trouble(&mut self, cause: &io::Error, now: Instant) {
        self.counters.errors += 1;
        if self.trouble.is_none() && self.pending.is_empty() {
            tracing::warn!(
                dir = %self.settings.dir.display(), error = %cause,
                "the spool's disk refuses writes; frames are held in memory until it takes them again"
            );
        }
        let wait = self.trouble.as_ref().map_or(RETRY_AFTER, |t| (t.wait * 2).min(RETRY_AFTER_MOST));
        self.trouble = Some(Trouble { wait, retry_at: now + wait });
    }

    /// When the disk should be tried again, if it is in trouble.
    pub fn retry_at(&self) -> Option<Instant> {
        self.trouble.as_ref().map(|trouble| trouble.retry_at)
    }

    /// Writes what is held, if it is time to try.
    pub fn retry(&mut self, now: Instant) {
        if self.trouble.as_ref().is_none_or(|trouble| now < trouble.retry_at) {
            return;
        }
        self.free_confirmed_active();
        while let Some(held) = self.pending.front().cloned() {
            if !self.is_settled(held.header.boot, held.header.seq) {
                self.make_room(held.bytes.len() as u64);
                if let Err(error) = self.log.append(&held.header, &held.bytes, held.index) {
                    self.meet_trouble(&error.cause, now);
                    return;
                }
            }
            self.pending.pop();
        }
        self.trouble = None;
        if self.boot != self.recorded.boot {
            self.record();
        }
        tracing::info!(dir = %self.settings.dir.display(), "the spool's disk takes writes again");
    }

    /// On a full disk, what is confirmed in the segment being written is room as well.
    fn free_confirmed_active(&mut self) {
        if self.log.segments() > 0 && self.oldest >= self.log.end_index() && self.log.bytes() > 0 {
            self.log.close_segment();
            self.free_confirmed();
        }
    }

    /// Writes the state down. Where the disk refuses even that, it is written another time; until
    /// then nothing may be deleted, because what is on disk is all that says how far numbers went.
    pub(super) fn record(&mut self) -> bool {
        let mut state = self.recorded.clone();
        if self.trouble.is_none() && self.pending.is_empty() {
            state.boot = self.boot;
        }
        if state.boot == self.boot {
            state.next_seq = self.next_seq;
        }
        state.published = self.published;
        state.watermarks = self.watermarks.iter().map(|(boot, upto)| (*boot, *upto)).collect();
        // The current boot must be among those that find room.
        state.watermarks.sort_by_key(|(boot, _)| *boot == state.boot);
        let sync = self.settings.durability == Durability::Power;
        let written = self.state_file.write(&state, sync).is_ok();
        if written {
            self.recorded = state;
        } else {
            self.counters.errors += 1;
        }
        written
    }

    /// Writes the state down for a restart.
    pub fn close(&mut self) {
        self.retry(Instant::now() + RETRY_AFTER_MOST);
        self.record();
    }

    /// What it has done and holds.
    pub fn counters(&self) -> Counters {
        let unconfirmed = |boot: u64, first: u64, last: u64, frames: u64| {
            let upto = self.watermarks.get(&boot).copied().unwrap_or(0);
            if upto < first {
                frames
            } else {
                frames.min(last.saturating_sub(upto))
            }
        };
        let on_disk: u64 =
            self.log.runs().map(|run| unconfirmed(run.boot, run.first, run.last, run.frames)).sum();
        Counters {
            frames: on_disk + self.pending.len() as u64,
            bytes: self.log.bytes() + self.pending.bytes() as u64,
            held_bytes: self.pending.bytes() as u64,
            stored_seq: self.watermarks.get(&self.boot).copied().unwrap_or(0),
            last_seq: self.next_seq - 1,
            ..self.counters
        }
    }

    /// The boot that frames are numbered in now.
    pub fn boot(&self) -> u64 {
        self.boot
    }
}
