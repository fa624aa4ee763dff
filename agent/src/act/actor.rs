//! The actor's loop: waits for orders, for actions to end, for the components' states and for the collector's word
//! on receipts. It decides nothing and blocks on nothing: decisions are made beside the ledger on a thread for
//! files, actions run as tasks of their own.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::{Client, Message, Subscriber};
use fettle_shared::command::{Action, Order, Outcome, Receipt, Refusal};
use fettle_shared::subjects::orders_subject;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use xxhash_rust::xxh3::xxh3_64;

use super::admission::{admit, admit_local, Situation, Task, Verdict};
use super::ledger::Ledger;
use super::local::Rules;
use super::receipts::HandIn;
use super::run::{self, Means, Report, Threads};
use super::{inventory, ActError};
use crate::handoff::{ActionCounts, CollectorHeard, ComponentStates, HostFileWatch, SupervisorHandle};
use crate::host_file::HostFile;

/// Orders looked at in a second; what a flood of them costs is bounded by it.
const ORDERS_PER_SECOND: u32 = 50;
/// How often the rules are looked at when nothing happens.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often good versions of files are looked for, and how long a component must have been up.
const KEEP_EVERY: Duration = Duration::from_secs(15);
const UP_LONG_ENOUGH_US: i64 = 60_000_000;
/// What actions get to end in when the agent stops.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// What the actor works with.
#[derive(Debug)]
pub struct Setup {
    /// This agent.
    pub agent: String,
    /// Where the ledger and kept versions are.
    pub directory: PathBuf,
    /// The host's file.
    pub host: HostFileWatch,
    /// How the components stand.
    pub states: watch::Receiver<Arc<ComponentStates>>,
    /// The supervised commands.
    pub supervisor: SupervisorHandle,
    /// Where ended actions are counted.
    pub counts: ActionCounts,
    /// When the collector was heard of.
    pub heard: CollectorHeard,
    /// The connection to NATS.
    pub client: Client,
}

/// Runs actions.
#[derive(Debug)]
pub struct Actor {
    agent: Arc<str>,
    host: HostFileWatch,
    states: watch::Receiver<Arc<ComponentStates>>,
    counts: ActionCounts,
    heard: CollectorHeard,
    client: Client,
    orders: Subscriber,
    ledger: Arc<Mutex<Ledger>>,
    means: Means,
    rules: Rules,
    running: JoinSet<(Outcome, Report)>,
    /// What each of them does.
    begun: HashMap<Id, Begun>,
    /// Actions that are over, and whose threads have not ended: their names once they have.
    left: JoinSet<String>,
    hand_in: HandIn,
    /// Second and orders seen in it.
    pace: (u64, u32),
    dropped: u64,
    keeping: Option<JoinHandle<()>>,
    kept_at: tokio::time::Instant,
    stamps: Arc<Mutex<BTreeMap<(String, String), Stamp>>>,
}

/// What tells that a file or link may have changed: device, inode, length, times of change.
type Stamp = (u64, u64, u64, i64, i64, i64);

/// An action under way.
#[derive(Debug)]
struct Begun {
    receipt: Receipt,
    dry_run: bool,
    threads: Threads,
}

/// What is to be done after a decision, and what is answered.
type Decided = (Receipt, Option<Task>);

fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the host's operator has frozen it; a freeze file that cannot be looked for counts as there.
fn is_frozen(host: &HostFile) -> bool {
    host.freeze_file.as_deref().is_some_and(|path| {
        !matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
    })
}

impl Actor {
    /// Opens the ledger and subscribes to orders.
    pub async fn start(setup: Setup) -> Result<Self, ActError> {
        let Setup { agent, directory, host, states, supervisor, counts, heard, client } = setup;
        let (ledger, recovered) = Ledger::open(&directory, now_us())?;
        if recovered.never_completed > 0 || recovered.damaged_bytes > 0 || recovered.mark_lost {
            tracing::warn!(
                never_completed = recovered.never_completed,
                damaged_bytes = recovered.damaged_bytes,
                only_new_orders = recovered.mark_lost,
                "the ledger of actions was left unfinished"
            );
        }
        let orders = client.subscribe(orders_subject(&agent)).await;
        let orders = orders.map_err(|error| ActError::Orders { cause: error.to_string() })?;
        Ok(Self {
            hand_in: HandIn::new(client.clone(), &agent),
            means: Means { supervisor, versions: directory.join("versions"), threads: Threads::new() },
            agent: agent.into(),
            host,
            states,
            counts,
            heard,
            client,
            orders,
            ledger: Arc::new(Mutex::new(ledger)),
            rules: Rules::default(),
            running: JoinSet::new(),
            begun: HashMap::new(),
            left: JoinSet::new(),
            pace: (0, 0),
            dropped: 0,
            keeping: None,
            kept_at: tokio::time::Instant::now(),
            stamps: Arc::default(),
        })
    }

