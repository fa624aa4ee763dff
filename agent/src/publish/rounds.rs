//! When to send again what NATS acknowledged and nobody confirmed.
//!
//! The collector confirms an unbroken run of numbers, so a hole in what it received shows as an
//! `oldest` that stands still. Three cases look alike from here and want different answers:
//!
//! * The collector is busy: `oldest` moves, late. Nothing is sent.
//! * The collector is away, or waits for one frame of an interrupted batch: nothing is heard. A
//!   small round now and then, wandering over what is unconfirmed, at a pace that JetStream, which
//!   most probably still holds it all, does not feel.
//! * NATS has lost frames: the collector is heard, and `oldest` stands still. A round from the
//!   oldest on; when it is confirmed exactly as far as the round went, the frames behind it are
//!   lost as well, and the next round follows at once and is twice as long. When it stops at a later
//!   hole, the next round follows as soon as it has stood still for two seconds.

use std::time::{Duration, Instant};

use crate::handoff::ReadRequest;

/// Frames of a first round.
const FIRST: usize = 8;
/// Most frames of a round while nothing is heard.
const MOST_DEAF: usize = 16;
/// Most frames of a round that follows an unconfirmed one.
const MOST_STUCK: usize = 64;
/// Most frames of a round that follows a confirmed one.
const MOST_RUNNING: usize = 1024;
/// Longest pause between rounds.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long `oldest` must stand still after a round that filled a hole.
const AFTER_FILLED: Duration = Duration::from_secs(2);
/// How soon after a reconnect the first round may be.
const AFTER_RECONNECT: Duration = Duration::from_secs(2);

/// A round that is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    next: u64,
    /// One past the last index it may reach.
    end: u64,
    left: usize,
}

/// What became of the last round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// There was none, or what is unconfirmed now has nothing to do with it.
    None,
    /// Nothing was confirmed since.
    Stuck,
    /// A part of it was.
    Partly,
    /// Exactly as much was confirmed as it sent: what lies behind it is missing as well.
    Running,
    /// It filled a hole, and what lies behind was confirmed up to the next one.
    Filled,
}

/// The pacing of rounds.
#[derive(Debug)]
pub(super) struct Rounds {
    resend_after: Duration,
    wait: Duration,
    next_at: Instant,
    size: usize,
    outcome: Outcome,
    round: Option<Round>,
    /// One past the last index the last round sent.
    reached: u64,
    /// Whether the collector was heard since the last round began.
    heard: bool,
}

impl Rounds {
    pub(super) fn new(resend_after: Duration, now: Instant) -> Self {
        Self {
            resend_after,
            wait: resend_after,
            next_at: now + resend_after,
            size: FIRST,
            outcome: Outcome::None,
            round: None,
            reached: 0,
            heard: false,
        }
    }

    /// The collector spoke.
    pub(super) fn hear(&mut self) {
        self.heard = true;
    }

    /// Everything before `oldest` is now confirmed; `acked` is one past what NATS had acknowledged.
    pub(super) fn advance(&mut self, oldest: u64, acked: u64, now: Instant) {
        if self.round.is_some_and(|round| round.end <= oldest) {
            self.round = None;
        }
        self.wait = self.resend_after;
        self.next_at = now + self.wait;
        let was_sent = !matches!(self.outcome, Outcome::None) && self.round.is_none();
        self.outcome = if oldest >= acked || !was_sent {
            Outcome::None
        } else if oldest == self.reached {
            self.next_at = now;
            Outcome::Running
        } else if oldest > self.reached {
            self.next_at = now + AFTER_FILLED;
            Outcome::Filled
        } else {
            Outcome::Partly
        };
    }

    /// NATS is back: look soon.
    pub(super) fn reconnect(&mut self, now: Instant) {
        self.wait = self.resend_after;
        self.next_at = self.next_at.min(now + AFTER_RECONNECT);
    }

    /// Whatever was going on is overtaken: everything unconfirmed is being sent anew.
    pub(super) fn reset(&mut self, now: Instant) {
        *self = Self::new(self.resend_after, now);
    }

