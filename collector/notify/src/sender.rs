//! Hands notifications to channels: rate, breaker, retries, fall-over.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fettle_alert::handoff::{Notification, Severity};
use fettle_alert::manage::Outcome;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::breaker::{Breaker, BreakerState};
use crate::bucket::Bucket;
use crate::channels::{Channel, Channels, Kind};
use crate::email::{mail, mailer, Mailer};
use crate::post::{client, post, TryError};
use crate::words::{body, title};

/// Sendings of one channel at once.
const IN_FLIGHT_MAX: usize = 4;
/// First wait before a try again; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);
/// Longest wait inside one sending. Longer ones are the caller's.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Sends to all channels. Cheap to share behind an `Arc`; its channels do not wait for each other.
#[derive(Debug)]
pub struct Sender {
    outlets: BTreeMap<String, Outlet>,
}

#[derive(Debug)]
struct Outlet {
    channel: Channel,
    http: Option<reqwest::Client>,
    mailer: Option<Mailer>,
    places: Semaphore,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Health {
    breaker: Breaker,
    bucket: Bucket,
    sent: u64,
    failed: u64,
    refused: u64,
    limited: u64,
    retried: u64,
    last_problem: Option<String>,
}

/// A channel as it is shown and counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelState {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: &'static str,
    /// Circuit breaker.
    pub breaker: BreakerState,
    /// Failures in a row.
    pub failures: u32,
    /// Notifications it may send at once now; negative: critical ones were sent above the rate.
    pub tokens: f64,
    /// Notifications it took.
    pub sent: u64,
    /// Sendings that failed after all retries.
    pub failed: u64,
    /// Sendings that it refused for good.
    pub refused: u64,
    /// Sendings put off by its rate.
    pub limited: u64,
    /// Tries after a first one.
    pub retried: u64,
    /// What went wrong last.
    pub last_problem: Option<String>,
    /// Where it falls over to.
    pub fallback: Option<String>,
}

/// Who took a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Channel: the notification's own, or one it fell over to.
    pub by: String,
}

/// Why nobody took it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No such channel.
    #[error("there is no channel named {0}; add it below channels: in alerts.yaml")]
    Unknown(String),
    /// Not now.
    #[error("{channel} cannot take it now: {problem}")]
    Later {
        /// Last channel tried.
        channel: String,
        /// Why.
        problem: String,
    },
    /// Never.
    #[error("{channel} refuses it: {problem}")]
    Refused {
        /// Last channel tried.
        channel: String,
        /// Why.
        problem: String,
    },
}

/// What the manager is told of a sending.
pub fn outcome(result: &Result<Delivered, SendError>) -> Outcome {
    match result {
        Ok(delivered) => Outcome::Sent { by: delivered.by.clone() },
        Err(error @ SendError::Refused { .. }) => Outcome::GaveUp { problem: error.to_string() },
        // A channel that is not there may come with the next settings.
        Err(error) => Outcome::Failed { problem: error.to_string() },
    }
}

impl Sender {
    /// Makes ready to send to these channels. Takes ring as the process's provider of TLS if there is none.
    ///
    /// # Errors
    /// When a channel's TLS cannot be set up; says which and why.
    pub fn new(channels: Channels) -> Result<Self, String> {
        // Fails when there is one already, which then serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let now = Instant::now();
        let mut outlets = BTreeMap::new();
        for (name, channel) in channels.0 {
            let words = |problem: String| format!("channel {name}: {problem}");
            let http = match channel.kind {
                Kind::Log | Kind::Email { .. } => None,
                _ => Some(client(&channel).map_err(words)?),
            };
            let mailer = mailer(&channel).map_err(words)?;
            let health = Health {
                breaker: Breaker::new(channel.breaker_failures, channel.breaker_open),
                bucket: Bucket::new(channel.per_minute, channel.burst, now),
                sent: 0,
                failed: 0,
                refused: 0,
                limited: 0,
                retried: 0,
                last_problem: None,
            };
            let places = Semaphore::new(IN_FLIGHT_MAX);
            outlets.insert(name, Outlet { channel, http, mailer, places, health: Mutex::new(health) });
        }
        Ok(Self { outlets })
    }

    /// Sends one notification to its channel, or to those it falls over to, in at most some ten seconds each.
    ///
    /// # Errors
    /// When none of them took it: for good, or for now.
    pub async fn send(&self, notification: &Notification) -> Result<Delivered, SendError> {
        let mut name = &notification.channel;
        let mut problems: Vec<String> = Vec::new();
        let mut later = false;
        loop {
            let Some(outlet) = self.outlets.get(name) else { return Err(SendError::Unknown(name.clone())) };
            match outlet.send(notification).await {
                Ok(()) => return Ok(Delivered { by: name.clone() }),
                Err(TryError::Later(problem, _)) => {
                    later = true;
                    problems.push(format!("{name}: {problem}"));
                }
                Err(TryError::Never(problem)) => problems.push(format!("{name}: {problem}")),
            }
            tracing::warn!(channel = %name, notification = %notification.id, problem = %problems.last().map_or("", String::as_str), "not sent");
            let Some(next) = &outlet.channel.fallback else { break };
            name = next;
        }
        let (channel, problem) = (name.clone(), problems.join("; then "));
        Err(if later {
            SendError::Later { channel, problem }
        } else {
            SendError::Refused { channel, problem }
        })
    }

