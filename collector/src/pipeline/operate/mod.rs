//! Operations: alerts and mending for the whole fleet, held by one collector at a time under a lease of its
//! own. What partitions report comes in over NATS; what is decided is saved whole before any of it is done, so
//! that a collector killed at any moment leaves a state from which the next one goes on: the same
//! notification under the same id, the same order under the same id and generation.
//!
//! `desk.rs` decides, `history.rs` keeps rows for ClickHouse, `answers.rs` speaks with people, `rules.rs` runs
//! beside partitions and finds what is wrong; this file is the loop that carries things between them.

mod answers;
mod begin;
mod desk;
mod error;
mod files;
mod history;
mod ids;
mod receipts;
mod report;
mod rules;
mod saved;
mod taken;
mod tell;
mod unanswered;

use std::sync::Arc;
use std::time::Duration;

use fettle_alert::handoff::Notification;
use fettle_alert::manage;
use fettle_decide::policy::Policy;
use fettle_shared::command::Order;
use fettle_shared::inventory::Inventory;
use fettle_shared::subjects::INVENTORY_FILTER;
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::commit::now_us;
use super::{Context, RESTART_PAUSE};
use crate::handoff::{AskError, Question};
use crate::ingest::{Lease, LeaseView};
use crate::orders::{Answer, HandedIn, OrdersError, Receipts, Seals, Sender, StateCell};
use crate::store::StoreError;
use crate::telemetry::Telemetry;
use begin::Damage;
use desk::{Desk, Turn};
use error::OperateError;
use files::Source;
use receipts::MOST_UNCONFIRMED;
use report::HostReport;
use saved::Saved;
use tell::Channels;
use unanswered::Unanswered;

pub use begin::{adopt, start, Adopted, NotAdopted, Start};
pub use files::OperationsFiles;
pub use rules::Heard;
use taken::Alerting;
pub use taken::{check, NotTaken};

/// Operations are a partition of their own as far as leases go.
const PARTITION: u16 = u16::MAX;
/// Who freezes when no person does.
const COLLECTOR: &str = "collector";
/// Name of the state.
const STATE: &str = "state";
/// How often it is decided.
const TICK: Duration = Duration::from_millis(100);
/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Outcomes that may wait.
const WAITING: usize = 256;

/// What operations work with.
#[derive(Debug)]
pub struct Operations {
    /// The collector's own things.
    pub context: Context,
    /// The key that orders and the state are signed with; none without a state directory, and then nothing is
    /// ordered.
    pub seals: Option<Seals>,
    /// The operator's files.
    pub files: OperationsFiles,
    /// What people ask.
    pub questions: mpsc::Receiver<Question>,
}

/// What comes back from things done beside the loop.
enum Done {
    Order(Box<Order>, Answer),
    Notification(Box<Notification>, manage::Outcome),
    History(Result<u64, StoreError>),
}

/// Runs operations until `stop` is set; begins again from the saved state after a failure.
pub async fn run(mut operations: Operations, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        match own(&mut operations, stop.clone()).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, "operations begin again from the saved state");
                operations.context.health.set("operations", false, &error.to_string());
                tokio::select! {
                    () = tokio::time::sleep(RESTART_PAUSE) => {}
                    _ = stop.changed() => {}
                }
            }
        }
    }
}

/// Takes the lease, then decides until it is lost.
async fn own(operations: &mut Operations, mut stop: watch::Receiver<bool>) -> Result<(), OperateError> {
    let context = operations.context.clone();
    // Another collector may well hold them: that is health too.
    context.health.set("operations", true, "held by another collector, or being taken over");
    let acquire = Lease::acquire(context.nats.clone(), PARTITION, &context.owner, false);
    tokio::pin!(acquire);
    let lease = loop {
        tokio::select! {
            lease = &mut acquire => break lease?,
            Some(question) = operations.questions.recv() => {
                let _ = question.answer.send(Err(AskError::Elsewhere("the lease is not ours".into())));
            }
            _ = stop.changed() => return Ok(()),
        }
    };
    let run = format!("{:x}", now_us());
    let mut cell = StateCell::new(context.nats.clone(), STATE, &run, operations.seals.clone());
    let (saved, mut damage) = match begin::saved_state(&mut cell, &context.store).await {
        Ok(saved) => (saved, None),
        Err(begin::Lost::Away(error)) => return Err(error.into()),
        Err(begin::Lost::Refused(damage)) => (None, Some(damage)),
    };
    let lost = saved.is_none();
    let mut office = Office::open(operations, cell, saved, lease.view()).await?;
    // Records of the audit are stored after the state that has them was saved: where there are some, there was a state.
    if lost && office.go_on_from_history().await? && operations.seals.is_some() {
        damage.get_or_insert_with(Damage::lost);
    }
    if let Some(damage) = damage {
        office.stand_still(&damage);
    }
    context.health.set("operations", true, "deciding");
    office.run(&mut operations.questions, &mut stop).await
}

