//! Steady load on a group of replicas, as a load balancer in front of them would spread it: so many requests
//! a second whatever becomes of them, each to the replica that has the fewest open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::sql::http_client;

/// A replica that took no connection is not tried again for so long.
const AVOIDED: Duration = Duration::from_millis(200);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is looked at to say whether it is served.
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Replica {
    port: u16,
    open: usize,
    avoided_until: Instant,
}

/// An answer, or the lack of one.
#[derive(Debug, Clone, Copy)]
struct Answer {
    at: Instant,
    took: Duration,
    good: bool,
}

#[derive(Debug)]
struct Balance {
    replicas: Vec<Replica>,
    answers: VecDeque<Answer>,
}

/// Load that lasts until it is dropped.
#[derive(Debug)]
pub struct Load {
    balance: Arc<Mutex<Balance>>,
    expected: f64,
    sending: JoinHandle<()>,
}

impl Load {
    /// Begins to ask for `path` every `pause`.
    pub fn start(ports: impl IntoIterator<Item = u16>, path: &str, pause: Duration) -> Self {
        let replica = |port| Replica { port, open: 0, avoided_until: Instant::now() };
        let balance =
            Balance { replicas: ports.into_iter().map(replica).collect(), answers: VecDeque::new() };
        let balance = Arc::new(Mutex::new(balance));
        let (shared, path, http) = (balance.clone(), path.to_owned(), http_client());
        let sending = tokio::spawn(async move {
            let mut clock = tokio::time::interval(pause);
            let mut open = tokio::task::JoinSet::new();
            loop {
                clock.tick().await;
                while open.try_join_next().is_some() {}
                open.spawn(ask(shared.clone(), http.clone(), path.clone()));
            }
        });
        Self { balance, expected: WINDOW.as_secs_f64() / pause.as_secs_f64(), sending }
    }

    /// Whether all that was answered in the last second was answered well within `most`, and most of what was
    /// asked for was answered.
    pub fn is_served(&self, most: Duration) -> bool {
        let balance = lock(&self.balance);
        let recent: Vec<&Answer> =
            balance.answers.iter().filter(|answer| answer.at.elapsed() <= WINDOW).collect();
        recent.len() as f64 >= 0.7 * self.expected
            && recent.iter().all(|answer| answer.good && answer.took <= most)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

fn lock(balance: &Mutex<Balance>) -> MutexGuard<'_, Balance> {
    balance.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request; whoever does not take the connection is passed by.
async fn ask(balance: Arc<Mutex<Balance>>, http: reqwest::Client, path: String) {
    let began = Instant::now();
    loop {
        let chosen = choose(&balance);
        let Some((at, port)) = chosen else { return note(&balance, began, false) };
        let asked = http.get(format!("http://127.0.0.1:{port}{path}")).timeout(PATIENCE).send().await;
        let mut all = lock(&balance);
        all.replicas[at].open -= 1;
        if asked.as_ref().is_err_and(reqwest::Error::is_connect) {
            all.replicas[at].avoided_until = Instant::now() + AVOIDED;
            continue;
        }
        drop(all);
        return note(&balance, began, asked.is_ok_and(|answer| answer.status().is_success()));
    }
}

/// The replica with the fewest open requests of those that take connections.
fn choose(balance: &Mutex<Balance>) -> Option<(usize, u16)> {
    let mut all = lock(balance);
    let now = Instant::now();
    let there = all.replicas.iter().enumerate().filter(|(_, replica)| replica.avoided_until <= now);
    let (at, _) = there.min_by_key(|(_, replica)| replica.open)?;
    all.replicas[at].open += 1;
    Some((at, all.replicas[at].port))
}

fn note(balance: &Mutex<Balance>, began: Instant, good: bool) {
    let mut all = lock(balance);
    let at = Instant::now();
    all.answers.push_back(Answer { at, took: at - began, good });
    while all.answers.front().is_some_and(|answer| answer.at.elapsed() > 2 * WINDOW) {
        all.answers.pop_front();
    }
}
