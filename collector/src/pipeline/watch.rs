//! Detection beside the line: one thread a partition judges each second of each host and hands on what it
//! finds. It never holds the line up: when it is behind, seconds are skipped and counted, and seconds that
//! are old when they come (an agent that catches up) are not judged live.
//!
//! What is remembered of a host is saved every minute, each host at its own time, and at a stop; the next
//! owner of the partition goes on from there when the host's first second comes.

mod keep;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fettle_analysis::live::{Findings, HostWatch, Plan};
use fettle_analysis::second::RawSecond;
use tokio::sync::{mpsc, oneshot, watch as signal};

use super::outlook::News;
use super::Context;
use crate::handoff::{AskRecent, Judged, Listened, Watched};
use crate::ingest::LeaseView;
use crate::store::{AgentWindow, SecondWindow};
use crate::telemetry::Telemetry;
use keep::Keeper;
use rows::Found;

/// Batches that wait to be judged.
const QUEUE: usize = 4;
/// A second older than this when it comes is not judged live.
pub(super) const OLDEST_S: u32 = 60;
/// Hosts of one partition that are watched.
const MOST_HOSTS: usize = 2_000;
/// A host that was silent for this long is saved and let go.
const SILENT: Duration = Duration::from_secs(3600);
/// Silent hosts are looked for this often.
const LOOK: Duration = Duration::from_secs(60);
/// How long a stop waits for the last seconds and their snapshots.
const PATIENCE: Duration = Duration::from_secs(12);

/// One word on how far the reading is counts for no more: what held it up for longer was no listening.
const LISTENED_MOST: Duration = Duration::from_secs(2);

enum Work {
    Seconds(Vec<SecondWindow>, Listened),
    /// Somebody wants to know what is remembered.
    Recent(AskRecent),
    /// Save and end; answered when done.
    Stop(oneshot::Sender<()>),
}

/// The way to the thread; it ends when this is dropped, without saving.
#[derive(Debug)]
pub(super) struct Feed {
    work: mpsc::Sender<Work>,
    partition: u16,
    /// When it was told last how far the reading is.
    told: Mutex<Instant>,
}

impl Feed {
    /// Starts the thread; none when detection is switched off.
    pub fn start(context: &Context, partition: u16, lease: LeaseView) -> Option<Self> {
        let plan = context.analysis.clone()?;
        let (sender, work) = mpsc::channel(QUEUE);
        let handle = tokio::runtime::Handle::current();
        let watcher = Watcher {
            plan,
            hosts: HashMap::new(),
            keeper: Keeper::new(context, lease, handle),
            found: rows::start(context),
            looked: Instant::now(),
            partition,
            ahead: context.outlooks.subscribe(),
            context: context.clone(),
        };
        answer_questions(context.recent.open(partition), &sender);
        let started =
            std::thread::Builder::new().name(format!("watch-{partition}")).spawn(move || watcher.run(work));
        match started {
            Ok(_) => Some(Self { work: sender, partition, told: Mutex::new(Instant::now()) }),
            Err(error) => {
                tracing::error!(%error, partition, "detection cannot start; frames are stored without it");
                None
            }
        }
    }

    /// Hands over the seconds of a batch, or counts them as skipped. `agents` are those of its frames, and
    /// `is_caught_up` says that nothing waited behind them.
    pub fn offer(
        &self,
        context: &Context,
        seconds: &[SecondWindow],
        agents: Vec<String>,
        is_caught_up: bool,
    ) {
        let listened = self.since_told(agents, is_caught_up);
        if self.work.try_send(Work::Seconds(seconds.to_vec(), listened)).is_err() {
            Telemetry::add(&context.telemetry.counters.watch_skipped, seconds.len() as u64);
        }
    }

    /// Nothing has come and nothing is being read; `is_open` says that something could have come.
    pub fn listened(&self, is_open: bool) {
        let listened = self.since_told(Vec::new(), is_open);
        if listened.passed_us > 0 {
            // What finds no room was no listening either: what came before still waits.
            let _ = self.work.try_send(Work::Seconds(Vec::new(), listened));
        }
    }

    fn since_told(&self, agents: Vec<String>, counts: bool) -> Listened {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = std::mem::replace(&mut *told, Instant::now()).elapsed().min(LISTENED_MOST);
        let passed_us = if counts { passed.as_micros() as i64 } else { 0 };
        Listened { partition: self.partition, passed_us, agents }
    }

