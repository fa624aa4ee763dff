//! One part's life: wait for the parts it needs, start its process, wait until it answers, start it again when it dies, and stop
//! it in order when told.
//!
//! Only a process that ends is started again. One that runs and does not answer is said to be
//! unresponsive and left alone: a store busy with a great merge is slow, and killing it for that
//! would make it slower.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::board::{Board, State};
use super::errors::UpError;
use super::log::Log;
use super::part::Part;
use crate::{locate, output};

/// A part that starts is asked this often; often, because a person waits.
const ASK_STARTING: Duration = Duration::from_millis(20);
/// A part that runs is asked this often.
const ASK_RUNNING: Duration = Duration::from_secs(2);
/// So many questions without an answer in a row make a part unresponsive.
const UNANSWERED_MAX: u32 = 3;
/// A part that starts for this long is worth a line.
const LONG_START: Duration = Duration::from_secs(10);
/// A part that has never been ready is given up after so many deaths.
const FIRST_TRIES: u32 = 3;

/// What the supervisor is told to do with its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Keep it running.
    Run,
    /// Leave it running; if it ends, let it be: everything is about to stop.
    Leave,
    /// Ask it to stop, and wait.
    Stop,
    /// Kill it.
    Kill,
}

/// A part under supervision.
pub(crate) struct Supervised {
    state: watch::Receiver<State>,
    order: watch::Sender<Order>,
    task: JoinHandle<Result<(), UpError>>,
}

impl Supervised {
    /// Starts supervising; the process starts once all parts in `needed` have been ready. Must be called within a
    /// runtime whose thread lives as long as the part: a part dies with the thread that started it.
    pub(crate) fn start(part: Part, log: Log, board: Arc<Board>, needed: &[&Supervised]) -> Self {
        let (tell, state) = watch::channel(State::Starting);
        let (order, orders) = watch::channel(Order::Run);
        let life = Life {
            part,
            log,
            board,
            tell,
            orders,
            backoff: Backoff::default(),
            restarts: 0,
            begun: Instant::now(),
            needed: needed.iter().map(|part| part.state.clone()).collect(),
        };
        Self { state, order, task: tokio::spawn(life.run()) }
    }

    /// Waits until the part is ready, or has been given up.
    pub(crate) async fn ready(&mut self) -> Result<(), UpError> {
        let ready = self.state.wait_for(|state| *state == State::Ready).await.is_ok();
        if ready {
            Ok(())
        } else {
            self.ended().await
        }
    }

    /// Waits until the supervision ends, which without an order is when the part is given up.
    pub(crate) async fn ended(&mut self) -> Result<(), UpError> {
        (&mut self.task).await.unwrap_or_else(|error| Err(UpError::Runtime(error.into())))
    }

    /// True once the supervision has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Tells the supervisor what to do; a weaker order after a stronger one is not heard.
    pub(crate) fn order(&self, order: Order) {
        self.order.send_if_modified(|current| {
            let stronger = order > *current;
            *current = order.max(*current);
            stronger
        });
    }
}

struct Life {
    part: Part,
    log: Log,
    board: Arc<Board>,
    tell: watch::Sender<State>,
    orders: watch::Receiver<Order>,
    backoff: Backoff,
    restarts: u32,
    begun: Instant,
    needed: Vec<watch::Receiver<State>>,
}

/// Why watching a process ended.
enum End {
    Died(ExitStatus),
    Ordered,
}

impl Life {
    async fn run(mut self) -> Result<(), UpError> {
        let mut ever_ready = false;
        if !self.is_called_for().await {
            self.set(State::Stopped, None);
            return Ok(());
        }
        self.begun = Instant::now();
        loop {
            self.log.forget();
            let (mut child, copies) = self.spawn()?;
            let started = Instant::now();
            let end = self.watch(&mut child, &mut ever_ready).await;
            let status = match end {
                End::Ordered => {
                    self.stop(&mut child).await;
                    return Ok(());
                }
                End::Died(_) if *self.orders.borrow() >= Order::Leave => {
                    self.set(State::Stopped, None);
                    return Ok(());
                }
                End::Died(status) => status,
            };
            // Its last words may still be in the pipe.
            for copy in copies {
                let _ = tokio::time::timeout(Duration::from_millis(200), copy).await;
            }
            self.restarts += 1;
            if !ever_ready && self.restarts >= FIRST_TRIES {
                self.set(State::Stopped, None);
                return Err(self.given_up());
            }
            let wait = self.backoff.after(started.elapsed());
            self.set(State::Restarting, None);
            self.mourn(status, wait);
            let ordered = self.orders.wait_for(|order| *order >= Order::Leave);
            if tokio::time::timeout(wait, ordered).await.is_ok() {
                self.set(State::Stopped, None);
                return Ok(());
            }
            self.begun = Instant::now();
        }
    }