/// The files that operations follow.
struct Followed {
    alerting: Source,
    policies: Source,
    looked: Instant,
}

/// Operations while they are held.
struct Office {
    context: Context,
    desk: Desk,
    cell: StateCell,
    lease: LeaseView,
    sender: Option<Sender>,
    channels: Arc<Channels>,
    followed: Followed,
    /// Decided, and waiting for the state to be saved.
    owed: Turn,
    /// Answers to be given once the state is saved.
    unanswered: Unanswered,
    /// Receipts to be confirmed once the state is saved.
    handed_in: Vec<HandedIn>,
    reports: async_nats::Subscriber,
    inventories: async_nats::Subscriber,
    receipts: Option<Receipts>,
    done: (mpsc::Sender<Done>, mpsc::Receiver<Done>),
    writing: Option<JoinHandle<()>>,
}

impl Office {
    async fn open(
        operations: &Operations,
        cell: StateCell,
        saved: Option<Saved>,
        lease: LeaseView,
    ) -> Result<Self, OperateError> {
        let context = operations.context.clone();
        let mut followed = Followed {
            alerting: Source::new(operations.files.alerting.clone()),
            policies: Source::new(operations.files.policies.clone()),
            looked: Instant::now(),
        };
        let before = saved.as_ref().map_or("", |saved| saved.alerting.as_str());
        let Alerting { config, channels, text } = context
            .not_taken
            .alerting_at_start(&mut followed.alerting, before)
            .map_err(OperateError::Channels)?;
        // Without the operator's own word nothing is done to a host: the built-in policy may do what theirs forbids.
        let policy = context
            .not_taken
            .policies(&mut followed.policies)
            .unwrap_or_else(|| Policy { frozen: true, ..Policy::built_in() });
        let mut desk = Desk::new(saved, config, policy);
        desk.not_taken = context.not_taken.clone();
        if desk.alerting != text {
            desk.alerting = text;
            desk.touch();
        }
        let listen = |filter: &'static str| {
            let nats = context.nats.clone();
            async move { nats.subscribe(filter).await.map_err(|e| OperateError::Subscribe(e.to_string())) }
        };
        let key = operations.seals.as_ref().map(|seals| seals.key().clone());
        let sender = key.map(|key| Sender::new(context.nats.clone(), key));
        Ok(Self {
            desk,
            cell,
            lease,
            receipts: sender.as_ref().map(Sender::receipts),
            sender,
            channels: Arc::new(channels),
            followed,
            owed: Turn::default(),
            unanswered: Unanswered::default(),
            handed_in: Vec::new(),
            reports: listen(report::FILTER).await?,
            inventories: listen(INVENTORY_FILTER).await?,
            done: mpsc::channel(WAITING),
            writing: None,
            context,
        })
    }

    /// Without a saved state the audit goes on where the stored one ends, and a freeze stays in force: else the
    /// chain would begin anew beside the old one. What else was known is found again, and told again. Gives whether
    /// there was anything.
    async fn go_on_from_history(&mut self) -> Result<bool, OperateError> {
        let end = self.context.store.audit_end().await?;
        let was = end.is_some();
        if let Some((head, freeze)) = end {
            tracing::warn!(
                seq = head.seq,
                hash = head.hash,
                frozen = freeze.is_some(),
                "the saved alerts and plans are lost: the audit goes on after its last stored record; alerts are \
                 found and told again, silences and acknowledgements are gone"
            );
            self.desk.operator.go_on(head, freeze, now_us());
            self.desk.touch();
        }
        Ok(was)
    }

    /// A state that cannot be taken, or is gone, may have held a freeze, and somebody may be writing what is not so: nothing
    /// is mended until a person says so. A person's own freeze that the history knows of stays theirs when the state is gone.
    fn stand_still(&mut self, damage: &Damage) {
        tracing::error!(
            reason = damage.name,
            "{}; mending is frozen, and `fettle unfreeze` ends that",
            damage.words
        );
        Telemetry::add(&self.context.telemetry.counters.states_refused, 1);
        *self.desk.refused_states.entry(damage.name).or_default() += 1;
        let of_person =
            self.desk.operator.state().freeze.as_ref().is_some_and(|freeze| freeze.who != COLLECTOR);
        if damage.name != begin::LOST || !of_person {
            if let Err(error) = self.desk.operator.freeze(COLLECTOR, &damage.words, now_us()) {
                tracing::error!(%error, "mending is not frozen");
            }
        }
        self.desk.touch();
    }

    async fn run(
        &mut self,
        questions: &mut mpsc::Receiver<Question>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), OperateError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    self.look_at_files();
                    self.look_at_pace();
                    self.turn().await?;
                }
                Some(message) = self.reports.next() => self.take_report(&message),
                Some(message) = self.inventories.next() => self.take_inventory(&message),
                Some(handed_in) = receipts::next(&mut self.receipts),
                    if self.handed_in.len() < MOST_UNCONFIRMED => self.take_receipt(handed_in),
                Some(done) = self.done.1.recv() => {
                    let sent = matches!(done, Done::Notification(..));
                    self.take_done(done);
                    if sent {
                        // Saved at once: a crash before that would send it again.
                        self.turn().await?;
                    }
                }
                Some(question) = questions.recv() => {
                    if self.answer(question) {
                        self.turn().await?;
                    }
                }
                _ = stop.changed() => {
                    // What was decided is saved; whoever comes next carries it out.
                    self.save().await?;
                    self.unanswered.saved();
                    return Ok(());
                }
            }
        }
    }

    fn take_report(&mut self, message: &async_nats::Message) {
        if message.payload.len() > report::MOST_BYTES {
            return;
        }
        match serde_json::from_slice::<HostReport>(&message.payload) {
            Ok(report) if report.belongs_to(&message.subject) => self.desk.report(&report, now_us()),
            Ok(report) => {
                tracing::warn!(subject = %message.subject, host = report.host, "a report about another host; refused");
            }
            Err(error) => tracing::debug!(%error, "a report cannot be read"),
        }
    }

    fn take_inventory(&mut self, message: &async_nats::Message) {
        if message.payload.len() > report::MOST_BYTES {
            return;
        }
        let Ok(inventory) = serde_json::from_slice::<Inventory>(&message.payload) else { return };
        if message.subject.strip_prefix("fettle.inventory.") != Some(inventory.host.as_str()) {
            return;
        }
        if let Err(problem) = inventory.check() {
            tracing::warn!(host = inventory.host, problem, "an inventory is refused");
            return;
        }
        self.desk.complaints(&inventory, now_us());
        self.desk.inventory(inventory);
    }

    fn take_done(&mut self, done: Done) {
        let now = now_us();
        match done {
            Done::Order(order, Answer::Receipt(receipt)) => {
                tracing::info!(order = order.id, host = order.host, outcome = ?receipt.outcome, "an order is answered");
                self.desk.receipt(&receipt, now);
            }
            Done::Order(order, Answer::Silence(cause)) => {
                tracing::warn!(order = order.id, host = order.host, cause, "an order is not answered");
            }
            Done::Notification(sent, outcome) => {
                let (word, error) = match &outcome {
                    manage::Outcome::Sent { .. } => ("sent", ""),
                    manage::Outcome::Failed { problem } => ("failed", problem.as_str()),
                    manage::Outcome::GaveUp { problem } => ("gave_up", problem.as_str()),
                };
                self.desk.history.notification(&sent, word, error, now);
                self.desk.manager.sent(&sent.id, &outcome, now);
            }
            Done::History(written) => {
                self.writing = None;
                match written {
                    Ok(upto) => {
                        self.desk.history.written(upto);
                        self.desk.touch();
                    }
                    Err(error) => tracing::warn!(%error, "history waits for ClickHouse"),
                }
            }
        }
    }

    /// Decides, saves, and carries out what was decided.
    async fn turn(&mut self) -> Result<(), OperateError> {
        if !self.lease.is_valid() {
            return Err(OperateError::LeaseLost);
        }
        let mut turn = self.desk.turn(now_us());
        self.owed.orders.append(&mut turn.orders);
        self.owed.notifications.append(&mut turn.notifications);
        if turn.changed {
            match self.save().await {
                Ok(()) => {}
                Err(OperateError::Orders(error @ OrdersError::Away { .. })) => {
                    tracing::warn!(%error, "what was decided waits to be saved");
                    self.desk.still_unsaved();
                    self.unanswered.overdue(Instant::now());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.unanswered.saved();
        self.carry_out();
        self.write_history();
        self.confirm_receipts().await;
        Ok(())
    }

    async fn save(&mut self) -> Result<(), OperateError> {
        let bytes = self.desk.save()?;
        match self.cell.save(&bytes, now_us()).await {
            // Somebody wrote there who may not; what is known here is as good as before, and takes its place.
            Err(error @ OrdersError::NotTaken { .. }) => {
                self.stand_still(&Damage::of(&error));
                let bytes = self.desk.save()?;
                Ok(self.cell.save(&bytes, now_us()).await?)
            }
            saved => Ok(saved?),
        }
    }

    fn carry_out(&mut self) {
        // They may have waited long to be saved.
        let (operator, policy) = (&self.desk.operator, &self.desk.policy);
        self.owed.orders.retain(|order| operator.may_leave(order, policy));
        for order in self.owed.orders.drain(..) {
            let Some(sender) = self.sender.clone() else {
                tracing::error!(
                    order = order.id,
                    "there is no key to sign with; give the collector a --state-dir"
                );
                continue;
            };
            let done = self.done.0.clone();
            tokio::spawn(async move {
                let answer = sender.give(&order).await;
                let _ = done.send(Done::Order(Box::new(order), answer)).await;
            });
        }
        for notification in self.owed.notifications.drain(..) {
            let (done, channels) = (self.done.0.clone(), Arc::clone(&self.channels));
            tokio::spawn(async move {
                let outcome = channels.send(&notification).await;
                let _ = done.send(Done::Notification(Box::new(notification), outcome)).await;
            });
        }
    }

    fn write_history(&mut self) {
        if self.writing.is_some() || self.desk.history.is_empty() {
            return;
        }
        let rows = self.desk.history.oldest();
        let (store, done) = (self.context.store.clone(), self.done.0.clone());
        self.writing = Some(tokio::spawn(async move {
            let written = history::write(&store, &rows).await;
            if written.is_err() {
                tokio::time::sleep(RESTART_PAUSE).await;
            }
            let _ = done.send(Done::History(written)).await;
        }));
    }

    fn look_at_files(&mut self) {
        if self.followed.looked.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.followed.looked = Instant::now();
        let not_taken = &self.context.not_taken;
        if let Some(Alerting { config, channels, text }) = not_taken.alerting(&mut self.followed.alerting) {
            self.desk.manager.reload(config);
            self.desk.alerting = text;
            self.desk.touch();
            self.channels = Arc::new(channels);
            tracing::info!("routes and channels are taken anew");
        }
        if let Some(policy) = not_taken.policies(&mut self.followed.policies) {
            tracing::info!(digest = policy.digest, "policies are taken anew");
            self.desk.policy = policy;
        }
    }

    /// Answers a question; true if the answer waits until what it changed is saved.
    fn answer(&mut self, question: Question) -> bool {
        let changes = answers::changes(&question.ask);
        let answer =
            answers::answer(&mut self.desk, &self.channels, self.sender.as_ref(), question.ask, now_us());
        match answer {
            Ok(value) if changes => {
                self.unanswered.hold(question.answer, value, Instant::now());
                true
            }
            answer => {
                let _ = question.answer.send(answer);
                false
            }
        }
    }
}