    /// Lets the thread finish what waits and save every host.
    pub async fn finish(&self) {
        let work = async {
            let (done, finished) = oneshot::channel();
            if self.work.send(Work::Stop(done)).await.is_ok() {
                let _ = finished.await;
            }
        };
        if tokio::time::timeout(PATIENCE, work).await.is_err() {
            tracing::warn!("not every host was saved before the stop; the snapshot before counts");
        }
    }
}

/// One host.
struct Host {
    watch: HostWatch,
    keep: keep::Place,
    seen: Instant,
    series: usize,
    left_out: usize,
}

struct Watcher {
    context: Context,
    plan: Arc<Plan>,
    hosts: HashMap<String, Host>,
    keeper: Keeper,
    found: mpsc::Sender<Found>,
    looked: Instant,
    partition: u16,
    /// What looks ahead say.
    ahead: signal::Receiver<BTreeMap<u16, Arc<News>>>,
}

/// Lets questions through to the thread, in turn with its seconds, until either end is gone.
fn answer_questions(mut questions: mpsc::Receiver<AskRecent>, work: &mpsc::Sender<Work>) {
    // A way that is kept open here would keep the thread.
    let work = work.downgrade();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            let Some(work) = work.upgrade() else { return };
            if work.send(Work::Recent(question)).await.is_err() {
                return;
            }
        }
    });
}

impl Watcher {
    fn run(mut self, mut work: mpsc::Receiver<Work>) {
        while let Some(next) = work.blocking_recv() {
            match next {
                Work::Seconds(seconds, listened) => {
                    self.look_ahead();
                    self.batch(seconds);
                    self.tell(Judged::Listened(listened));
                }
                Work::Recent(AskRecent { host, series, limit, answer }) => {
                    let host = self.hosts.get(&host);
                    let rows = host.map(|host| host.watch.recent_rows(series.as_deref(), limit, &self.plan));
                    // Who no longer waits needs no answer.
                    let _ = answer.send(rows);
                }
                Work::Stop(done) => {
                    self.keeper.save_all(self.hosts.values_mut());
                    let _ = done.send(());
                    return;
                }
            }
        }
    }

    /// Tells the watches what the newest look ahead expects of their hosts.
    fn look_ahead(&mut self) {
        if !self.ahead.has_changed().unwrap_or(false) {
            return;
        }
        let news = self.ahead.borrow_and_update().get(&self.partition).cloned();
        let (Some(news), Some(every)) = (news, self.context.outlook.every) else { return };
        for (name, outlooks) in news.expected(every) {
            if let Some(host) = self.hosts.get_mut(name) {
                host.watch.expect(outlooks);
            }
        }
    }

