//! The publisher's loop: waits for the spool, for NATS and for the clock, and does what the flow
//! says. It runs on the agent's one asynchronous thread and wakes a few times for every frame.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::{jetstream, Client, HeaderMap, Message, Subscriber};
use fettle_shared::frame::AgentName;
use fettle_shared::subjects::{message_id, metrics_subject, partition_of, stored_subject, Stored};
use futures_util::future::{BoxFuture, OptionFuture};
use futures_util::stream::SelectAll;
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use tokio::sync::{mpsc, oneshot, watch};

use super::acks::{self, Answer, Refusal};
use super::boots::SentBoots;
use super::flow::{Flow, Work};
use super::link::{self, LinkEvent};
use super::stream::{self, StreamSeen};
use super::{NatsSettings, PublishError};
use crate::handoff::{Batch, CollectorHeard, Figures, Outgoing, ReadRequest, SpoolHandle, SpoolView};

/// How many acknowledged frames the spool need not be told of.
const TELL_EVERY: u64 = 64;
/// How long to wait before asking a spool again that is behind.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How often percentiles are worked out and complaints repeated.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Times from publish to acknowledgement, in µs; shared with `/metrics`.
#[derive(Debug, Clone)]
pub struct AckTimes(Arc<Mutex<Histogram<u64>>>);

impl Default for AckTimes {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are valid");
        Self(Arc::new(Mutex::new(histogram)))
    }
}

impl AckTimes {
    /// Looks at the histogram.
    pub fn with<T>(&self, look: impl FnOnce(&Histogram<u64>) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn record(&self, micros: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros.max(1));
    }
}

type Reading = (ReadRequest, bool, oneshot::Receiver<Batch>);

/// Publishes what the spool holds.
pub struct Publisher {
    settings: NatsSettings,
    figures: Arc<Figures>,
    times: AckTimes,
    spool: SpoolHandle,
    view: watch::Receiver<SpoolView>,
    client: Client,
    context: jetstream::Context,
    events: mpsc::Receiver<LinkEvent>,
    inbox: String,
    answers: Subscriber,
    stored: SelectAll<Subscriber>,
    flow: Flow,
    reading: Option<Reading>,
    ask_again: Option<Instant>,
    ensuring: Option<BoxFuture<'static, Result<StreamSeen, String>>>,
    created: Option<String>,
    attempt: u32,
    told: u64,
    summed_up: Instant,
    complained: Option<Instant>,
    heard: CollectorHeard,
    boots: SentBoots,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("flow", &self.flow).finish_non_exhaustive()
    }
}

/// What woke the loop.
enum Wake {
    Link(Option<LinkEvent>),
    Answer(Option<Message>),
    Stored(Option<Message>),
    Spool(bool),
    Read(Batch),
    Ensured(Result<StreamSeen, String>),
    Clock,
    Stop,
}

impl Publisher {
    /// Begins to connect. `agents` are the names whose frames the spool holds, `resume_at` the first
    /// index that was not acknowledged before the restart.
    pub async fn start(
        settings: NatsSettings,
        agent: &str,
        agents: &[AgentName],
        spool: SpoolHandle,
        resume_at: u64,
        figures: Arc<Figures>,
    ) -> Result<Self, PublishError> {
        let (client, events) = link::connect(&settings.access, agent).await?;
        let ended = |error: async_nats::SubscribeError| PublishError::Ended { cause: error.to_string() };
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await.map_err(ended)?;
        let mut stored = SelectAll::new();
        for name in agents {
            stored.push(client.subscribe(stored_subject(name.as_str())).await.map_err(ended)?);
        }
        let (now, mut view) = (Instant::now(), spool.view());
        let patience = (settings.window, settings.ack_timeout, settings.resend_after);
        let flow = Flow::new(patience, *view.borrow_and_update(), resume_at, now);
        Ok(Self {
            context: jetstream::new(client.clone()),
            times: AckTimes::default(),
            attempt: 0,
            told: resume_at,
            summed_up: now,
            settings,
            figures,
            spool,
            view,
            client,
            events,
            inbox,
            answers,
            stored,
            flow,
            reading: None,
            ask_again: None,
            ensuring: None,
            created: None,
            complained: None,
            heard: CollectorHeard::new(now),
            boots: SentBoots::default(),
        })
    }

    /// The times to acknowledgement, to be shown elsewhere.
    pub fn ack_times(&self) -> AckTimes {
        self.times.clone()
    }

