//! Runs rules over what the partitions of this collector see, and reports to whoever holds operations.
//!
//! Its state (windows, how long conditions hold, which hosts there are, what has been said) is saved before anything
//! new is said, as far as saving takes no more than a tenth of the time, and every ten seconds. So rules that go on
//! after a crash know of every alert they have told of, and it is they who end it, on the word of fresh data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fettle_alert::handoff::Finding;
use fettle_alert::rules::{
    AnomalySignal, Evaluator, ForecastSignal, PredictionSignal, RuleSet, Saved, SeriesName, Settings, SqlRow,
};
use fettle_analysis::forecast::Resource;
use fettle_analysis::live::{AnomalyKind, AnomalyRow};
use fettle_analysis::outlook::OutlookRow;
use fettle_shared::subjects::partition_of;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::files::{OperationsFiles, Source};
use super::report::{self, HostReport};
use super::{now_us, Context};
use crate::handoff::{Judged, Watched};
use crate::orders::{OrdersError, Seals, StateCell};
use crate::pipeline::outlook::{News, RiskRow};
use crate::telemetry::Telemetry;

const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// Saving takes no more than one part in so many of the time.
const SAVE_SHARE: u32 = 10;
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(500);
/// A question of a rule may take this long.
const SQL_PATIENCE: Duration = Duration::from_secs(30);
/// Findings in one report; more go in several.
const FINDINGS_AT_ONCE: usize = 200;

/// What rules hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// This collector no longer owns a partition: its hosts are another's to miss.
    Lost(u16),
}

/// An anomaly as rules take it; what moved together in an incident is no alarm of its own.
fn signal(row: AnomalyRow) -> Option<AnomalySignal> {
    let series = match row.kind {
        AnomalyKind::Together => return None,
        AnomalyKind::Host => None,
        AnomalyKind::Series => {
            Some(SeriesName { family: row.family, metric: row.metric, entity: row.entity })
        }
    };
    let (score, severity) = (f64::from(row.score), row.severity.into());
    Some(AnomalySignal { host: row.host, at_us: row.at_us, severity, score, series, words: row.reason })
}

/// A forecast as rules take it.
fn forecast(row: &OutlookRow, at: u32) -> ForecastSignal {
    let column = match row.resource {
        Resource::Disk | Resource::Inodes => "mount",
        _ => "entity",
    };
    let entity = (!row.entity.is_empty()).then(|| (column.to_owned(), row.entity.clone()));
    ForecastSignal {
        host: row.host.clone(),
        at_us: i64::from(at) * 1_000_000,
        resource: row.resource,
        entity: entity.into_iter().collect(),
        eta_s: row.exhaustion.map(|e| e.eta_s),
        low_s: row.exhaustion.map(|e| e.low_s),
        high_s: row.exhaustion.map(|e| e.high_s),
        probability: row.probability(),
        words: row.words.clone(),
    }
}

/// A prediction as rules take it.
fn prediction(row: &RiskRow) -> PredictionSignal {
    PredictionSignal {
        host: row.host.clone(),
        at_us: i64::from(row.at) * 1_000_000,
        probability: row.risk.probability,
        horizon_s: f64::from(row.horizon_s),
        words: row.reasons.join("; "),
    }
}

/// The rules at work.
#[derive(Debug)]
pub struct Rules {
    context: Context,
    source: Source,
    set: RuleSet,
    evaluator: Evaluator,
    cell: StateCell,
    saved: Instant,
    /// How long saving took last.
    save_took: Duration,
    /// What had been said when it was saved last ([`Evaluator::changes`]).
    saved_changes: u64,
    looked: Instant,
    asking: BTreeMap<String, JoinHandle<()>>,
    answers: (mpsc::Sender<Rows>, mpsc::Receiver<Rows>),
    outlooks: watch::Receiver<BTreeMap<u16, Arc<News>>>,
    looked_ahead: u32,
}

/// A rule's name and what its question was answered with.
type Rows = (String, Vec<SqlRow>);

