//! Keeps one component: its replicas, and one request after the other. It never starts again by itself
//! what has ended; that is for local rules and orders to decide, which see it ended and counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all, FutureExt as _};
use tokio::sync::{mpsc, watch};

use super::process::{end_group, Process, Stray};
use super::record::Record;
use crate::handoff::{ProcessId, Supervise, SuperviseRequest, SupervisedState, SupervisedStates};
use crate::host_file::Supervised;

/// How long a started replica is watched for ending at once.
const SETTLING: Duration = Duration::from_millis(200);

/// Where states are published and kept.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) states: watch::Sender<Arc<SupervisedStates>>,
    pub(super) record: Record,
    pub(super) logs: PathBuf,
}

impl Published {
    /// Says what a component is now (nothing: it is no longer kept), and writes it down.
    pub(super) fn say(&self, name: &str, state: Option<SupervisedState>) {
        self.states.send_modify(|states| {
            let states = Arc::make_mut(states);
            match state {
                Some(state) => states.insert(name.to_owned(), state),
                None => states.remove(name),
            };
        });
        if let Err(error) = self.record.write(&self.states.borrow()) {
            tracing::error!("the record of supervised processes cannot be written: {error}");
        }
    }
}

/// Keeper of one component.
#[derive(Debug)]
pub(super) struct Keeper {
    name: String,
    run: Supervised,
    published: Published,
    replicas: Vec<Option<Process>>,
    /// Replicas that have run before, by number.
    have_run: Vec<bool>,
    wanted: u32,
    stopped: bool,
    restarts: u64,
    last_exit: String,
    /// Processes that ended by themselves, of whose groups something may be left.
    left_over: Vec<ProcessId>,
}

impl Keeper {
    /// Finds again what an earlier agent started; `known` is what it wrote down, `strays` what runs
    /// by its environment.
    pub(super) fn new(
        name: String,
        run: Supervised,
        published: Published,
        known: Option<SupervisedState>,
        strays: &[Stray],
    ) -> Self {
        let wanted = known.as_ref().map_or(run.replicas, |known| known.replicas);
        let wanted = wanted.clamp(run.replicas_min, run.replicas_max);
        let mut keeper = Self {
            name,
            run,
            published,
            replicas: Vec::new(),
            have_run: Vec::new(),
            wanted,
            stopped: known.as_ref().is_some_and(|known| known.stopped),
            restarts: known.as_ref().map_or(0, |known| known.restarts),
            last_exit: String::new(),
            left_over: Vec::new(),
        };
        let recorded = known.map(|known| known.processes).unwrap_or_default();
        keeper.room(wanted.max(recorded.len() as u32));
        for (at, id) in recorded.into_iter().enumerate() {
            keeper.have_run[at] = id.is_some();
            keeper.replicas[at] = id.and_then(Process::adopt);
            keeper.left_over.extend(id.filter(|_| keeper.replicas[at].is_none()));
        }
        let found: Vec<_> = strays
            .iter()
            .filter_map(|one| one.replica_of(&keeper.name, keeper.run.user.as_deref()))
            .collect();
        for (at, id) in found {
            if at < keeper.run.replicas_max as usize {
                keeper.room(at as u32 + 1);
                if keeper.replicas[at].is_none() {
                    keeper.replicas[at] = Process::adopt(id);
                    keeper.have_run[at] = true;
                }
            }
        }
        let adopted = keeper.replicas.iter().flatten().count();
        if adopted > 0 {
            tracing::info!(component = keeper.name, adopted, "supervised processes are found again");
        }
        keeper
    }

    fn room(&mut self, replicas: u32) {
        let len = self.replicas.len().max(replicas as usize);
        self.replicas.resize_with(len, || None);
        self.have_run.resize(len, false);
    }

    /// Serves requests until there are no more to come. What runs then runs on.
    pub(super) async fn serve(
        mut self,
        first: bool,
        mut requests: mpsc::Receiver<SuperviseRequest>,
        mut runs: watch::Receiver<Supervised>,
    ) {
        if first && !self.stopped {
            if let Err(error) = self.start().await {
                tracing::error!("{error}");
            }
        }
        self.say();
        loop {
            let ended = one_ended(&mut self.replicas);
            tokio::select! {
                (at, how) = ended => self.note_end(at, how),
                request = requests.recv() => match request {
                    Some(request) => {
                        let done = self.serve_one(request.what).await;
                        self.say();
                        let _ = request.reply.send(done);
                    }
                    None => break,
                },
                changed = runs.changed() => match changed {
                    Ok(()) => { let run = runs.borrow_and_update().clone(); self.change(run).await; self.say(); }
                    Err(_) => break,
                },
            }
        }
    }

    fn say(&self) {
        let state = SupervisedState {
            replicas: self.wanted,
            stopped: self.stopped,
            processes: self.replicas.iter().map(|one| one.as_ref().map(|process| process.id)).collect(),
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
        };
        self.published.say(&self.name, Some(state));
    }

    fn note_end(&mut self, at: usize, how: String) {
        if let Some(process) = self.replicas[at].take() {
            tracing::warn!(
                component = self.name,
                replica = at,
                pid = process.id.pid,
                "it has ended by itself: {how}"
            );
            self.left_over.push(process.id);
        }
        self.last_exit = how;
        self.say();
    }