    /// Waits until all that is needed is ready; false when everything is to stop before.
    async fn is_called_for(&mut self) -> bool {
        let needed = std::mem::take(&mut self.needed);
        let ready = async {
            for mut state in needed {
                // Whose need was given up waits for the end of everything, which that brings.
                if state.wait_for(|state| *state == State::Ready).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = ready => true,
            _ = self.orders.wait_for(|order| *order >= Order::Leave) => false,
        }
    }

    /// Starts the process, by way of `fettle part`, which makes it die with this one.
    fn spawn(&self) -> Result<(Child, [JoinHandle<()>; 2]), UpError> {
        let failed = |source| UpError::Spawn { program: self.part.program.clone(), source };
        let mut child = Command::new(locate::own())
            .args(["part", "--parent", &std::process::id().to_string(), "--"])
            .arg(&self.part.program)
            .args(&self.part.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for this process, which then stops the parts in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (log_out, log_err) = (self.log.clone(), self.log.clone());
        let copy_out = tokio::spawn(async move {
            if let Some(out) = out {
                log_out.copy(out).await;
            }
        });
        let copy_err = tokio::spawn(async move {
            if let Some(err) = err {
                log_err.copy(err).await;
            }
        });
        self.set(State::Starting, child.id());
        Ok((child, [copy_out, copy_err]))
    }

    /// Watches a process until it dies or an order comes, and keeps its state on the board.
    async fn watch(&mut self, child: &mut Child, ever_ready: &mut bool) -> End {
        let pid = child.id();
        let mut state = State::Starting;
        let mut unanswered = 0;
        let mut long_start = false;
        let probe = self.part.probe.clone();
        loop {
            if state == State::Starting && !long_start && self.begun.elapsed() > LONG_START {
                long_start = true;
                let log = self.log.path();
                output::line(&format!(
                    "{:<11} is still starting; its log is {}",
                    self.part.name,
                    log.display()
                ));
            }
            let pause = if state == State::Starting { ASK_STARTING } else { ASK_RUNNING };
            let asked = async {
                tokio::time::sleep(pause).await;
                probe.answers().await
            };
            let answered = tokio::select! {
                status = child.wait() => match status {
                    Ok(status) => return End::Died(status),
                    Err(_) => return End::Died(ExitStatus::default()),
                },
                _ = self.orders.wait_for(|order| *order >= Order::Stop) => return End::Ordered,
                answered = asked => answered,
            };
            unanswered = if answered { 0 } else { unanswered + 1 };
            let next = match state {
                _ if answered => State::Ready,
                State::Ready if unanswered >= UNANSWERED_MAX => State::Unresponsive,
                same => same,
            };
            if next != state {
                self.set(next, pid);
                self.announce(next, *ever_ready);
                *ever_ready |= next == State::Ready;
                state = next;
            }
        }
    }

    /// Asks the process to stop, kills it when its grace is over or the order says so, and waits for its end.
    async fn stop(&mut self, child: &mut Child) {
        let asked = Instant::now();
        if *self.orders.borrow() < Order::Kill {
            signal(child, Signal::TERM);
        }
        let mut how = "stopped";
        tokio::select! {
            _ = child.wait() => {}
            () = tokio::time::sleep(self.part.grace) => how = "did not stop in time and was killed",
            _ = self.orders.wait_for(|order| *order == Order::Kill) => how = "killed",
        }
        // Does nothing to a process that has ended.
        let _ = child.kill().await;
        self.set(State::Stopped, None);
        output::line(&format!("{:<11} {how} ({:.1} s)", self.part.name, asked.elapsed().as_secs_f64()));
    }

    fn set(&self, state: State, pid: Option<u32>) {
        self.board.set(self.part.name, state, pid, self.restarts);
        self.tell.send_replace(state);
    }

    fn announce(&self, state: State, ever_ready: bool) {
        let name = self.part.name;
        let text = match state {
            State::Ready if !ever_ready => {
                format!("ready  {} ({:.1} s)", self.part.found_at, self.begun.elapsed().as_secs_f64())
            }
            State::Ready => format!("ready again ({:.1} s)", self.begun.elapsed().as_secs_f64()),
            _ => format!("does not answer; its log is {}", self.log.path().display()),
        };
        output::line(&format!("{name:<11} {text}"));
    }

    fn mourn(&self, status: ExitStatus, wait: Duration) {
        let words = self.log.last_words();
        let said = if words.is_empty() { String::new() } else { format!(", saying: {words}") };
        let wait = wait.as_secs_f64();
        output::line(&format!(
            "{:<11} ended ({status}){said}; starting it again in {wait:.1} s",
            self.part.name
        ));
    }

    fn given_up(&self) -> UpError {
        let words = self.log.last_words();
        UpError::NeverReady {
            name: self.part.name,
            times: self.restarts,
            words: if words.is_empty() { "nothing".to_owned() } else { words },
            log: self.log.path(),
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // The process is ours and not yet waited for, so its id cannot have gone to another.
        let _ = kill_process(pid, signal);
    }
}
