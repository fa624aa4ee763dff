//! `fettle up`: everything on one machine, under one process.
//!
//! Starts nats-server and the embedded ClickHouse together, the collector when both answer, and the agent as soon as
//! nats-server does: it samples into its spool and needs nobody else. Starts again what dies; stops them from the last of `part.rs` to the first, so that each hands on what it has before
//! the next goes: the agent flushes its last frame, the collector finishes its batch, the engine its
//! statements, and nats-server keeps the rest.
//!
//! Its nats-server lets nobody in without a login (`logins.rs`). What can be known to be wrong is said before anything
//! starts. The parts are started from one
//! thread that lives to the end, because a part dies with the thread that started it.

mod backoff;
mod board;
mod errors;
mod exec;
mod files;
mod log;
pub(crate) mod login;
mod logins;
mod nats_config;
mod part;
mod probe;
mod state_dir;
mod supervise;
mod survivors;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::arguments::UpArguments;
use crate::{locate, output, ports};
use board::Board;
use errors::UpError;
pub(crate) use exec::become_part;
use log::Log;
use part::{Part, Parts, Programs};
use state_dir::StateDir;
use supervise::{Order, Supervised};

/// How long an address that is taken may take to come free: a part of a `fettle up` that was killed
/// a moment ago may still be on its way out.
const PORT_PATIENCE: Duration = Duration::from_millis(700);
/// Signals that come this soon after the first say nothing new.
const SAME_WISH: Duration = Duration::from_millis(500);
/// After this time without a good health answer a person is told where to look.
const HEALTH_PATIENCE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM, SIGINT, or a part that cannot be started.
pub(crate) fn run(arguments: &UpArguments) -> Result<(), UpError> {
    let mut arguments = arguments.clone();
    let root = arguments.state_dir.clone().unwrap_or_else(locate::default_state_dir);
    let state = StateDir::open(&root)?;
    settle_addresses(&mut arguments)?;
    let programs = Programs::find()?;
    nats_config::write(state.root(), arguments.nats, &part::agent_name(&arguments))?;
    let parts = Parts::new(&state, &programs, &arguments);
    let supervised = files::check(&parts, &arguments)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(UpError::Runtime)?;
    let ended = runtime.block_on(keep_up(&state, parts, &arguments));
    if let Some(words) = supervised.and_then(|dir| survivors::words(&survivors::find(&dir))) {
        output::line(&words);
    }
    ended
}

/// Takes a free port where 0 was asked for, and refuses what is taken or given twice.
fn settle_addresses(arguments: &mut UpArguments) -> Result<(), UpError> {
    let mut wanted = [
        ("the HTTP interface", "--http", &mut arguments.http),
        ("ClickHouse", "--sql", &mut arguments.sql),
        ("NATS", "--nats", &mut arguments.nats),
        ("the agent's metrics", "--agent-metrics", &mut arguments.agent_metrics),
    ];
    for (what, flag, address) in &mut wanted {
        **address = free(what, flag, **address)?;
    }
    for (at, (_, second, address)) in wanted.iter().enumerate() {
        if let Some((_, first, _)) = wanted[..at].iter().find(|(_, _, other)| *other == *address) {
            return Err(UpError::Clash { first, second, address: **address });
        }
    }
    Ok(())
}

fn free(what: &'static str, flag: &'static str, address: SocketAddr) -> Result<SocketAddr, UpError> {
    let begun = Instant::now();
    loop {
        match ports::try_listen(address) {
            Ok(address) => return Ok(address),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                if begun.elapsed() >= PORT_PATIENCE {
                    let holder = ports::holder(address.port());
                    let holder =
                        holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
                    return Err(UpError::InUse { what, address, holder, flag });
                }
                // Nothing tells when a port comes free, and nothing else runs yet.
                std::thread::park_timeout(Duration::from_millis(50));
            }
            Err(source) => return Err(UpError::Address { what, address, source, flag }),
        }
    }
}

/// The signals that end `fettle up`.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn told(&mut self) {
        tokio::select! { _ = self.terminate.recv() => {} _ = self.interrupt.recv() => {} }
    }
}

