//! A host's history through the live watch: the collector's own code and settings, the data's clock.
//!
//! While one slice is judged the next is being fetched; at most three are in memory.

use std::sync::mpsc::sync_channel;
use std::thread;

use fettle_analysis::live::{AnomalyRow, HostWatch, Plan};

use crate::ask::{Ask, HistoryError};
use crate::bounds::Span;
use crate::calibration::Claims;
use crate::slices::{Slice, Slices};
use crate::statement::Level;
use crate::stored::Stored;

/// Anomalies of one host that are kept; more are counted.
const MOST_ANOMALIES: usize = 100_000;

/// What is to be replayed.
#[derive(Debug)]
pub struct Job<'a> {
    /// The host.
    pub host: &'a str,
    /// Which tables and columns there are.
    pub stored: &'a Stored,
    /// The parts of time, in order ([`crate::Bounds::parts`]).
    pub parts: Vec<(Span, Level)>,
    /// What is found before this second is not reported: the detectors learn.
    pub report_from: u32,
}

/// What the watch said of one host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// The host.
    pub host: String,
    /// Anomalies in order of time.
    pub anomalies: Vec<AnomalyRow>,
    /// Anomalies beyond those that are kept.
    pub unkept: u64,
    /// Seconds of time that were judged, those for learning not counted.
    pub seconds: u64,
    /// Of them, those that were judged by roll-ups of ten seconds.
    pub rolled_seconds: u64,
    /// Seconds in which nothing was stored.
    pub empty_seconds: u64,
    /// Series judged at most.
    pub series: usize,
    /// Series that had no room, at most.
    pub left_out: usize,
    /// What the series claimed, after the time for learning.
    pub claims: Claims,
}

/// Runs one host's history through a watch that has seen nothing. `done` hears of each slice's seconds.
///
/// # Errors
/// When history cannot be read; what was found until then is lost.
pub fn replay(
    ask: &dyn Ask,
    job: &Job<'_>,
    plan: &Plan,
    done: &(dyn Fn(Span) + Sync),
) -> Result<Judged, HistoryError> {
    thread::scope(|scope| {
        let (give, slices) = sync_channel::<Result<Slice, HistoryError>>(1);
        let parts = job.parts.clone();
        scope.spawn(move || {
            for slice in Slices::new(ask, plan.catalogue, job.stored, job.host, parts) {
                if give.send(slice).is_err() {
                    return;
                }
            }
        });
        let mut watch = HostWatch::new(job.host, plan);
        let mut judged = Judged { host: job.host.to_owned(), ..Judged::default() };
        for slice in slices {
            let slice = slice?;
            judged.take(&slice, &mut watch, job, plan);
            done(slice.span);
        }
        Ok(judged)
    })
}

impl Judged {
    fn take(&mut self, slice: &Slice, watch: &mut HostWatch, job: &Job<'_>, plan: &Plan) {
        let covered = slice.level.seconds();
        let counted = Span { from: slice.span.from.max(job.report_from), until: slice.span.until };
        let counted = u64::from(counted.seconds());
        self.seconds += counted;
        if slice.level == Level::TenSeconds {
            self.rolled_seconds += counted;
        }
        let mut seen = 0;
        slice.for_each_second(job.host, |raw| {
            let second = watch.reduce(raw, plan);
            let findings = watch.second(&second, plan);
            if raw.second < job.report_from {
                return;
            }
            seen += u64::from(covered);
            self.series = self.series.max(findings.series);
            self.left_out = self.left_out.max(findings.left_out);
            self.claims.count(&watch.claims());
            let room = MOST_ANOMALIES - self.anomalies.len();
            self.unkept += (findings.anomalies.len().saturating_sub(room) + findings.unnamed) as u64;
            self.anomalies.extend(findings.anomalies.into_iter().take(room));
        });
        self.empty_seconds += counted.saturating_sub(seen);
    }
}