    /// All channels, for the API and for metrics.
    pub fn states(&self) -> Vec<ChannelState> {
        self.outlets.iter().map(|(name, outlet)| outlet.state(name)).collect()
    }
}

impl Outlet {
    /// One sending: a place, the rate, the breaker, then tries.
    async fn send(&self, notification: &Notification) -> Result<(), TryError> {
        let Ok(_place) = self.places.acquire().await else {
            return Err(TryError::Later("it is closing".to_owned(), None));
        };
        let critical = notification.severity == Severity::Critical;
        {
            let mut health = self.health();
            let now = Instant::now();
            if let Err(wait) = health.breaker.begin(now) {
                let problem =
                    format!("left alone for {:.0} s more after failures in a row", wait.as_secs_f64().ceil());
                return Err(TryError::Later(problem, Some(wait)));
            }
            if let Err(wait) = health.bucket.take(critical, now) {
                health.limited += 1;
                health.breaker.abandoned();
                let problem = format!("its rate allows the next in {:.0} s", wait.as_secs_f64().ceil());
                return Err(TryError::Later(problem, Some(wait)));
            }
        }
        let probe = Probe { outlet: self, done: false };
        let result = self.tries(notification).await;
        probe.ended(&result);
        result
    }

    async fn tries(&self, notification: &Notification) -> Result<(), TryError> {
        let mut attempt = 0;
        loop {
            let tried = tokio::time::timeout(self.channel.timeout, self.once(notification)).await;
            let error = match tried {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => TryError::Later("no answer in time".to_owned(), None),
            };
            let TryError::Later(_, asked) = &error else { return Err(error) };
            let wait = asked.unwrap_or_else(|| backoff(&notification.id, attempt));
            if attempt >= self.channel.retries || wait > WAIT_MAX {
                return Err(error);
            }
            attempt += 1;
            self.health().retried += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(&self, notification: &Notification) -> Result<(), TryError> {
        if let Some(mailer) = &self.mailer {
            return mail(mailer, &self.channel, notification).await;
        }
        if let Some(client) = &self.http {
            let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            return post(client, &self.channel, notification, now_s).await;
        }
        tracing::info!(
            notification = %notification.id,
            group = %notification.group,
            reason = %notification.reason,
            "{}\n{}", title(notification), body(notification)
        );
        Ok(())
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn state(&self, name: &str) -> ChannelState {
        let health = self.health();
        ChannelState {
            name: name.to_owned(),
            kind: self.channel.kind.name(),
            breaker: health.breaker.state(Instant::now()),
            failures: health.breaker.failures(),
            tokens: health.bucket.tokens(),
            sent: health.sent,
            failed: health.failed,
            refused: health.refused,
            limited: health.limited,
            retried: health.retried,
            last_problem: health.last_problem.clone(),
            fallback: self.channel.fallback.clone(),
        }
    }
}

/// A sending that began: dropped on the way (its future was), it gives the breaker's probe back.
struct Probe<'a> {
    outlet: &'a Outlet,
    done: bool,
}

impl Probe<'_> {
    fn ended(mut self, result: &Result<(), TryError>) {
        self.done = true;
        let mut health = self.outlet.health();
        match result {
            Ok(()) => {
                health.sent += 1;
                health.breaker.succeeded();
            }
            Err(TryError::Later(problem, _)) => {
                health.failed += 1;
                health.last_problem = Some(problem.clone());
                health.breaker.failed(Instant::now());
            }
            Err(TryError::Never(problem)) => {
                // It answered: it is there, and the fault is the notification's or the settings'.
                health.refused += 1;
                health.last_problem = Some(problem.clone());
                health.breaker.succeeded();
            }
        }
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.outlet.health().breaker.abandoned();
        }
    }
}

/// 0.5 s, 1 s, 2 s …, by up to half as long again: spread by the notification's id, so that many that failed
/// together do not come back together.
fn backoff(id: &str, attempt: u32) -> Duration {
    let base = BACKOFF * (1 << attempt.min(6));
    let spread =
        fettle_alert::handoff::fingerprint(id, &BTreeMap::from([("n".to_owned(), attempt.to_string())]));
    base.mul_f64(1.0 + f64::from(u32::try_from(spread % 1_000).unwrap_or(0)) / 2_000.0)
}