async fn keep_up(state: &StateDir, parts: Parts, arguments: &UpArguments) -> Result<(), UpError> {
    let mut stop = Stop::new().map_err(UpError::Runtime)?;
    let begun = Instant::now();
    output::line(&format!("fettle {}, state in {}", env!("CARGO_PKG_VERSION"), state.root().display()));
    warn_about_open_addresses(arguments);
    let board = Arc::new(Board::new(state.join("run/parts.json"), &Parts::NAMES));
    let mut running: Vec<Supervised> = Vec::new();
    let outcome = tokio::select! {
        () = stop.told() => Ok(()),
        outcome = stay_up(state, parts, arguments, &board, &mut running, begun) => outcome,
    };
    if outcome.is_ok() {
        output::line("stopping; once more stops at once");
    }
    shut_down(running, &mut stop).await;
    outcome
}

/// Starts the parts in order and then waits for one to be given up, which is the only end.
async fn stay_up(
    state: &StateDir,
    parts: Parts,
    arguments: &UpArguments,
    board: &Arc<Board>,
    running: &mut Vec<Supervised>,
    begun: Instant,
) -> Result<(), UpError> {
    let logs = state.join("logs");
    let start = |part: Part, needed: &[&Supervised]| {
        let log = Log::new(&logs, part.name, arguments.verbose);
        Supervised::start(part, log, Arc::clone(board), needed)
    };
    let nats = start(parts.nats, &[]);
    let clickhouse = start(parts.clickhouse, &[]);
    let collector = start(parts.collector, &[&nats, &clickhouse]);
    let agent = start(parts.agent, &[&nats]);
    running.extend([nats, clickhouse, collector, agent]);
    futures_util::future::try_join_all(running.iter_mut().map(Supervised::ready)).await?;
    await_health(arguments.http).await;
    print_addresses(state, arguments, begun);
    let ends = running.iter_mut().map(|part| Box::pin(part.ended()));
    futures_util::future::select_all(ends).await.0
}

/// Waits until the health answer is 200: everything is ready, by the word of the whole.
async fn await_health(http: SocketAddr) {
    let (client, url) = probe::target(http, "/api/v3/health");
    let (begun, mut said) = (Instant::now(), false);
    loop {
        let answer = probe::health(&client, &url).await;
        if answer.as_ref().is_some_and(|(status, _)| *status == 200) {
            return;
        }
        if begun.elapsed() > HEALTH_PATIENCE && !said {
            said = true;
            output::line(&format!("not everything is ready yet; {url} says what is missing"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn print_addresses(state: &StateDir, arguments: &UpArguments, begun: Instant) {
    output::line(&format!("ready in {:.1} s", begun.elapsed().as_secs_f64()));
    output::line(&format!("  SQL   http://{}    try: fettle sql --url http://{0}", arguments.sql));
    output::line(&format!("  HTTP  http://{}/api/v3/health", arguments.http));
    output::line(&format!("  NATS  nats://{}    further agents: fettle login NAME", arguments.nats));
    output::line(&format!("  logs  {}", state.join("logs").display()));
}

/// These do not ask who reads, so an address that others reach is worth a line.
fn warn_about_open_addresses(arguments: &UpArguments) {
    let open = [("--http", arguments.http), ("--sql", arguments.sql)];
    for (flag, address) in open.into_iter().filter(|(_, address)| !address.ip().is_loopback()) {
        output::complain(&format!(
            "warning: {flag} {address} is open to other machines and asks for no password; keep it behind a firewall"
        ));
    }
}

/// Stops the last started first; a second signal kills what is left. Some that stop programs signal twice
/// at once, to the process and to its group: that is one wish.
async fn shut_down(mut running: Vec<Supervised>, stop: &mut Stop) {
    let begun = Instant::now();
    let mut hurry = false;
    for part in &running {
        part.order(Order::Leave);
    }
    while let Some(mut part) = running.pop() {
        if part.has_ended() {
            continue;
        }
        part.order(if hurry { Order::Kill } else { Order::Stop });
        loop {
            tokio::select! {
                _ = part.ended() => break,
                () = stop.told(), if !hurry => {
                    hurry = begun.elapsed() > SAME_WISH;
                    if hurry {
                        part.order(Order::Kill);
                    }
                }
            }
        }
    }
}
