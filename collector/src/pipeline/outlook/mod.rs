//! Looks ahead, once a minute, for the hosts of a partition: what runs out and when, where key series are
//! going, how probable it is that a component fails soon. Reads roll-ups, calls the pure functions of
//! [`fettle_analysis::outlook`] on a thread that may work, writes `forecasts` and `predictions`, and tells
//! whoever listens on the [`Board`].
//!
//! It is not part of the line: when it is slow or ClickHouse refuses it, frames go on, and the next look
//! begins from what is stored then. Memory is bounded: hosts are looked at sixteen at a time.

mod ahead;
mod learn;
mod predict;
mod read;
mod settings;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fettle_analysis::live::Outlooks;
use fettle_analysis::outlook::resources::WORTH_SAYING;
use fettle_analysis::outlook::{outlooks, value_outlooks, HostHistory, OutlookRow, Risk, Watch};
use fettle_analysis::predict::Registry;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{PipelineError, Writer};
use crate::store::Agents;

pub use settings::{OutlookSettings, RawOutlook};

use learn::Learned;
use read::Reader;

/// Hosts that are looked at together.
const HOSTS_AT_ONCE: usize = 16;
/// A host that sent nothing for so long is not looked at.
const SILENT_S: u32 = 600;
/// How long a value counts that has no newer one: slow families come every ten seconds.
const HOLD_S: u32 = 40;
/// Every so many looks everything is written, however improbable, and values are looked ahead at.
const FULL_EVERY: u64 = 10;
/// How often failures are counted while there are too few to learn from.
const COUNT_EVERY: Duration = Duration::from_secs(3_600);

/// What was said of one component.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskRow {
    /// Agent's name.
    pub host: String,
    /// Component; empty for the host itself.
    pub component: String,
    /// When, seconds since 1970.
    pub at: u32,
    /// Within which a failure counts, in seconds.
    pub horizon_s: u32,
    /// Version of the model, or `baseline`.
    pub model: String,
    /// How probable.
    pub risk: Risk,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// The newest look of one partition.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct News {
    /// When, seconds since 1970.
    pub at: u32,
    /// What is to be expected of every resource, improbable ends too.
    pub outlooks: Vec<OutlookRow>,
    /// What is to be expected of every host and component.
    pub risks: Vec<RiskRow>,
}

impl News {
    /// What each host's health score is to count, until two looks after this one were missed.
    pub fn expected(&self, every: Duration) -> impl Iterator<Item = (&str, Outlooks)> {
        let mut hosts: BTreeMap<&str, (Vec<&OutlookRow>, Option<f64>)> = BTreeMap::new();
        for row in &self.outlooks {
            hosts.entry(&row.host).or_default().0.push(row);
        }
        for row in self.risks.iter().filter(|row| !row.component.is_empty()) {
            let risk = &mut hosts.entry(&row.host).or_default().1;
            *risk = Some(risk.unwrap_or(0.0).max(row.risk.probability));
        }
        let until = self.at.saturating_add(3 * every.as_secs() as u32);
        hosts.into_iter().map(move |(host, (rows, risk))| (host, Outlooks::of(rows, risk, self.at, until)))
    }
}

/// The newest look of each partition that this collector owns or owned.
pub type Board = watch::Sender<BTreeMap<u16, Arc<News>>>;

/// The running task; it ends when this is dropped.
pub(super) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts looking ahead for a partition, if it is wanted.
pub(super) fn start(context: &Arc<Writer>, partition: u16) -> Option<Task> {
    let every = context.outlook.every?;
    let mut look = Look {
        context: Arc::clone(context),
        partition,
        registry: None,
        watched: HashMap::new(),
        looks: 0,
        counted: None,
    };
    Some(Task(tokio::spawn(async move {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = look.look().await {
                tracing::warn!(%error, partition, "a look ahead was left out; the next one begins anew");
            }
        }
    })))
}

/// What the task keeps from look to look.
struct Look {
    context: Arc<Writer>,
    partition: u16,
    /// Models; none until they have been read.
    registry: Option<Registry>,
    /// Components that a model watches, by host and name.
    watched: HashMap<(String, String), Watched>,
    looks: u64,
    /// When failures were last counted.
    counted: Option<Instant>,
}