    /// Acts until `stop` turns true; actions under way get a little time to end.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let telling = tokio::spawn(inventory::tell(
            self.client.clone(),
            Arc::clone(&self.agent),
            self.host.clone(),
            self.states.clone(),
        ));
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut states_live = true;
        while !*stop.borrow_and_update() && stop.has_changed().is_ok() {
            self.hand_in_next();
            let retry = self.hand_in.not_before();
            tokio::select! {
                _ = stop.changed() => {}
                message = self.orders.next() => match message {
                    Some(message) => self.on_order(message).await,
                    None => break,
                },
                Some(ended) = self.running.join_next_with_id() => self.on_end(ended).await,
                Some(Ok(id)) = self.left.join_next() => {
                    tracing::info!(id, "the last thread of an action has ended; its component is free");
                    lock(&self.ledger).free(&id);
                }
                stored = self.hand_in.answered() => if let Some(id) = stored {
                    self.heard.note(Instant::now());
                    self.on_ledger(move |ledger, now| ledger.confirm(&id, now)).await;
                },
                changed = self.states.changed(), if states_live => {
                    states_live = changed.is_ok();
                    self.follow_rules().await;
                }
                () = tokio::time::sleep_until(retry), if retry > tokio::time::Instant::now() => {}
                _ = look.tick() => {
                    self.follow_rules().await;
                    self.keep_versions();
                }
            }
        }
        telling.abort();
        let last = async {
            while let Some(ended) = self.running.join_next_with_id().await {
                self.on_end(ended).await;
            }
        };
        if tokio::time::timeout(LAST_PATIENCE, last).await.is_err() {
            tracing::warn!("the agent stops while actions run; they will be reported as never completed");
        }
    }

    fn hand_in_next(&mut self) {
        if self.hand_in.is_free() {
            if let Some(receipt) = lock(&self.ledger).next_waiting() {
                self.hand_in.send(receipt);
            }
        }
    }

    /// Does something with the ledger where it may wait for the disk.
    async fn on_ledger(&self, work: impl FnOnce(&mut Ledger, i64) -> Result<(), ActError> + Send + 'static) {
        let ledger = self.ledger.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut lock(&ledger), now_us())).await;
        if let Ok(Err(error)) = done {
            tracing::error!(%error, "the ledger of actions cannot be written");
        }
    }

    async fn on_order(&mut self, message: Message) {
        let second = now_us().unsigned_abs() / 1_000_000;
        if self.pace.0 != second {
            self.pace = (second, 0);
        }
        self.pace.1 += 1;
        if self.pace.1 > ORDERS_PER_SECOND {
            self.dropped += 1;
            if self.dropped.is_power_of_two() {
                tracing::warn!(dropped = self.dropped, "too many orders come in; most are not looked at");
            }
            return;
        }
        let (ledger, agent) = (self.ledger.clone(), self.agent.clone());
        let (host, payload) = (self.host.borrow().clone(), message.payload);
        let decided = tokio::task::spawn_blocking(move || {
            decide(&payload, &agent, &host, &mut lock(&ledger), now_us())
        });
        let Ok((receipt, task)) = decided.await else { return };
        log(&receipt);
        if task.is_some() {
            // Only a new order by a trusted key; a replayed one must not keep the host's own rules quiet.
            self.heard.note(Instant::now());
        }
        if let Some(reply) = message.reply {
            let payload = serde_json::to_vec(&receipt).unwrap_or_default();
            if let Err(error) = self.client.publish(reply, payload.into()).await {
                tracing::warn!(%error, "the answer to an order could not be sent");
            }
        }
        if let Some(task) = task {
            self.begin(receipt, task);
        }
    }

    fn begin(&mut self, receipt: Receipt, task: Task) {
        let (threads, dry_run) = (Threads::new(), task.dry_run);
        let means = Means { threads: threads.clone(), ..self.means.clone() };
        let running = self.running.spawn(async move { run::run(&task, &means).await });
        self.begun.insert(running.id(), Begun { receipt, dry_run, threads });
    }

    async fn on_end(&mut self, ended: Result<(Id, (Outcome, Report)), JoinError>) {
        let (id, (outcome, report)) = ended.unwrap_or_else(|error| {
            // A fault of the agent must not keep its component busy for ever.
            let what = "the agent's code for it has panicked; please report it with the log".to_owned();
            (error.id(), (Outcome::Failed { error: what }, Report::default()))
        });
        let Some(Begun { receipt, dry_run, threads }) = self.begun.remove(&id) else { return };
        let Report { output, before } = report;
        let receipt = Receipt { outcome, output, before, ended_us: now_us(), ..receipt };
        log(&receipt);
        if !dry_run {
            let failed = !matches!(receipt.outcome, Outcome::Succeeded);
            self.counts.note(&receipt.component, failed);
            self.rules.ended(&receipt.component, receipt.ended_us);
        }
        if threads.have_ended() {
            return self.on_ledger(move |ledger, now| ledger.end(receipt, now)).await;
        }
        let id = receipt.id.clone();
        tracing::warn!(
            id,
            component = receipt.component,
            "file work goes on after its time; its component stays busy until it ends, so see to the disk or file system"
        );
        self.on_ledger(move |ledger, now| ledger.over(receipt, now)).await;
        self.left.spawn(async move {
            threads.end().await;
            id
        });
    }

    /// Begins what the host's own rules want.
    async fn follow_rules(&mut self) {
        let (host, states) = (self.host.borrow().clone(), self.states.borrow().clone());
        let silent_for = self.heard.silent_for(Instant::now());
        let now = now_us();
        let due: Vec<_> = self.rules.due(&host, &states, silent_for, now);
        for (component, rule) in due {
            let (ledger, agent, host) = (self.ledger.clone(), self.agent.clone(), host.clone());
            let (name, rule) = (component.to_owned(), rule.clone());
            let decided = tokio::task::spawn_blocking(move || {
                let mut ledger = lock(&ledger);
                let frozen = is_frozen(&host);
                let id = ledger.name("local", &agent, now);
                ledger.keep_to_clock(now);
                let situation =
                    Situation { agent: &agent, host: &host, memory: ledger.memory(), frozen, now_us: now };
                let task = admit_local(id, &name, &rule, &situation)?;
                ledger.begin(&task, &agent, (0, 0), now).map(|receipt| (receipt, task)).map_err(|error| {
                    tracing::error!(%error, "the ledger of actions cannot be written");
                    Refusal::Busy
                })
            });
            match decided.await {
                Ok(Ok((receipt, task))) => {
                    self.rules.begun(component, now);
                    log(&receipt);
                    self.begin(receipt, task);
                }
                Ok(Err(reason)) if self.rules.refused(component, reason) => {
                    tracing::warn!(component, ?reason, "a local rule may not act now");
                }
                _ => {}
            }
        }
    }

    /// Keeps versions of what may be rolled back, of components that have been up for a while.
    fn keep_versions(&mut self) {
        let now = tokio::time::Instant::now();
        let is_busy = self.keeping.as_ref().is_some_and(|keeping| !keeping.is_finished());
        if is_busy || now < self.kept_at + KEEP_EVERY {
            return;
        }
        self.kept_at = now;
        let (host, states) = (self.host.borrow().clone(), self.states.borrow().clone());
        if host.components.values().all(|component| component.allowed.roll_back.is_empty()) {
            return;
        }
        let (versions, stamps) = (self.means.versions.clone(), self.stamps.clone());
        self.keeping =
            Some(tokio::task::spawn_blocking(move || keep_all(&host, &states, &versions, &stamps)));
    }
}

