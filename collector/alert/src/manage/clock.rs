//! The manager's own time. It stands rather than going back for a moment: a clock that is set right by seconds, or an
//! owner of operations whose clock is a little behind the last one's, changes nothing. One that stays behind is
//! right and what was saved is from its future (a clock was a day ahead, and everything that waits would wait for
//! a day): then the manager follows it back.
//!
//! What has a time of that future is moved back by as much as the manager itself, so that everything is as old as it was
//! a moment before, and what was to happen in a minute happens in a minute: nothing is told again, earlier or never. What
//! has a time before, by the right clock, keeps it; it becomes younger by that, never older, so that nothing that waits for an
//! age is told early either. Silences that people made for a time to come stay where they put them.

use super::config::MINUTE;
use super::heard::Hearing;
use super::reason::Reason;
use super::state::{Delivery, State, Transition};
use super::{push_row, Manager};

/// A clock that is behind by no more than this is waited for, µs.
const BEHIND_US: i64 = MINUTE;
/// A clock that is behind for no longer than this is waited for, µs by that clock.
const WAIT_US: i64 = MINUTE;

impl Manager {
    /// The time of this tick, µs since 1970.
    pub(super) fn advance(&mut self, clock_us: i64) -> i64 {
        let ticked_us = self.state.ticked_us;
        if clock_us >= ticked_us.saturating_sub(BEHIND_US) {
            self.behind_since_us = None;
            return clock_us.max(ticked_us);
        }
        let since_us = self.behind_since_us.filter(|since| *since <= clock_us).unwrap_or(clock_us);
        self.behind_since_us = Some(since_us);
        if clock_us - since_us < WAIT_US {
            return ticked_us;
        }
        self.behind_since_us = None;
        self.follow_back(clock_us);
        clock_us
    }

    fn follow_back(&mut self, clock_us: i64) {
        let by_us = self.state.ticked_us - clock_us;
        self.state.follow_back(clock_us, by_us);
        // Silence before this counts for nothing, as after a start.
        self.hearing = Hearing::default();
        self.suppressors = None;
        self.state.set_back += 1;
        self.version += 1;
        let row = Transition {
            at_us: clock_us,
            alert: String::new(),
            rule: String::new(),
            labels: Default::default(),
            severity: String::new(),
            value: 0.0,
            from: String::new(),
            to: String::new(),
            reason: Reason::ClockSetBack.name().to_owned(),
            group: String::new(),
            incident: String::new(),
            text: format!("alerts were {} s ahead of the clock", by_us / 1_000_000),
        };
        push_row(&mut self.state.rows, &mut self.state.rows_dropped, row);
    }
}

/// Times that were written while the clock was ahead, moved back.
struct Back {
    clock_us: i64,
    by_us: i64,
}

impl Back {
    fn at(&self, at_us: &mut i64) {
        if *at_us > self.clock_us {
            *at_us -= self.by_us;
        }
    }

    fn all<'a>(&self, times: impl IntoIterator<Item = &'a mut i64>) {
        times.into_iter().for_each(|at| self.at(at));
    }
}

impl State {
    fn follow_back(&mut self, clock_us: i64, by_us: i64) {
        let back = Back { clock_us, by_us };
        let ahead = clock_us..=self.ticked_us;
        for alert in self.alerts.values_mut() {
            back.at(&mut alert.began_us);
            back.all(&mut alert.resolved_us);
            back.all(&mut alert.cooled_us);
            back.all(&mut alert.changes);
            back.all(alert.acknowledged.as_mut().map(|by| &mut by.at_us));
            back.all(alert.why.iter_mut().map(|why| &mut why.at_us));
        }
        for group in self.groups.values_mut() {
            back.all(&mut group.open_us);
            back.at(&mut group.told_us);
            back.all(&mut group.batch_due_us);
            back.all(&mut group.digest_due_us);
        }
        for storm in self.storms.values_mut() {
            back.all(&mut storm.tellings);
            back.all(&mut storm.arrivals);
            back.all(&mut storm.since_us);
            back.at(&mut storm.until_us);
        }
        for silence in self.silences.values_mut().filter(|silence| ahead.contains(&silence.begins_us)) {
            silence.begins_us -= by_us;
            silence.expires_us -= by_us;
        }
        for incident in self.incidents.values_mut() {
            back.at(&mut incident.began_us);
            back.at(&mut incident.joined_us);
            back.all(&mut incident.over_us);
        }
        for outgoing in self.outbox.values_mut() {
            if let Delivery::Failed(again_us) = &mut outgoing.delivery {
                back.at(again_us);
            }
        }
        back.at(&mut self.overflow.told_us);
        self.ticked_us = clock_us;
    }
}
