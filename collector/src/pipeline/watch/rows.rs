//! Writes findings: anomalies at once, health scores every few seconds together. While ClickHouse is away
//! they wait, a bounded number of them; written twice they replace themselves.

use std::time::Duration;

use fettle_analysis::live::{AnomalyRow, HealthRow};
use tokio::sync::mpsc;

use super::super::commit::now_us;
use super::Context;
use crate::telemetry::Telemetry;

/// Findings of seconds that wait to be taken.
const QUEUE: usize = 1024;
/// Rows of each kind that wait while ClickHouse is away.
const MOST_ROWS: usize = 10_000;
/// Health scores are written this often, and what failed is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// What one second gave.
#[derive(Debug)]
pub(super) struct Found {
    pub anomalies: Vec<AnomalyRow>,
    pub health: Option<HealthRow>,
}

/// Starts the task; it ends, everything written that can be, when the sender is dropped.
pub(super) fn start(context: &Context) -> mpsc::Sender<Found> {
    let (sender, found) = mpsc::channel(QUEUE);
    let rows = Rows { context: context.clone(), anomalies: Vec::new(), health: Vec::new() };
    tokio::spawn(rows.run(found));
    sender
}

struct Rows {
    context: Context,
    anomalies: Vec<AnomalyRow>,
    health: Vec<HealthRow>,
}

impl Rows {
    async fn run(mut self, mut found: mpsc::Receiver<Found>) {
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                next = found.recv() => {
                    let Some(next) = next else { break };
                    let urgent = !next.anomalies.is_empty();
                    self.take(next);
                    while let Ok(more) = found.try_recv() {
                        self.take(more);
                    }
                    if urgent || !self.anomalies.is_empty() {
                        self.write_anomalies().await;
                    }
                }
                _ = ticks.tick() => {
                    self.write_anomalies().await;
                    self.write_health().await;
                }
            }
        }
        self.write_anomalies().await;
        self.write_health().await;
    }

    fn take(&mut self, found: Found) {
        self.anomalies.extend(found.anomalies);
        self.health.extend(found.health);
        let over = shorten(&mut self.anomalies) + shorten(&mut self.health);
        Telemetry::add(&self.context.telemetry.counters.findings_dropped, over as u64);
    }

    async fn write_anomalies(&mut self) {
        if self.anomalies.is_empty() {
            return;
        }
        match self.context.store.insert_anomalies(&self.anomalies, now_us()).await {
            Ok(()) => self.anomalies.clear(),
            Err(error) => tracing::warn!(%error, rows = self.anomalies.len(), "anomalies wait to be written"),
        }
    }

    async fn write_health(&mut self) {
        if self.health.is_empty() {
            return;
        }
        match self.context.store.insert_health(&self.health, now_us()).await {
            Ok(()) => self.health.clear(),
            Err(error) => {
                tracing::warn!(%error, rows = self.health.len(), "health scores wait to be written");
            }
        }
    }
}

/// Drops the oldest beyond what may wait; gives how many.
fn shorten<T>(rows: &mut Vec<T>) -> usize {
    let over = rows.len().saturating_sub(MOST_ROWS);
    rows.drain(..over);
    over
}