impl Rules {
    /// Rules from these files, or the default pack.
    pub fn new(context: Context, files: &OperationsFiles, seals: Option<Seals>) -> Self {
        let key = format!("rules_{}", context.owner);
        let cell = StateCell::new(context.nats.clone(), &key, &format!("{:x}", now_us()), seals);
        // Until the files are read, and where they cannot be: the pack.
        let set = RuleSet::default_pack().unwrap_or_default();
        Self {
            source: Source::new(files.rules.clone()),
            evaluator: Evaluator::new(&set, Settings::default()),
            set,
            cell,
            saved: Instant::now(),
            save_took: Duration::ZERO,
            saved_changes: 0,
            looked: Instant::now(),
            asking: BTreeMap::new(),
            answers: mpsc::channel(64),
            outlooks: context.outlooks.subscribe(),
            looked_ahead: 0,
            context,
        }
    }

    /// Evaluates until `stop` is set.
    pub async fn run(
        mut self,
        mut judged: mpsc::Receiver<Judged>,
        mut heard: mpsc::Receiver<Heard>,
        mut stop: watch::Receiver<bool>,
    ) {
        self.look_at_files();
        self.restore().await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(judged) = judged.recv() => match judged {
                    Judged::Second(watched) => self.judge(*watched).await,
                    Judged::Listened(listened) => {
                        let (partition, partitions) = (listened.partition, self.context.partitions);
                        let listens_to = |host: &str| partition_of(host, partitions) == partition;
                        self.evaluator.listened(listened.passed_us, listens_to, &listened.agents);
                    }
                },
                Some(heard) = heard.recv() => self.hear(heard),
                Ok(()) = self.outlooks.changed() => self.look_ahead().await,
                _ = tick.tick() => self.tick().await,
                Some((rule, rows)) = self.answers.1.recv() => {
                    self.asking.remove(&rule);
                    let findings = self.evaluator.sql_rows(&rule, &rows, now_us());
                    self.tell(findings).await;
                }
                _ = stop.changed() => {
                    self.save().await;
                    return;
                }
            }
        }
    }

    async fn judge(&mut self, watched: Watched) {
        let mut report = HostReport::of(&watched.second, self.context.catalogue);
        report.findings = self.evaluator.second(&watched.second);
        for signal in watched.anomalies.into_iter().filter_map(signal) {
            report.findings.extend(self.evaluator.anomaly(&signal));
        }
        self.save_news().await;
        self.send(report).await;
    }

    fn hear(&mut self, heard: Heard) {
        let Heard::Lost(partition) = heard;
        let partitions = self.context.partitions;
        for host in self.evaluator.host_names() {
            if partition_of(&host, partitions) == partition {
                // Not over: the next owner goes on saying it.
                self.evaluator.let_go(&host);
            }
        }
    }

    /// Takes what was looked ahead at since the last time.
    async fn look_ahead(&mut self) {
        let news: Vec<Arc<News>> = self.outlooks.borrow_and_update().values().cloned().collect();
        let before = self.looked_ahead;
        for news in news.into_iter().filter(|one| one.at > before) {
            self.looked_ahead = self.looked_ahead.max(news.at);
            let mut findings = Vec::new();
            for row in &news.outlooks {
                findings.extend(self.evaluator.forecast(&forecast(row, news.at)));
            }
            for row in &news.risks {
                findings.extend(self.evaluator.prediction(&prediction(row)));
            }
            self.tell(findings).await;
        }
    }

    async fn tick(&mut self) {
        if self.looked.elapsed() >= LOOK_INTERVAL {
            self.looked = Instant::now();
            if let Some(findings) = self.look_at_files() {
                self.tell(findings).await;
            }
        }
        let findings = self.evaluator.tick(now_us());
        self.tell(findings).await;
        self.ask_sql();
        if self.saved.elapsed() >= SAVE_INTERVAL {
            self.save().await;
        }
    }

    /// Sends findings, those of a host together.
    async fn tell(&mut self, findings: Vec<Finding>) {
        self.save_news().await;
        let mut hosts: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
        for finding in findings {
            let host = finding.labels.get("host").cloned().unwrap_or_default();
            hosts.entry(host).or_default().push(finding);
        }
        for (host, findings) in hosts {
            for some in findings.chunks(FINDINGS_AT_ONCE) {
                let report =
                    HostReport { host: host.clone(), findings: some.to_vec(), ..HostReport::default() };
                self.send(report).await;
            }
        }
    }

    async fn send(&self, report: HostReport) {
        let host = if report.host.is_empty() { report::FLEET } else { &report.host };
        match serde_json::to_vec(&report) {
            Ok(payload) => {
                if let Err(error) =
                    self.context.nats.publish(report::subject(host), Bytes::from(payload)).await
                {
                    tracing::debug!(%error, "a report was not sent; it is said again");
                }
            }
            Err(error) => tracing::error!(%error, "a report cannot be written"),
        }
    }

    /// Asks what SQL rules want to know, each beside the others.
    fn ask_sql(&mut self) {
        let due: Vec<(String, String)> = self
            .evaluator
            .sql_due(now_us())
            .into_iter()
            .map(|rule| (rule.name.clone(), rule.query.clone()))
            .collect();
        for (name, query) in due {
            if self.asking.contains_key(&name) {
                continue;
            }
            let (store, answers, rule) = (self.context.store.clone(), self.answers.0.clone(), name.clone());
            // No answer is not «nothing is wrong»: what it found before stands.
            let task = tokio::spawn(async move {
                let asked = tokio::time::timeout(SQL_PATIENCE, store.select::<SqlRow>(&query)).await;
                match asked {
                    Ok(Ok(rows)) => {
                        let _ = answers.send((rule, rows)).await;
                    }
                    Ok(Err(error)) => tracing::warn!(%error, rule, "a rule's question is not answered"),
                    Err(_) => tracing::warn!(rule, "a rule's question takes longer than 30 s"),
                }
            });
            self.asking.insert(name, task);
        }
        self.asking.retain(|_, task| !task.is_finished());
    }

    /// Takes changed files; gives what ends by that.
    fn look_at_files(&mut self) -> Option<Vec<Finding>> {
        let set = self.context.not_taken.rules(&mut self.source)?;
        let ended = self.evaluator.reload(&set);
        self.set = set;
        tracing::info!(rules = self.set.rules.len(), "rules are in force");
        Some(ended)
    }

    async fn restore(&mut self) {
        match self.cell.load().await {
            Ok(Some(bytes)) => match serde_json::from_slice::<Saved>(&bytes) {
                Ok(saved) => {
                    let (evaluator, ended) = Evaluator::restore(&self.set, Settings::default(), saved);
                    self.evaluator = evaluator;
                    self.tell(ended).await;
                }
                Err(error) => tracing::warn!(%error, "the rules' state is begun anew"),
            },
            Ok(None) => {}
            Err(error) => {
                self.count(&error);
                tracing::warn!(%error, "the rules' state is begun anew");
            }
        }
    }

    fn count(&self, error: &OrdersError) {
        if matches!(error, OrdersError::NotTaken { .. } | OrdersError::Damaged { .. }) {
            Telemetry::add(&self.context.telemetry.counters.states_refused, 1);
        }
    }

    /// Saves before something new is said, unless it was saved a moment ago and takes long.
    async fn save_news(&mut self) {
        let is_due = self.saved.elapsed() >= self.save_took * SAVE_SHARE;
        if is_due && self.evaluator.changes() != self.saved_changes {
            self.save().await;
        }
    }

    async fn save(&mut self) {
        let began = Instant::now();
        let changes = self.evaluator.changes();
        let saved = match serde_json::to_vec(&self.evaluator.save()) {
            Ok(bytes) => self.cell.save(&bytes, now_us()).await.map_err(|error| {
                self.count(&error);
                error.to_string()
            }),
            Err(error) => Err(error.to_string()),
        };
        match saved {
            Ok(()) => self.saved_changes = changes,
            Err(error) => tracing::debug!(error, "the rules' state is saved later"),
        }
        (self.saved, self.save_took) = (Instant::now(), began.elapsed());
    }
}