fn keep_all(
    host: &HostFile,
    states: &ComponentStates,
    versions: &Path,
    stamps: &Mutex<BTreeMap<(String, String), Stamp>>,
) {
    use std::os::unix::fs::MetadataExt;
    let now = now_us();
    let is_well = |name: &str| {
        states.get(name).is_some_and(|state| {
            state.checked && state.up && now.saturating_sub(state.since_us) >= UP_LONG_ENOUGH_US
        })
    };
    for (name, component) in host.components.iter().filter(|(name, _)| is_well(name)) {
        for (entry, what) in &component.allowed.roll_back {
            let (crate::host_file::RollBack::Link { link: path, .. }
            | crate::host_file::RollBack::File { path, .. }) = what;
            let Ok(seen) = std::fs::symlink_metadata(path) else { continue };
            let times = (seen.mtime(), seen.mtime_nsec(), seen.ctime_nsec());
            let stamp = (seen.dev(), seen.ino(), seen.len(), times.0, times.1, times.2);
            let key = (name.clone(), entry.clone());
            if lock(stamps).get(&key) == Some(&stamp) {
                continue;
            }
            match run::keep(versions, name, entry, what, now) {
                Ok(run::Kept::New) => tracing::info!(component = name, entry, "a good version is kept"),
                Ok(run::Kept::Same) => {}
                Err(error) => tracing::warn!(component = name, entry, error, "no version is kept"),
            }
            lock(stamps).insert(key, stamp);
        }
    }
}

