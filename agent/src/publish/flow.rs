//! What to send next: the window of frames that wait for their acknowledgement, the place in the
//! spool, and back-off. Plain data; time comes in. It never loses track of a frame, because all it
//! keeps is a place: whatever goes wrong, it goes back to the first frame in doubt.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::rounds::Rounds;
use crate::handoff::{Batch, ReadRequest, SpoolView};

/// Most bytes that may wait for their acknowledgement: what publishing costs in memory.
const WINDOW_BYTES: usize = 2 << 20;
/// Window after a failure or a reconnect; every acknowledgement doubles it.
const FIRST_WINDOW: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Acknowledgements closer together than this count as one moment.
const MOMENT: Duration = Duration::from_millis(500);

/// A frame that was published and is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub index: u64,
    pub bytes: usize,
    pub sent_at: Instant,
    /// Whether it was acknowledged before and is sent again because nobody confirmed it.
    pub again: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Read these and publish them.
    Read { request: ReadRequest, again: bool },
    /// Nothing, until something happens or this moment comes.
    Wait(Option<Instant>),
}

/// The state of publishing.
#[derive(Debug)]
pub(super) struct Flow {
    most: usize,
    ack_timeout: Duration,
    resend_after: Duration,
    view: SpoolView,
    /// Index of the next frame to publish in order.
    cursor: u64,
    /// One past the highest index that was ever published.
    high: u64,
    flights: BTreeMap<u64, Flight>,
    flying_bytes: usize,
    next_flight: u64,
    window: usize,
    connected: bool,
    failures: u32,
    paused_until: Option<Instant>,
    /// Up to which index NATS had acknowledged at which moment.
    acked: VecDeque<(u64, Instant)>,
    rounds: Rounds,
    stream_seq: u64,
}

impl Flow {
    /// Begins at `resume_at`; what lies before it was acknowledged before the restart.
    pub(super) fn new(
        (most, ack_timeout, resend_after): (usize, Duration, Duration),
        view: SpoolView,
        resume_at: u64,
        now: Instant,
    ) -> Self {
        Self {
            most: most.max(1),
            ack_timeout,
            resend_after,
            view,
            cursor: resume_at,
            high: resume_at,
            flights: BTreeMap::new(),
            flying_bytes: 0,
            next_flight: 1,
            window: FIRST_WINDOW,
            connected: false,
            failures: 0,
            paused_until: None,
            acked: VecDeque::from([(resume_at, now)]),
            rounds: Rounds::new(resend_after, now),
            stream_seq: 0,
        }
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: Instant) -> Work {
        if !self.connected {
            return Work::Wait(None);
        }
        let late = self.flights.values().next().map(|flight| flight.sent_at + self.ack_timeout);
        if late.is_some_and(|late| now >= late) {
            self.fail(now);
        }
        if let Some(until) = self.paused_until {
            if now < until {
                return Work::Wait(Some(until));
            }
            self.paused_until = None;
        }
        let room = self.window.min(self.most).saturating_sub(self.flights.len());
        let bytes = WINDOW_BYTES.saturating_sub(self.flying_bytes);
        let ripe = self.ripe(now);
        if room > 0 && bytes > 0 {
            if let Some(request) = self.rounds.due(self.view.oldest, ripe, now) {
                let frames = request.frames.min(room);
                return Work::Read { request: ReadRequest { frames, bytes, ..request }, again: true };
            }
            self.cursor = self.cursor.max(self.view.oldest);
            if self.cursor < self.view.end {
                let request = ReadRequest { from: self.cursor, to: self.view.end - 1, frames: room, bytes };
                return Work::Read { request, again: false };
            }
        }
        let late = self.flights.values().next().map(|flight| flight.sent_at + self.ack_timeout);
        let unconfirmed = self.view.oldest < self.acked_end();
        let ripens = self.acked.front().map(|(_, at)| *at + self.resend_after);
        let look =
            unconfirmed.then(|| ripens.map_or(self.rounds.next_at(), |at| at.max(self.rounds.next_at())));
        // A round that waits for room is woken by the acknowledgement that makes it.
        let look = look.filter(|at| *at > now).or_else(|| look.map(|_| now + self.resend_after));
        Work::Wait([late, look].into_iter().flatten().min())
    }

    /// A read gave this.
    pub(super) fn read(&mut self, request: ReadRequest, again: bool, batch: &Batch, now: Instant) {
        if again {
            self.rounds.sent(batch.next, batch.frames.len());
        } else if batch.next > request.from {
            self.cursor = self.cursor.max(batch.next);
        } else if batch.frames.is_empty() {
            self.paused_until = Some(now + Duration::from_secs(1));
        }
    }

    /// A frame goes out; gives its flight number.
    pub(super) fn depart(&mut self, index: u64, bytes: usize, again: bool, now: Instant) -> u64 {
        let number = self.next_flight;
        self.next_flight += 1;
        self.high = self.high.max(index + 1);
        self.flying_bytes += bytes;
        self.flights.insert(number, Flight { index, bytes, sent_at: now, again });
        number
    }

    /// Whether the frame was never published before.
    pub(super) fn is_first(&self, index: u64) -> bool {
        index >= self.high
    }