    async fn serve_one(&mut self, what: Supervise) -> Result<String, String> {
        match what {
            Supervise::Start => self.start().await,
            Supervise::Stop => {
                self.stopped = true;
                self.stop_from(0).await
            }
            Supervise::Restart => {
                let stopped = self.stop_from(0).await?;
                let started = self.start().await?;
                Ok(format!("{stopped}; {started}"))
            }
            Supervise::Signal { signal, all } => self.signal(signal, all),
            Supervise::Scale { replicas } => self.scale(replicas).await,
        }
    }

    /// Starts what is wanted and does not run, and sees whether it stays.
    async fn start(&mut self) -> Result<String, String> {
        self.stopped = false;
        self.room(self.wanted);
        self.clear_left_over().await?;
        let mut started = Vec::new();
        for at in 0..self.wanted as usize {
            if self.replicas[at].is_some() {
                continue;
            }
            match Process::start(&self.name, at, &self.run, &self.published.logs).await {
                Ok(process) => {
                    tracing::info!(component = self.name, replica = at, pid = process.id.pid, "started");
                    started.push(process.id.pid.to_string());
                    self.replicas[at] = Some(process);
                    self.restarts += u64::from(self.have_run[at]);
                    self.have_run[at] = true;
                    self.say();
                }
                Err(error) => {
                    self.last_exit = error.to_string();
                    return Err(self.last_exit.clone());
                }
            }
        }
        if started.is_empty() {
            return Ok(format!("all {} replicas ran already", self.wanted));
        }
        if let Ok((at, how)) = tokio::time::timeout(SETTLING, one_ended(&mut self.replicas)).await {
            self.note_end(at, how.clone());
            return Err(format!(
                "{} was started and ended at once: {how}; see its output in {}",
                self.name,
                self.published.logs.display()
            ));
        }
        Ok(format!("started {} as process {}", plural(started.len()), started.join(", ")))
    }

    /// Kills what a replica that ended by itself left of its group: it may hold the port that the next one needs.
    async fn clear_left_over(&mut self) -> Result<(), String> {
        for leader in std::mem::take(&mut self.left_over) {
            end_group(leader).await?;
        }
        Ok(())
    }

    /// Stops the replicas from this one on, all at once.
    async fn stop_from(&mut self, first: usize) -> Result<String, String> {
        if first == 0 {
            self.clear_left_over().await?;
        }
        let (with, patience) = (self.run.stop_signal, self.run.stop_timeout);
        let running = self.replicas.iter_mut().skip(first).flatten();
        let results = join_all(running.map(|process| process.stop(with, patience))).await;
        let mut failures = Vec::new();
        for (one, result) in self.replicas.iter_mut().skip(first).filter(|one| one.is_some()).zip(&results) {
            match result {
                Ok(_) => *one = None,
                Err(error) => failures.push(error.clone()),
            }
        }
        self.say();
        if !failures.is_empty() {
            return Err(failures.join("; "));
        }
        let killed = results.iter().flatten().filter(|how| how.contains("killed")).count();
        match (results.len(), killed) {
            (0, _) => Ok("nothing ran".to_owned()),
            (n, 0) => Ok(format!("stopped {}", plural(n))),
            (n, killed) => Ok(format!("stopped {}, {killed} of them by SIGKILL", plural(n))),
        }
    }

    fn signal(&self, number: i32, all: bool) -> Result<String, String> {
        let sent: Vec<Result<(), String>> =
            self.replicas.iter().flatten().map(|process| process.signal(number, all)).collect();
        if sent.is_empty() {
            return Err(format!("{} does not run; start it first", self.name));
        }
        let failures: Vec<String> = sent.iter().filter_map(|one| one.clone().err()).collect();
        if !failures.is_empty() {
            return Err(failures.join("; "));
        }
        Ok(format!("signal {} sent to {}", crate::signal_name::signal_name(number), plural(sent.len())))
    }

    async fn scale(&mut self, replicas: u32) -> Result<String, String> {
        let (min, max) = (self.run.replicas_min, self.run.replicas_max);
        if !(min..=max).contains(&replicas) {
            return Err(format!("{} may have {min} to {max} replicas, not {replicas}", self.name));
        }
        let before = std::mem::replace(&mut self.wanted, replicas);
        let done = if self.stopped {
            "it is stopped; the replicas come with the next start".to_owned()
        } else if replicas >= before {
            self.start().await?
        } else {
            self.stop_from(replicas as usize).await?
        };
        self.replicas.truncate((replicas as usize).max(1));
        self.have_run.truncate(self.replicas.len());
        Ok(format!("{before} to {replicas} replicas: {done}"))
    }

    /// The file says something else: bounds hold at once, a new command from the next start on.
    async fn change(&mut self, run: Supervised) {
        let declared_more = run.replicas != self.run.replicas;
        let wanted = if declared_more { run.replicas } else { self.wanted };
        self.run = run;
        let wanted = wanted.clamp(self.run.replicas_min, self.run.replicas_max);
        if wanted != self.wanted {
            if let Err(error) = self.scale(wanted).await {
                tracing::error!(component = self.name, "{error}");
            }
        }
    }
}

fn plural(replicas: usize) -> String {
    format!("{replicas} replica{}", if replicas == 1 { "" } else { "s" })
}

/// The first replica that ends, and how; never ready while none runs.
async fn one_ended(replicas: &mut [Option<Process>]) -> (usize, String) {
    let running = replicas.iter_mut().enumerate().filter_map(|(at, one)| Some((at, one.as_mut()?)));
    let waits: Vec<_> =
        running.map(|(at, process)| async move { (at, process.ended().await) }.boxed()).collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    select_all(waits).await.0
}