/// One component that a model watches.
struct Watched {
    watch: Watch,
    /// First second that the model has not seen.
    next: u32,
}

impl Look {
    async fn look(&mut self) -> Result<(), PipelineError> {
        let began = Instant::now();
        let now = (super::commit::now_us() / 1_000_000) as u32;
        let context = Arc::clone(&self.context);
        if self.registry.is_none() {
            let rows = context.store.model_versions(self.partition, Registry::KEPT).await?;
            self.registry = Some(write::registry(&rows));
        }
        let agents = Agents::Partition { index: self.partition, count: context.partitions };
        let hosts = context.store.recent_hosts(agents, now.saturating_sub(SILENT_S)).await?;
        let full = self.looks.is_multiple_of(FULL_EVERY);
        let mut news = News { at: now, ..News::default() };
        let (mut forecasts, mut predictions) = (Vec::new(), Vec::new());
        for hosts in hosts.chunks(HOSTS_AT_ONCE) {
            let reader = Reader { store: &context.store, hosts, now };
            let histories = reader.histories().await?;
            let rows = off_the_line(move || judged(&histories)).await?;
            forecasts.extend(
                rows.iter()
                    .filter(|r| full || r.probability() >= WORTH_SAYING)
                    .map(|r| write::outlook(r, now)),
            );
            if full {
                let series = reader.values().await?;
                let values = move || series.iter().flat_map(value_outlooks).collect::<Vec<_>>();
                forecasts.extend(off_the_line(values).await?.iter().map(|row| write::value(row, now)));
            }
            let risks = self.risks(&reader, &rows).await?;
            predictions.extend(risks.iter().filter(|r| worth_writing(r, full)).map(write::risk));
            news.outlooks.extend(rows);
            news.risks.extend(risks);
        }
        self.write(forecasts, predictions).await?;
        self.looks += 1;
        let (resources, components) = (news.outlooks.len(), news.risks.len());
        context.outlooks.send_modify(|board| {
            board.insert(self.partition, Arc::new(news));
        });
        let took_ms = began.elapsed().as_millis() as u64;
        tracing::debug!(
            partition = self.partition,
            hosts = hosts.len(),
            resources,
            components,
            took_ms,
            "looked ahead"
        );
        self.learn(&hosts, now).await
    }

    /// Nothing is written once the partition may belong to another.
    async fn write(&self, forecasts: Vec<Value>, predictions: Vec<Value>) -> Result<(), PipelineError> {
        self.context.check()?;
        self.context.store.insert_outlook("forecasts", &forecasts).await?;
        self.context.store.insert_outlook("predictions", &predictions).await?;
        Ok(())
    }

    /// Trains when it is time: at the interval once a model was trained, and before that whenever failures
    /// may have become enough.
    async fn learn(&mut self, hosts: &[String], now: u32) -> Result<(), PipelineError> {
        let Some(every) = self.context.outlook.retrain_every else { return Ok(()) };
        let pause = every.min(COUNT_EVERY);
        if self.counted.is_some_and(|counted| counted.elapsed() < pause) {
            return Ok(());
        }
        self.counted = Some(Instant::now());
        let store = &self.context.store;
        let newest = store.newest_model(self.partition).await?;
        if u64::from(now.saturating_sub(newest)) < every.as_secs() {
            return Ok(());
        }
        let registry = self.registry.clone().unwrap_or_default();
        let horizon_s = self.context.outlook.predict_horizon_s;
        self.context.check()?;
        match learn::train(store, self.partition, hosts, registry, horizon_s, now).await? {
            Learned::TooFew(failures) => {
                tracing::debug!(failures, "too few failures on record to learn from");
            }
            Learned::Done(registry, fresh) => {
                if fresh {
                    self.watched.clear();
                }
                self.registry = Some(registry);
            }
        }
        Ok(())
    }
}

fn judged(histories: &[HostHistory]) -> Vec<OutlookRow> {
    histories.iter().flat_map(outlooks).collect()
}

/// The host's own row every so often, the others when they say something.
fn worth_writing(row: &RiskRow, full: bool) -> bool {
    row.risk.probability >= WORTH_SAYING || (full && row.component.is_empty())
}

/// Runs work that takes milliseconds where it holds up no task.
async fn off_the_line<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PipelineError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| PipelineError::Task(e.to_string()))
}