    /// Judges the seconds of one batch in the order of time.
    fn batch(&mut self, seconds: Vec<SecondWindow>) {
        let began = cpu_us();
        let mut ordered: BTreeMap<(u32, String), Vec<Arc<AgentWindow>>> = BTreeMap::new();
        for one in seconds {
            ordered.entry((one.second, one.agent)).or_default().push(one.window);
        }
        let mut touched = Vec::new();
        for ((second, agent), mut pieces) in ordered {
            let window = match pieces.pop() {
                Some(only) if pieces.is_empty() => only,
                last => {
                    let mut whole = AgentWindow::default();
                    pieces.iter().chain(&last).for_each(|piece| whole.absorb(piece, self.plan.catalogue));
                    Arc::new(whole)
                }
            };
            self.judge(&agent, second, &window);
            touched.push(agent);
        }
        let counters = &self.context.telemetry.counters;
        Telemetry::add(&counters.watch_cpu_us, cpu_us().saturating_sub(began));
        touched.sort_unstable();
        touched.dedup();
        for agent in touched {
            if let Some(host) = self.hosts.get_mut(&agent) {
                self.keeper.save_when_due(host);
            }
        }
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.keeper.save_all(self.hosts.values_mut().filter(|host| host.seen.elapsed() >= SILENT));
            self.hosts.retain(|_, host| host.seen.elapsed() < SILENT);
        }
        let counters = &self.context.telemetry.counters;
        let (series, left_out) =
            self.hosts.values().fold((0, 0), |(s, l), host| (s + host.series, l + host.left_out));
        counters.watch_hosts.store(self.hosts.len() as u64, Ordering::Relaxed);
        counters.watch_series.store(series as u64, Ordering::Relaxed);
        counters.watch_series_left_out.store(left_out as u64, Ordering::Relaxed);
    }

    fn judge(&mut self, agent: &str, second: u32, window: &AgentWindow) {
        let counters = &self.context.telemetry.counters;
        if !self.hosts.contains_key(agent) {
            if self.hosts.len() >= MOST_HOSTS {
                Telemetry::add(&counters.watch_skipped, 1);
                return;
            }
            let (watch, keep) = self.keeper.take_up(agent, &self.plan);
            let host = Host { watch, keep, seen: Instant::now(), series: 0, left_out: 0 };
            self.hosts.insert(agent.to_owned(), host);
        }
        let Some(host) = self.hosts.get_mut(agent) else { return };
        if second <= host.watch.newest() {
            Telemetry::add(&counters.watch_late, 1);
            return;
        }
        host.seen = Instant::now();
        let plan = &self.plan;
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let raw = RawSecond { host: agent, second, families: window.families(plan.catalogue) };
            let second = Arc::new(host.watch.reduce(&raw, plan));
            let findings = host.watch.second(&second, plan);
            (second, findings)
        }));
        let Ok((second, findings)) = judged else {
            // A mistake in the program must not end detection for the other hosts.
            tracing::error!(host = agent, "judging a second failed; the host's learning begins anew");
            Telemetry::add(&counters.watch_failed, 1);
            host.watch = HostWatch::new(agent, plan);
            return;
        };
        Telemetry::add(&counters.watch_seconds, 1);
        (host.series, host.left_out) = (findings.series, findings.left_out);
        self.hand_on(second, findings);
    }

    /// Gives findings to ClickHouse, and the second to whoever listens in this process.
    fn hand_on(&self, second: Arc<fettle_analysis::second::HostSecond>, findings: Findings) {
        let counters = &self.context.telemetry.counters;
        let Findings { anomalies, health, unnamed, .. } = findings;
        Telemetry::add(&counters.anomalies_unnamed, unnamed as u64);
        for row in &anomalies {
            Telemetry::add(&counters.anomalies_found, 1);
            tracing::info!(
                host = row.host,
                kind = row.kind.name(),
                series = row.series(),
                severity = %row.severity,
                reason = row.reason,
                "anomaly"
            );
        }
        if !anomalies.is_empty() || health.is_some() {
            let rows = (anomalies.len() + usize::from(health.is_some())) as u64;
            let found = Found { anomalies: anomalies.clone(), health: health.clone() };
            if self.found.try_send(found).is_err() {
                Telemetry::add(&counters.findings_dropped, rows);
            }
        }
        self.tell(Judged::Second(Box::new(Watched { second, anomalies, health })));
    }

    /// Tells whoever listens in this process.
    fn tell(&self, judged: Judged) {
        if let Some(listener) = &self.context.watched {
            if listener.try_send(judged).is_err() {
                Telemetry::add(&self.context.telemetry.counters.watched_dropped, 1);
            }
        }
    }
}

/// CPU time of this thread, µs.
fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (time.tv_sec as u64) * 1_000_000 + (time.tv_nsec as u64) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_is_time_in_which_something_could_have_come_and_was_read() {
        let (work, mut queue) = mpsc::channel(QUEUE);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(20)).unwrap();
        let feed = Feed { work, partition: 3, told: Mutex::new(long_ago) };
        let mut told = || match queue.try_recv() {
            Ok(Work::Seconds(_, listened)) => Some(listened),
            _ => None,
        };
        // NATS was away: nothing could have come.
        feed.listened(false);
        assert_eq!(told(), None);
        // The line was held up for long: that was no listening.
        *feed.told.lock().unwrap() = long_ago;
        feed.listened(true);
        let passed_us = LISTENED_MOST.as_micros() as i64;
        assert_eq!(told(), Some(Listened { partition: 3, passed_us, agents: Vec::new() }));
        // What is behind has read what it tells of, and has not listened.
        *feed.told.lock().unwrap() = long_ago;
        let listened = feed.since_told(vec!["web-1".to_owned()], false);
        assert_eq!((listened.passed_us, listened.agents.len()), (0, 1));
    }
}
