//! What the collector and NATS say, and the room it makes.

use fettle_shared::subjects::Stored;

use super::journal::Spool;
use super::open::fresh_boot;
use super::pending::Held;

impl Spool {
    /// Takes the collector's word.
    pub fn confirm(&mut self, stored: Stored) {
        let Some(last) = self.last_given(stored.boot) else {
            return;
        };
        let upto = self.watermarks.entry(stored.boot).or_insert(0);
        if stored.upto.min(last) > *upto {
            *upto = stored.upto.min(last);
            self.settle();
        }
        if stored.boot == self.boot && stored.upto > last {
            self.leave_boot(stored, last);
        }
    }

    /// The highest number given out in a boot this spool knows.
    fn last_given(&self, boot: u64) -> Option<u64> {
        if boot == self.boot {
            return Some(self.next_seq - 1);
        }
        let held = self.pending.iter().map(|held| (held.header.boot, held.header.seq));
        let kept = self.log.runs().map(|run| (run.boot, run.last));
        held.chain(kept).filter(|(b, _)| *b == boot).map(|(_, last)| last).max()
    }

    /// The collector has numbers that this spool never gave: somebody put an old copy of the spool
    /// back. They must not be used again. (In an older boot it only says that the host lost, with its
    /// power, frames that had been published.)
    fn leave_boot(&mut self, stored: Stored, last: u64) {
        tracing::error!(
            stored = stored.upto,
            last,
            "the collector has frames this spool never wrote; was an old copy of it put back? A new boot begins"
        );
        self.boot = fresh_boot();
        self.next_seq = 1;
        self.record();
    }

    /// Remembers how far NATS has acknowledged, so that a restart begins there. To be told now and
    /// then, not of every frame.
    pub fn published(&mut self, index: u64) {
        let on_disk = self.log.entry_at(index).ok().flatten().filter(|entry| entry.index == index);
        if let Some(entry) = on_disk {
            self.published = (entry.boot, entry.seq);
            self.record();
        }
    }

    /// Index behind the last frame that NATS had acknowledged before the restart.
    pub fn resume_at(&mut self) -> u64 {
        let (boot, seq) = self.published;
        let (mut index, mut resume) = (self.oldest, self.oldest);
        while let Ok(Some(entry)) = self.log.entry_at(index) {
            index = entry.index + 1;
            if entry.boot == boot && entry.seq <= seq {
                resume = index;
            }
        }
        resume
    }

    pub(super) fn is_settled(&self, boot: u64, seq: u64) -> bool {
        self.watermarks.get(&boot).is_some_and(|upto| seq <= *upto) || self.given_up.contains(boot, seq)
    }

    /// Moves the oldest index over what is settled, and frees what that leaves behind.
    pub(super) fn settle(&mut self) {
        loop {
            match self.log.entry_at(self.oldest) {
                Ok(Some(entry)) if self.is_settled(entry.boot, entry.seq) => self.oldest = entry.index + 1,
                Ok(Some(entry)) => {
                    self.oldest = entry.index;
                    break;
                }
                Ok(None) => {
                    self.settle_pending();
                    break;
                }
                Err(_) => {
                    self.counters.errors += 1;
                    break;
                }
            }
        }
        self.free_confirmed();
        let watermarks = &self.watermarks;
        self.given_up.retain(|r| watermarks.get(&r.boot).is_none_or(|upto| r.last_seq > *upto));
    }

    fn settle_pending(&mut self) {
        let unsettled = |held: &&Held| !self.is_settled(held.header.boot, held.header.seq);
        let first = self.pending.iter().find(unsettled).map_or(self.end, |held| held.index);
        self.oldest = self.oldest.max(first);
        while self.pending.front().is_some_and(|held| held.index < first) {
            self.pending.pop();
        }
    }

    /// Deletes the oldest segments whose frames are all settled, but not the one being written.
    pub(super) fn free_confirmed(&mut self) {
        let mut recorded = false;
        while self.log.oldest_closed().is_some_and(|segment| {
            segment
                .runs
                .iter()
                .all(|run| self.watermarks.get(&run.boot).is_some_and(|upto| run.last <= *upto))
        }) {
            recorded = recorded || self.record();
            if !recorded {
                break;
            }
            if self.log.delete_oldest().is_err() {
                self.counters.errors += 1;
                break;
            }
        }
    }
}
