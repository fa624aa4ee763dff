//! What the collector tells about itself: counters, gauges and HDR histograms, rendered as
//! Prometheus text. Atomics only; nothing here waits for anything.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use hdrhistogram::Histogram;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:literal, $help:literal;)*) => {
        /// Counters and gauges of the collector.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $doc])* pub $name: AtomicU64,)* }

        impl Counters {
            /// Name, kind, help and value of each.
            pub fn all(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
                vec![$((stringify!($name), $kind, $help, self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Frames stored.
    frames_stored: "counter", "Frames whose rows are in ClickHouse.";
    /// Rows stored.
    rows_stored: "counter", "Rows inserted into the raw tables.";
    /// Samples stored.
    samples_stored: "counter", "Samples inserted into the raw tables.";
    /// Batches stored.
    batches_stored: "counter", "Batches committed to the ledger.";
    /// Bytes of frames received.
    frame_bytes: "counter", "Bytes of all frames that came in.";
    /// Doubles dropped.
    duplicate_frames: "counter", "Frames that came again although they were stored, and were dropped.";
    /// Doubles of a batch in the making.
    in_flight_duplicates: "counter", "Frames that came again while their batch was being written.";
    /// Damaged messages.
    quarantined_frames: "counter", "Messages put aside because they could not be read.";
    /// Frames an agent gave up.
    dropped_frames: "counter", "Frames agents gave up because their spool's quota was reached.";
    /// Samples an agent gave up.
    dropped_samples: "counter", "Samples in frames that agents gave up.";
    /// Samples of unknown metrics.
    unknown_samples: "counter", "Samples of metrics this collector's catalogue does not know; upgrade it.";
    /// Insert attempts that failed.
    insert_retries: "counter", "Requests to ClickHouse that had to be tried again.";
    /// Batches finished after a restart.
    recovered_batches: "counter", "Batches finished from their intent after a crash.";
    /// Frames given up in a recovery.
    abandoned_frames: "counter", "Frames of an intent that did not come again in time; stored when they do.";
    /// Roll-up windows from memory.
    windows_reduced: "counter", "10-second windows written from the collector's own reductions.";
    /// Roll-up windows from SQL.
    windows_selected: "counter", "Windows made from stored rows because they were late or interrupted.";
    /// Consumer re-creations.
    consumer_reopened: "counter", "Times the JetStream consumer had to be made again.";
    /// Seconds judged.
    watch_seconds: "counter", "Seconds of hosts that detection judged.";
    /// CPU time of detection.
    watch_cpu_us: "counter", "CPU time of detection in microseconds.";
    /// Seconds skipped.
    watch_skipped: "counter", "Seconds not judged because detection was behind or had no room.";
    /// Seconds too old.
    watch_old: "counter", "Seconds that were too old to be judged live when they came.";
    /// Seconds that came twice or late.
    watch_late: "counter", "Seconds that came after a later one of their host was judged.";
    /// Seconds whose judging failed.
    watch_failed: "counter", "Seconds whose judging failed by a mistake of the program.";
    /// Anomalies.
    anomalies_found: "counter", "Anomalies reported.";
    /// Anomalies not named.
    anomalies_unnamed: "counter", "Anomalies beyond the most that are named in a second.";
    /// Findings lost.
    findings_dropped: "counter", "Anomalies and health scores dropped because ClickHouse was away too long.";
    /// Seconds not listened to.
    watched_dropped: "counter", "Judged seconds that a listener in this process was too slow to take.";
    /// Snapshots saved.
    snapshots_saved: "counter", "Snapshots of what detection remembers of a host.";
    /// Snapshots that failed.
    snapshots_failed: "counter", "Snapshots that were not saved.";
    /// Snapshots restored.
    snapshots_restored: "counter", "Hosts whose learning went on from a snapshot.";
    /// Snapshots refused.
    snapshots_refused: "counter", "Snapshots that were damaged, too old, of another version or out of reach.";
    /// States that are not believed.
    states_refused: "counter", "Saved states of operations and rules that were gone, damaged, older, or not a trusted collector's.";
    /// Receipts not taken.
    receipts_refused: "counter", "Receipts not taken because their agent hands in too many, or too much waits for ClickHouse.";
    /// Size of a snapshot.
    snapshot_bytes: "gauge", "Size of the newest snapshot.";
    /// Hosts watched.
    watch_hosts: "gauge", "Hosts that detection watches.";
    /// Series judged.
    watch_series: "gauge", "Series that detection judges.";
    /// Series left out.
    watch_series_left_out: "gauge", "Series not judged because their host has too many.";
    /// Agents seen.
    agents: "gauge", "Agents whose frames are known.";
    /// Sequence holes.
    sequence_holes: "gauge", "Sequence numbers still missing below the newest stored frame.";
}

/// All telemetry of one collector.
#[derive(Debug)]
pub struct Telemetry {
    /// Counters and gauges.
    pub counters: Counters,
    insert_us: Mutex<Histogram<u64>>,
    lag_us: Mutex<Histogram<u64>>,
}

impl Default for Telemetry {
    fn default() -> Self {
        let histogram =
            || Mutex::new(Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("the bounds are valid"));
        Self { counters: Counters::default(), insert_us: histogram(), lag_us: histogram() }
    }
}

impl Telemetry {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Notes how long one block's insert took.
    pub fn insert_took(&self, took: Duration) {
        record(&self.insert_us, took.as_micros() as u64);
    }

    /// Notes the time from a frame's first sample to the moment it could be queried.
    pub fn queryable_after(&self, lag_us: u64) {
        record(&self.lag_us, lag_us);
    }

    /// (p50, p99, max) of insert time and of sample-to-queryable lag, in µs.
    pub fn quantiles(&self) -> [(u64, u64, u64); 2] {
        [&self.insert_us, &self.lag_us].map(|histogram| {
            let h = histogram.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (h.value_at_quantile(0.5), h.value_at_quantile(0.99), h.max())
        })
    }

    /// Prometheus text exposition, format 0.0.4.
    pub fn prometheus(&self) -> String {
        let mut out = String::with_capacity(4096);
        for (name, kind, help, value) in self.counters.all() {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let _ = writeln!(out, "# HELP fettle_collector_{name}{suffix} {help}");
            let _ = writeln!(out, "# TYPE fettle_collector_{name}{suffix} {kind}");
            let _ = writeln!(out, "fettle_collector_{name}{suffix} {value}");
        }
        summary(&mut out, "insert_seconds", "Time of one block's insert.", &self.insert_us);
        summary(&mut out, "sample_lag_seconds", "From a frame's first sample to queryable.", &self.lag_us);
        out
    }
}

fn record(histogram: &Mutex<Histogram<u64>>, value: u64) {
    histogram.lock().unwrap_or_else(std::sync::PoisonError::into_inner).saturating_record(value);
}

fn summary(out: &mut String, name: &str, help: &str, histogram: &Mutex<Histogram<u64>>) {
    let h = histogram.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let _ = writeln!(out, "# HELP fettle_collector_{name} {help}");
    let _ = writeln!(out, "# TYPE fettle_collector_{name} summary");
    for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
        let seconds = h.value_at_quantile(quantile) as f64 / 1e6;
        let _ = writeln!(out, "fettle_collector_{name}{{quantile=\"{quantile}\"}} {seconds}");
    }
    let _ = writeln!(out, "fettle_collector_{name}_sum {}", h.mean() * h.len() as f64 / 1e6);
    let _ = writeln!(out, "fettle_collector_{name}_count {}", h.len());
}
