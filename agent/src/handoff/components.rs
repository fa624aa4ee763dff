//! What passes between the rooms that look after components: the states that `check` finds, the
//! processes that `supervise` keeps, what `act` has done, and the handle by which `act` asks for
//! starts and stops. Everything is the newest value or a bounded queue; nobody waits for a reader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fettle_shared::error_kind::ErrorKind;
use tokio::sync::{mpsc, oneshot, watch};

use crate::host_file::HostFile;

/// Requests that may wait for the supervisor.
const REQUESTS: usize = 64;

/// A process that a recycled number cannot be mistaken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// Its start in clock ticks since boot: field 22 of /proc/PID/stat (proc_pid_stat(5)).
    pub start: u64,
}

/// One component as its last check left it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComponentState {
    /// What runs it: `supervised`, `systemd`, `docker`, `process`, `nothing`.
    pub kind: &'static str,
    /// Whether there is a verdict: a good check, or as many failed ones as it takes to be down.
    pub checked: bool,
    /// Whether fewer checks failed in a row than it takes to be down.
    pub up: bool,
    /// Since when `up` is what it is, µs since 1970.
    pub since_us: i64,
    /// When the last check ended, µs since 1970.
    pub checked_us: i64,
    /// Failed checks in a row.
    pub consecutive_failures: u32,
    /// What the last failed check said; empty after a good one.
    pub last_error: String,
    /// What that looks like.
    pub error_kind: ErrorKind,
    /// Time the last check took, µs.
    pub latency_us: u64,
    /// Checks ended.
    pub checks: u64,
    /// Checks failed.
    pub failures: u64,
    /// Processes wanted.
    pub replicas: u32,
    /// Processes that run: no zombies, none stopped.
    pub replicas_running: u32,
    /// Times it ran as another process than before.
    pub restarts: u64,
    /// Its processes, where they are known: each replica, a unit's main process, the one that was found.
    pub pids: Vec<ProcessId>,
    /// Whether the host is of no use without it.
    pub critical: bool,
    /// Whether it was told to stop: down on purpose.
    pub stopped: bool,
    /// Whether a component that it needs is down.
    pub depends_on_down: bool,
}

/// All components by name.
pub type ComponentStates = BTreeMap<String, ComponentState>;

/// What was done to a component since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActionCount {
    /// Actions that ended.
    pub actions: u64,
    /// Of these, failed or timed out.
    pub failed: u64,
}

/// Counts actions by component; the samples show them.
#[derive(Debug, Clone, Default)]
pub struct ActionCounts(Arc<Mutex<BTreeMap<String, ActionCount>>>);

impl ActionCounts {
    /// Counts an action that ended.
    pub fn note(&self, component: &str, failed: bool) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(component.to_owned()).or_default();
        count.actions += 1;
        count.failed += u64::from(failed);
    }

    /// What was counted for a component.
    pub fn of(&self, component: &str) -> ActionCount {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(component).copied().unwrap_or_default()
    }
}

/// What the scan thread reads, without ever waiting for more than a pointer to be exchanged.
#[derive(Debug, Clone)]
pub struct ComponentView {
    states: watch::Receiver<Arc<ComponentStates>>,
    actions: ActionCounts,
}

impl ComponentView {
    /// A view of these.
    pub fn new(states: watch::Receiver<Arc<ComponentStates>>, actions: ActionCounts) -> Self {
        Self { states, actions }
    }

    /// The newest states.
    pub fn states(&self) -> Arc<ComponentStates> {
        self.states.borrow().clone()
    }

    /// What was done to a component.
    pub fn actions(&self, component: &str) -> ActionCount {
        self.actions.of(component)
    }
}

/// The host's file as it is now; a reader is told of a new one.
pub type HostFileWatch = watch::Receiver<Arc<HostFile>>;