/// Decides on what came in and writes the decision down.
fn decide(payload: &[u8], agent: &str, host: &HostFile, ledger: &mut Ledger, now: i64) -> Decided {
    let frozen = is_frozen(host);
    ledger.keep_to_clock(now);
    let verdict = {
        let memory = ledger.memory();
        admit(payload, &Situation { agent, host, memory, frozen, now_us: now })
    };
    match verdict {
        Verdict::Known(receipt) => (*receipt, None),
        Verdict::Accept { task, generation, digest } => {
            match ledger.begin(&task, agent, (generation, digest), now) {
                Ok(receipt) => (receipt, Some(*task)),
                Err(error) => (not_written(&task, agent, &error), None),
            }
        }
        Verdict::Deny { order, reason, digest } => {
            let generation = order.generation;
            let receipt = refusal(Some(*order), reason, agent, payload, now);
            if let Err(error) = ledger.deny(receipt.clone(), (generation, digest), now) {
                tracing::error!(%error, "the ledger of actions cannot be written");
            }
            (receipt, None)
        }
        Verdict::Refuse { order, reason } => {
            let receipt = refusal(order.map(|order| *order), reason, agent, payload, now);
            // Under a name of its own: a forged order must not speak for the true one of its id.
            let id = ledger.name("refused", agent, now);
            let because = format!("order {}", receipt.id);
            match ledger.note(Receipt { id, because, ..receipt.clone() }, now) {
                Ok(true) => {}
                Ok(false) => tracing::warn!(?reason, "a refused order is not on record: too many are"),
                Err(error) => tracing::error!(%error, "the ledger of actions cannot be written"),
            }
            (receipt, None)
        }
    }
}

/// The answer to an order that is not carried out. Of one that cannot be read the name is made up from its bytes,
/// and the action is the running of no command.
fn refusal(order: Option<Order>, reason: Refusal, agent: &str, payload: &[u8], now: i64) -> Receipt {
    let (id, component, action, because) = match order {
        Some(order) => (order.id, order.component, order.action, order.plan),
        None => {
            let id = format!("unreadable-{:016x}", xxh3_64(payload));
            (id, String::new(), Action::Run { command: String::new() }, String::new())
        }
    };
    Receipt {
        id,
        host: agent.to_owned(),
        component,
        action,
        local: false,
        outcome: Outcome::Refused { reason },
        begun_us: 0,
        ended_us: now,
        output: String::new(),
        before: BTreeMap::new(),
        because,
    }
}

fn not_written(task: &Task, agent: &str, error: &ActError) -> Receipt {
    tracing::error!(%error, "an order is not begun: the ledger of actions cannot be written");
    Receipt {
        id: task.id.clone(),
        host: agent.to_owned(),
        component: task.component.clone(),
        action: task.action.clone(),
        local: task.local,
        outcome: Outcome::Failed { error: format!("not begun: {error}") },
        begun_us: 0,
        ended_us: 0,
        output: String::new(),
        before: BTreeMap::new(),
        because: task.because.clone(),
    }
}

fn log(receipt: &Receipt) {
    let Receipt { id, component, action, outcome, local, .. } = receipt;
    tracing::info!(id, component, action = action.name(), ?outcome, local, "action");
}