    /// The connection, for whoever else speaks over it.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// When the collector was last heard of.
    pub fn heard(&self) -> CollectorHeard {
        self.heard.clone()
    }

    /// Publishes until `stop` turns true, then sends what is left for at most `patience`.
    /// An error means that the client itself has ended.
    pub async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
        patience: Duration,
    ) -> Result<(), PublishError> {
        while !*stop.borrow_and_update() && stop.has_changed().is_ok() {
            let wake = self.wait(&mut stop).await;
            self.handle(wake).await?;
        }
        // The word of the newest frame may not have been taken yet: without it the flow would seem idle.
        let view = *self.view.borrow_and_update();
        self.flow.see(view, Instant::now());
        let deadline = Instant::now() + patience;
        let (_never, mut never) = watch::channel(false);
        while self.flow.is_connected() && !self.is_done() {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.wait(&mut never)).await {
                Ok(wake) => self.handle(wake).await?,
                Err(_) => break,
            }
        }
        self.spool.published(self.flow.acked_end().saturating_sub(1));
        let _ = tokio::time::timeout(Duration::from_millis(200), self.client.flush()).await;
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.flow.is_idle() && self.reading.is_none()
    }

    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Wake {
        let deadline = self.plan(Instant::now());
        let clock = OptionFuture::from(deadline.map(|at| tokio::time::sleep_until(at.into())));
        let read = OptionFuture::from(self.reading.as_mut().map(|(_, _, reply)| reply));
        let ensured = OptionFuture::from(self.ensuring.as_mut());
        tokio::select! {
            biased;
            _ = stop.changed() => Wake::Stop,
            event = self.events.recv() => Wake::Link(event),
            Some(seen) = ensured => Wake::Ensured(seen),
            message = self.answers.next() => Wake::Answer(message),
            message = self.stored.next() => Wake::Stored(message),
            changed = self.view.changed() => Wake::Spool(changed.is_ok()),
            Some(batch) = read => Wake::Read(batch.unwrap_or_default()),
            Some(()) = clock => Wake::Clock,
        }
    }

    /// Asks the spool for what the flow wants; gives the moment to look again.
    fn plan(&mut self, now: Instant) -> Option<Instant> {
        if self.reading.is_some() || self.ensuring.is_some() {
            return None;
        }
        if self.ask_again.is_some_and(|at| now < at) {
            return self.ask_again;
        }
        self.ask_again = None;
        match self.flow.next(now) {
            Work::Wait(until) => until,
            Work::Read { request, again } => {
                match self.spool.read(request) {
                    Some(reply) => self.reading = Some((request, again, reply)),
                    None => self.ask_again = Some(now + ASK_AGAIN),
                }
                self.ask_again
            }
        }
    }

    async fn handle(&mut self, wake: Wake) -> Result<(), PublishError> {
        let now = Instant::now();
        match wake {
            Wake::Link(Some(event)) => self.on_link(event, now),
            Wake::Stop | Wake::Clock => {}
            Wake::Spool(false) => return Err(PublishError::Ended { cause: "the spool is closed".into() }),
            Wake::Answer(Some(message)) => self.on_answer(&message, now),
            Wake::Stored(Some(message)) => {
                if let Some(stored) = Stored::from_bytes(&message.payload) {
                    self.flow.hear();
                    if self.boots.knows(stored.boot) {
                        self.heard.note(now);
                    }
                    self.spool.confirm(stored);
                }
            }
            Wake::Answer(None) | Wake::Stored(None) | Wake::Link(None) => {
                return Err(PublishError::Ended { cause: "its subscriptions are closed".into() });
            }
            Wake::Spool(true) => {
                let view = *self.view.borrow_and_update();
                self.flow.see(view, now);
            }
            Wake::Read(batch) => self.on_read(batch, now).await,
            Wake::Ensured(seen) => self.on_ensured(seen, now),
        }
        Ok(())
    }

    fn on_link(&mut self, event: LinkEvent, now: Instant) {
        match event {
            LinkEvent::Up => {
                tracing::info!(url = self.settings.access.shown(), "NATS is connected");
                self.figures.connected.set(1);
                self.figures.connects.add(1);
                self.flow.connect(now);
                self.complained = None;
                self.ensure();
            }
            LinkEvent::Down => {
                tracing::warn!("NATS is away; frames stay in the spool until it is back");
                self.figures.connected.set(0);
                self.flow.disconnect();
                self.ensuring = None;
            }
            LinkEvent::Trouble(what) if self.ensuring.is_some() && stream::may_not_make(&what) => {
                self.ensuring = None;
                tracing::info!(
                    "the stream is not there, and a collector's to make; frames wait in the spool"
                );
            }
            LinkEvent::Trouble(what) => self.complain(&what, now),
        }
    }

    fn ensure(&mut self) {
        self.ensuring = Some(Box::pin(stream::ensure(self.context.clone())));
    }

    fn on_ensured(&mut self, seen: Result<StreamSeen, String>, now: Instant) {
        self.ensuring = None;
        match seen {
            Ok(seen) => {
                let other = self.created.as_ref().map_or(seen.made, |created| *created != seen.created);
                if self.flow.stream_seen(seen.last_seq, other, now) {
                    tracing::warn!("NATS has lost the stream; everything not confirmed is published again");
                }
                self.created = Some(seen.created);
            }
            Err(cause) => self.complain(&cause, now),
        }
    }

    fn on_answer(&mut self, message: &Message, now: Instant) {
        let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let Some(number) = token else { return };
        match acks::read(message.status.map(|status| status.as_u16()), &message.payload) {
            Answer::Acked { seq, duplicate } => {
                if let Some(flight) = self.flow.acknowledge(number, seq, duplicate, now) {
                    self.figures.publish_acks.add(1);
                    self.times.record(now.saturating_duration_since(flight.sent_at).as_micros() as u64);
                    self.sum_up(now);
                }
            }
            Answer::Refused(Refusal::TooLarge) => {
                self.flow.pass_over(number, now);
                self.figures.publish_failures.add(1);
                self.complain("a frame is longer than NATS takes; set its max_payload to 1MB or more", now);
            }
            Answer::Refused(refusal) => {
                self.flow.refuse(number, now);
                self.figures.publish_failures.add(1);
                match refusal {
                    Refusal::Other(cause) => self.complain(&cause, now),
                    _ if self.ensuring.is_none() => self.ensure(),
                    _ => {}
                }
            }
        }
    }

    fn sum_up(&mut self, now: Instant) {
        let end = self.flow.acked_end();
        if end >= self.told + TELL_EVERY {
            self.told = end;
            self.spool.published(end - 1);
        }
        if now.saturating_duration_since(self.summed_up) >= SUMMARY_EVERY {
            self.summed_up = now;
            let (median, tail) = self.times.with(|t| (t.value_at_quantile(0.5), t.value_at_quantile(0.99)));
            self.figures.publish_ack_us_p50.set(median);
            self.figures.publish_ack_us_p99.set(tail);
        }
    }

    async fn on_read(&mut self, batch: Batch, now: Instant) {
        let Some((request, again, _)) = self.reading.take() else { return };
        if !self.flow.is_connected() {
            // It is read again when there is someone to send it to.
            return;
        }
        self.flow.read(request, again, &batch, now);
        for frame in batch.frames {
            self.publish(frame, again, now).await;
        }
    }

    async fn publish(&mut self, frame: Outgoing, again: bool, now: Instant) {
        let agent = frame.agent.as_str();
        let attempt = if self.flow.is_first(frame.index) { 0 } else { self.next_attempt() };
        if again {
            self.figures.publish_resends.add(1);
        }
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", message_id(agent, frame.boot, frame.seq, attempt));
        let subject = metrics_subject(partition_of(agent, self.settings.partitions), agent);
        let len = frame.bytes.len();
        let number = self.flow.depart(frame.index, len, again, now);
        let reply = format!("{}.{number}", self.inbox);
        match self.client.publish_with_reply_and_headers(subject, reply, headers, frame.bytes).await {
            Ok(()) => {
                self.boots.note(frame.boot);
                self.figures.publish_bytes.add(len as u64);
            }
            Err(error) => {
                self.figures.publish_failures.add(1);
                if error.kind() == async_nats::client::PublishErrorKind::MaxPayloadExceeded {
                    self.flow.pass_over(number, now);
                } else {
                    self.flow.refuse(number, now);
                }
                self.complain(&error.to_string(), now);
            }
        }
    }

    /// A number that no earlier attempt had, of this run or one before: the clock's seconds, or more.
    fn next_attempt(&mut self) -> u32 {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32;
        self.attempt = clock.max(self.attempt.wrapping_add(1)).max(1);
        self.attempt
    }

    /// Says what is wrong, but not again and again.
    fn complain(&mut self, what: &str, now: Instant) {
        if self.complained.is_none_or(|at| now.saturating_duration_since(at) >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            tracing::warn!(cause = what, "NATS does not take frames; they stay in the spool");
        }
    }
}