/// A supervised component as the supervisor knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SupervisedState {
    /// Replicas wanted, whether or not they run.
    pub replicas: u32,
    /// Whether it was told to stop.
    pub stopped: bool,
    /// The process of each replica by its number; `None`: not started, or ended and reaped.
    pub processes: Vec<Option<ProcessId>>,
    /// Replicas started again after they had run.
    pub restarts: u64,
    /// How the last process ended that was not told to, or why the last start failed.
    pub last_exit: String,
}

impl SupervisedState {
    /// The processes there are.
    pub fn pids(&self) -> impl Iterator<Item = ProcessId> + '_ {
        self.processes.iter().flatten().copied()
    }
}

/// All supervised components by name.
pub type SupervisedStates = BTreeMap<String, SupervisedState>;

/// What the supervisor is asked to do to a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supervise {
    /// Start the replicas that do not run.
    Start,
    /// Stop all replicas: signal, wait, kill.
    Stop,
    /// Stop those that run, then start all.
    Restart,
    /// Send a signal.
    Signal {
        /// Its number.
        signal: i32,
        /// To the whole group of each replica, not its first process only.
        all: bool,
    },
    /// Have this many replicas.
    Scale {
        /// Replicas, within the declared bounds.
        replicas: u32,
    },
}

/// A request on its way to the supervisor.
#[derive(Debug)]
pub struct SuperviseRequest {
    /// Component.
    pub component: String,
    /// What to do.
    pub what: Supervise,
    /// Where the answer goes: what was done, or one sentence why not.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// Asks the supervisor. An answer comes when the thing is done or has failed: a stop has ended when the
/// processes are gone. A caller that stops waiting does not stop what was begun.
#[derive(Debug, Clone)]
pub struct SupervisorHandle {
    requests: mpsc::Sender<SuperviseRequest>,
    states: watch::Receiver<Arc<SupervisedStates>>,
}

impl SupervisorHandle {
    /// A handle and the supervisor's end of it.
    pub fn new(states: watch::Receiver<Arc<SupervisedStates>>) -> (Self, mpsc::Receiver<SuperviseRequest>) {
        let (requests, inbox) = mpsc::channel(REQUESTS);
        (Self { requests, states }, inbox)
    }

    /// Starts the replicas that do not run.
    pub async fn start(&self, component: &str) -> Result<String, String> {
        self.ask(component, Supervise::Start).await
    }

    /// Stops all replicas.
    pub async fn stop(&self, component: &str) -> Result<String, String> {
        self.ask(component, Supervise::Stop).await
    }

    /// Stops what runs and starts all replicas.
    pub async fn restart(&self, component: &str) -> Result<String, String> {
        self.ask(component, Supervise::Restart).await
    }

    /// Sends a signal by number: to the first process of each replica, or to its whole group.
    pub async fn signal(&self, component: &str, signal: i32, all: bool) -> Result<String, String> {
        self.ask(component, Supervise::Signal { signal, all }).await
    }

    /// Has this many replicas, within the declared bounds.
    pub async fn scale(&self, component: &str, replicas: u32) -> Result<String, String> {
        self.ask(component, Supervise::Scale { replicas }).await
    }

    /// What the supervisor knows of a component; an error when it does not supervise it.
    pub fn state(&self, component: &str) -> Result<SupervisedState, String> {
        let states = self.states.borrow();
        states.get(component).cloned().ok_or_else(|| not_supervised(component))
    }

    async fn ask(&self, component: &str, what: Supervise) -> Result<String, String> {
        let (reply, answer) = oneshot::channel();
        let request = SuperviseRequest { component: component.to_owned(), what, reply };
        let gone = |_| "the supervisor has ended; the agent is stopping, ask again when it runs".to_owned();
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                format!("{REQUESTS} requests wait for the supervisor already; ask again later")
            }
            mpsc::error::TrySendError::Closed(_) => gone(()),
        })?;
        answer.await.map_err(|_| gone(()))?
    }
}

/// Why a component that is not supervised cannot be asked about.
pub fn not_supervised(component: &str) -> String {
    format!("{component} is no supervised component; give it `runs = \"supervised\"` in the host's file")
}
