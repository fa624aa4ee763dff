//! Reports the collector's own figures into ClickHouse, as component `collector` of the `self` family,
//! every ten seconds.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fettle_shared::catalogue::Catalogue;
use fettle_shared::subjects::agent_name_from;

use crate::store::Store;
use crate::telemetry::Telemetry;

const INTERVAL: Duration = Duration::from_secs(10);

/// Reports until it is dropped. A report that cannot be written is left out: the next one has it all.
pub async fn report(store: Store, telemetry: Arc<Telemetry>, catalogue: &'static Catalogue) {
    let Some(family) = catalogue.family("self") else { return };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = agent_name_from(host.trim());
    let started = Instant::now();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let mut values = figures(&telemetry);
        values.extend(process_figures());
        values.push(("uptime_seconds", started.elapsed().as_secs() as i64));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
        if let Err(error) = store.insert_own_row(family, &host, now, &values).await {
            tracing::debug!(%error, "the collector's own figures were not written");
        }
    }
}

fn figures(telemetry: &Telemetry) -> Vec<(&'static str, i64)> {
    let c = &telemetry.counters;
    let [insert, lag] = telemetry.quantiles();
    [
        ("ingest_frames", &c.frames_stored),
        ("ingest_bytes", &c.frame_bytes),
        ("ingest_samples", &c.samples_stored),
        ("ingest_duplicates", &c.duplicate_frames),
        ("ingest_quarantined", &c.quarantined_frames),
        ("insert_batches", &c.batches_stored),
        ("insert_rows", &c.rows_stored),
        ("insert_failures", &c.insert_retries),
        ("dropped_frames", &c.dropped_frames),
        ("dropped_samples", &c.dropped_samples),
    ]
    .into_iter()
    .map(|(name, counter)| (name, counter.load(Ordering::Relaxed) as i64))
    .chain([
        ("insert_us_p50", insert.0 as i64),
        ("insert_us_p99", insert.1 as i64),
        ("lag_us_p50", lag.0 as i64),
        ("lag_us_p99", lag.1 as i64),
    ])
    .collect()
}

/// CPU time, memory, threads and descriptors of this process, from proc(5).
fn process_figures() -> Vec<(&'static str, i64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The command name may hold spaces; the fields proc(5) numbers from 3 follow its last bracket.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<i64>().ok()).unwrap_or(0);
    let rss_kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|n| n.parse::<i64>().ok())
        .unwrap_or(0);
    let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count() as i64);
    vec![
        ("cpu_us", (field(14) + field(15)) * 10_000),
        ("rss_bytes", rss_kib * 1024),
        ("threads", field(20)),
        ("open_fds", open_fds),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_shared::catalogue::catalogue;

    #[test]
    fn every_figure_is_in_the_catalogue_and_the_process_has_some() {
        let family = catalogue().family("self").unwrap();
        let telemetry = Telemetry::default();
        for (name, _) in figures(&telemetry).into_iter().chain(process_figures()) {
            assert!(family.metric_index(name).is_some(), "{name}");
        }
        let rss = process_figures().into_iter().find(|(name, _)| *name == "rss_bytes").unwrap().1;
        assert!(rss > 1 << 20, "{rss}");
    }
}
