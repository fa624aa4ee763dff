//! The flow against a NATS and a collector made of three sets, which forget, refuse and go away by
//! the dice of proptest; time is a number.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fettle_shared::frame::AgentName;
use proptest::prelude::*;

use super::flow::{Flow, Work};
use crate::handoff::{Batch, Outgoing, ReadRequest, SpoolView};

const PATIENCE: (usize, Duration, Duration) = (64, Duration::from_secs(5), Duration::from_secs(10));

/// Frames of 50 kB, a server, a stream and a collector.
struct World {
    now: Instant,
    flow: Flow,
    view: SpoolView,
    /// Flights the server has not answered.
    unanswered: Vec<(u64, u64)>,
    stream: BTreeSet<u64>,
    stream_seq: u64,
    stored: BTreeSet<u64>,
    sent: u64,
    up: bool,
    /// The stream says no.
    full: bool,
    /// The server says nothing.
    mute: bool,
    collector: bool,
}

impl World {
    fn new() -> Self {
        let now = Instant::now() + Duration::from_secs(3600);
        let view = SpoolView { oldest: 0, end: 0 };
        Self {
            now,
            flow: Flow::new(PATIENCE, view, 0, now),
            view,
            unanswered: Vec::new(),
            stream: BTreeSet::new(),
            stream_seq: 0,
            stored: BTreeSet::new(),
            sent: 0,
            up: false,
            full: false,
            mute: false,
            collector: true,
        }
    }

    fn batch(&self, request: ReadRequest) -> Batch {
        let agent = AgentName::new("a").unwrap();
        let bytes = Bytes::from_static(&[0; 50_000]);
        let frames = request.frames.min(request.bytes / bytes.len() + 1) as u64;
        let end = (request.to + 1).min(self.view.end).min(request.from + frames);
        let outgoing = |index| Outgoing { index, agent, boot: 1, seq: index + 1, bytes: bytes.clone() };
        Batch { frames: (request.from..end).map(outgoing).collect(), next: end.max(request.from) }
    }

    fn connect(&mut self) {
        if !self.up {
            self.up = true;
            self.flow.connect(self.now);
            self.flow.stream_seen(self.stream_seq, false, self.now);
        }
    }

    fn disconnect(&mut self) {
        self.up = false;
        self.unanswered.clear();
        self.flow.disconnect();
    }

    /// One step of a tenth of a second.
    fn step(&mut self) {
        for _ in 0..200 {
            let Work::Read { request, again } = self.flow.next(self.now) else { break };
            let batch = self.batch(request);
            self.flow.read(request, again, &batch, self.now);
            for frame in batch.frames {
                let number = self.flow.depart(frame.index, frame.bytes.len(), again, self.now);
                self.unanswered.push((number, frame.index));
                self.sent += 1;
            }
            self.answer();
        }
        self.now += Duration::from_millis(100);
    }

    fn answer(&mut self) {
        if self.mute || !self.up {
            return;
        }
        for (number, index) in std::mem::take(&mut self.unanswered) {
            if self.full {
                self.flow.refuse(number, self.now);
            } else {
                self.stream_seq += 1;
                self.stream.insert(index);
                self.flow.acknowledge(number, self.stream_seq, false, self.now);
            }
        }
    }

    fn collect(&mut self) {
        if self.collector && self.up && !self.stream.is_empty() {
            self.stored.append(&mut self.stream);
            self.flow.hear();
            let oldest = (self.view.oldest..self.view.end).find(|index| !self.stored.contains(index));
            self.view.oldest = oldest.unwrap_or(self.view.end);
            self.flow.see(self.view, self.now);
        }
    }

    fn second(&mut self, new_frames: u64) {
        self.view.end += new_frames;
        self.flow.see(self.view, self.now);
        for _ in 0..10 {
            self.step();
        }
        self.collect();
    }
}

#[test]
fn every_frame_is_sent_once_while_nothing_goes_wrong() {
    let mut world = World::new();
    world.connect();
    for _ in 0..1000 {
        world.second(1);
    }
    assert_eq!((world.sent, world.view.oldest), (1000, 1000));
}

#[test]
fn an_hour_without_nats_is_caught_up_in_seconds() {
    let mut world = World::new();
    for _ in 0..3600 {
        world.second(1);
    }
    assert_eq!(world.sent, 0);
    world.connect();
    for _ in 0..3 {
        world.second(1);
    }
    assert_eq!((world.sent, world.view.oldest), (3603, 3603));
}

#[test]
fn an_hour_without_a_collector_is_not_sent_twice() {
    let mut world = World::new();
    world.connect();
    world.collector = false;
    for _ in 0..3600 {
        world.second(1);
    }
    assert!(world.sent < 3600 + 3600 / 60 * 16 + 40, "{}", world.sent);
    world.collector = true;
    world.second(1);
    assert_eq!(world.view.oldest, 3601);
}

#[test]
fn a_wiped_stream_is_filled_again_at_once() {
    let mut world = World::new();
    world.connect();
    world.collector = false;
    for _ in 0..1000 {
        world.second(1);
    }
    world.disconnect();
    world.stream.clear();
    world.stream_seq = 0;
    world.collector = true;
    world.connect();
    world.second(1);
    world.second(1);
    assert_eq!(world.view.oldest, 1002);
}

#[test]
fn a_full_stream_is_asked_seldom() {
    let mut world = World::new();
    world.connect();
    world.full = true;
    for _ in 0..600 {
        world.second(1);
    }
    assert!(world.sent < 600, "{}", world.sent);
    world.full = false;
    for _ in 0..40 {
        world.second(1);
    }
    assert_eq!(world.view.oldest, 640);
}

#[derive(Debug, Clone)]
enum Event {
    Seconds(u8),
    Burst(u8),
    Disconnect,
    Connect,
    Wipe,
    /// The stream loses some messages and its numbers go on, as nobody would notice.
    LoseSome(u8),
    Full(bool),
    Mute(bool),
    Collector(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u8..90).prop_map(Event::Seconds),
        2 => any::<u8>().prop_map(Event::Burst),
        1 => Just(Event::Disconnect),
        2 => Just(Event::Connect),
        1 => Just(Event::Wipe),
        2 => any::<u8>().prop_map(Event::LoseSome),
        1 => any::<bool>().prop_map(Event::Full),
        1 => any::<bool>().prop_map(Event::Mute),
        2 => any::<bool>().prop_map(Event::Collector),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever NATS does: once all is well again, every frame is stored within minutes.
    #[test]
    fn everything_arrives_in_the_end(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::new();
        world.connect();
        for event in events {
            match event {
                Event::Seconds(n) => (0..n).for_each(|_| world.second(1)),
                Event::Burst(n) => world.second(u64::from(n)),
                Event::Disconnect => world.disconnect(),
                Event::Connect => world.connect(),
                Event::Wipe => {
                    world.stream.clear();
                    world.stream_seq = 0;
                }
                Event::LoseSome(n) => {
                    let modulus = u64::from(n % 7) + 1;
                    world.stream.retain(|index| index % modulus != 0);
                }
                Event::Full(full) => world.full = full,
                Event::Mute(mute) => world.mute = mute,
                Event::Collector(up) => world.collector = up,
            }
        }
        world.connect();
        (world.full, world.mute, world.collector) = (false, false, true);
        let published = world.view.end;
        let mut seconds = 0;
        while world.view.oldest < published {
            world.second(1);
            seconds += 1;
            prop_assert!(seconds < 240, "{} of {} stored", world.view.oldest, published);
        }
    }
}