    /// When to look again, if anything acknowledged is unconfirmed.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// The frames to send again now, of those in `oldest..ripe`.
    pub(super) fn due(&mut self, oldest: u64, ripe: u64, now: Instant) -> Option<ReadRequest> {
        if self.round.is_none() && oldest < ripe && now >= self.next_at {
            self.begin(oldest, ripe, now);
        }
        let round = self.round.as_mut()?;
        round.next = round.next.max(oldest);
        if round.left == 0 || round.next >= round.end {
            self.round = None;
            return None;
        }
        Some(ReadRequest { from: round.next, to: round.end - 1, frames: round.left, bytes: usize::MAX })
    }

    fn begin(&mut self, oldest: u64, ripe: u64, now: Instant) {
        let wander = !self.heard && (oldest..ripe).contains(&self.reached);
        let next = if wander { self.reached } else { oldest };
        self.size = match self.outcome {
            Outcome::None => FIRST,
            Outcome::Partly => self.size,
            Outcome::Stuck | Outcome::Filled => (self.size * 2).min(MOST_STUCK),
            Outcome::Running => (self.size * 2).min(MOST_RUNNING),
        };
        if !self.heard {
            self.size = self.size.min(MOST_DEAF);
        }
        self.round = Some(Round { next, end: ripe, left: self.size });
        self.reached = next;
        self.outcome = Outcome::Stuck;
        self.heard = false;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.next_at = now + self.wait;
    }

    /// A read for the round ended before `next` and gave this many frames.
    pub(super) fn sent(&mut self, next: u64, frames: usize) {
        if let Some(round) = &mut self.round {
            // A read that gets nowhere (the disk refuses) ends the round.
            round.left = if next > round.next { round.left.saturating_sub(frames) } else { 0 };
            round.next = round.next.max(next);
            self.reached = round.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    /// Sends the round that is due and says which indexes it took.
    fn send(rounds: &mut Rounds, oldest: u64, ripe: u64, now: Instant) -> Option<std::ops::Range<u64>> {
        let request = rounds.due(oldest, ripe, now)?;
        let next = (request.from + request.frames as u64).min(request.to + 1);
        rounds.sent(next, (next - request.from) as usize);
        assert_eq!(rounds.due(oldest, ripe, now), None, "a round ends");
        Some(request.from..next)
    }

    #[test]
    fn a_deaf_collector_costs_little() {
        let start = Instant::now();
        let mut rounds = Rounds::new(AFTER, start);
        let mut sent = 0;
        let mut seen = std::collections::BTreeSet::new();
        for second in 0..3600 {
            if let Some(range) = send(&mut rounds, 0, 3600, start + Duration::from_secs(second)) {
                sent += range.end - range.start;
                seen.extend(range);
            }
        }
        assert!(sent <= 3600 / 60 * 16 + 40, "{sent} frames in an hour");
        assert_eq!(seen.len() as u64, sent, "each round goes on where the last one ended");
    }

    #[test]
    fn what_nats_lost_is_sent_again_faster_and_faster() {
        let start = Instant::now();
        let mut rounds = Rounds::new(AFTER, start);
        let (mut oldest, mut seconds, lost) = (0, 0, 10_000);
        while oldest < lost {
            seconds += 1;
            assert!(seconds < 40, "{oldest} of {lost} confirmed");
            let now = start + Duration::from_secs(seconds);
            rounds.hear();
            if let Some(range) = send(&mut rounds, oldest, lost, now) {
                oldest = range.end;
                rounds.advance(oldest, lost, now);
            }
        }
    }

    #[test]
    fn a_hole_is_filled_and_nothing_else_is_sent() {
        let start = Instant::now();
        let mut rounds = Rounds::new(AFTER, start);
        let now = start + AFTER;
        rounds.hear();
        assert_eq!(send(&mut rounds, 5, 500, now), Some(5..13));
        rounds.hear();
        rounds.advance(500, 500, now);
        assert_eq!(send(&mut rounds, 500, 500, now + AFTER), None);
        assert_eq!(send(&mut rounds, 500, 700, now + AFTER), Some(500..508), "and the next begins small");
    }

    #[test]
    fn a_slow_collector_is_left_alone() {
        let start = Instant::now();
        let mut rounds = Rounds::new(AFTER, start);
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            rounds.hear();
            rounds.advance(second * 3 + 1, 10_000, now);
            assert_eq!(send(&mut rounds, second * 3 + 1, 10_000, now), None);
        }
    }
}