    /// NATS acknowledged a flight as message `seq` of the stream.
    pub(super) fn acknowledge(
        &mut self,
        number: u64,
        seq: u64,
        duplicate: bool,
        now: Instant,
    ) -> Option<Flight> {
        let flight = self.land(number)?;
        self.failures = 0;
        self.window = (self.window * 2).min(self.most);
        if !duplicate {
            // The stream's numbers only grow, unless it was lost, whole or in part.
            let went_back = seq <= self.stream_seq;
            self.stream_seq = seq;
            if went_back {
                self.forgotten(now);
                return Some(flight);
            }
        }
        self.note_acked(now);
        Some(flight)
    }

    /// NATS refused a flight; everything from it on is published again, after a pause.
    pub(super) fn refuse(&mut self, number: u64, now: Instant) {
        if let Some(flight) = self.land(number) {
            if !flight.again {
                self.go_back(flight.index);
            }
            self.pause(now);
        }
    }

    /// A frame that NATS cannot take at all: the others go on, and it is tried again with the rounds.
    pub(super) fn pass_over(&mut self, number: u64, now: Instant) {
        self.land(number);
        self.note_acked(now);
    }

    fn land(&mut self, number: u64) -> Option<Flight> {
        let flight = self.flights.remove(&number)?;
        self.flying_bytes -= flight.bytes;
        Some(flight)
    }

    /// Nothing is known of any flight.
    fn fail(&mut self, now: Instant) {
        self.doubt_flights();
        self.pause(now);
    }

    fn doubt_flights(&mut self) {
        if let Some(first) =
            self.flights.values().filter(|flight| !flight.again).map(|flight| flight.index).min()
        {
            self.go_back(first);
        }
        self.flights.clear();
        self.flying_bytes = 0;
    }

    fn pause(&mut self, now: Instant) {
        let pause = (FIRST_PAUSE * (1 << self.failures.min(10))).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.window = FIRST_WINDOW;
        self.paused_until = Some(now + pause);
    }

    fn go_back(&mut self, index: u64) {
        self.cursor = self.cursor.min(index);
        for (end, _) in &mut self.acked {
            *end = (*end).min(index);
        }
        // Flights behind it are unknown to nobody but us: their acknowledgements will not be missed.
        let gone: Vec<u64> =
            self.flights.iter().filter(|(_, f)| !f.again && f.index >= index).map(|(n, _)| *n).collect();
        for number in gone {
            self.land(number);
        }
    }

    /// NATS has lost what it acknowledged: all that is not confirmed is published anew.
    pub(super) fn forgotten(&mut self, now: Instant) {
        self.doubt_flights();
        self.go_back(self.view.oldest);
        self.rounds.reset(now);
    }

    /// The connection is there.
    pub(super) fn connect(&mut self, now: Instant) {
        self.connected = true;
        self.failures = 0;
        self.paused_until = None;
        self.rounds.reconnect(now);
    }

    /// The connection is gone, and with it all knowledge of what was under way.
    pub(super) fn disconnect(&mut self) {
        self.connected = false;
        self.doubt_flights();
        self.window = FIRST_WINDOW;
        // Whatever was acknowledged may be gone with the server: it need not ripen again.
        if let (Some(end), Some((_, at))) = (self.acked.back().map(|(end, _)| *end), self.acked.front()) {
            let at = at.checked_sub(self.resend_after).unwrap_or(*at);
            self.acked = VecDeque::from([(end, at)]);
        }
    }

    /// The stream was looked at: it has this last number, and is or is not the one it was. Says
    /// whether anything must be published anew.
    pub(super) fn stream_seen(&mut self, last_seq: u64, is_other: bool, now: Instant) -> bool {
        let lost = is_other || last_seq < self.stream_seq;
        let matters = lost && self.acked_end() > self.view.oldest;
        if lost {
            self.stream_seq = last_seq;
            self.forgotten(now);
        }
        matters
    }

    /// The collector spoke.
    pub(super) fn hear(&mut self) {
        self.rounds.hear();
    }

    /// The spool holds other frames than before.
    pub(super) fn see(&mut self, view: SpoolView, now: Instant) {
        let advanced = view.oldest > self.view.oldest;
        self.view = view;
        if advanced {
            self.rounds.advance(view.oldest, self.acked_end(), now);
        }
    }

    /// One past the last index of the unbroken run that NATS has acknowledged.
    pub(super) fn acked_end(&self) -> u64 {
        let flying = self.flights.values().filter(|flight| !flight.again).map(|flight| flight.index).min();
        flying.map_or(self.cursor, |first| first.min(self.cursor))
    }

    /// One past the last index that was acknowledged long enough ago.
    fn ripe(&mut self, now: Instant) -> u64 {
        let is_ripe = |at: Instant| now.saturating_duration_since(at) >= self.resend_after;
        while self.acked.len() > 1 && is_ripe(self.acked[1].1) {
            self.acked.pop_front();
        }
        self.acked.front().filter(|(_, at)| is_ripe(*at)).map_or(0, |(end, _)| *end)
    }

    fn note_acked(&mut self, now: Instant) {
        let end = self.acked_end();
        match self.acked.back_mut() {
            Some((last, at)) if now.saturating_duration_since(*at) < MOMENT => *last = (*last).max(end),
            Some((last, _)) if *last >= end => {}
            _ => self.acked.push_back((end, now)),
        }
    }

    /// Whether all there is has been acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.cursor.max(self.view.oldest) >= self.view.end
    }

    /// Whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }
}
