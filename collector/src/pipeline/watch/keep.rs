//! Snapshots of watches: packed here, carried by ingest. One is written at a time; a host whose turn finds
//! another being written has its turn a second later.

use std::io::{BufReader, BufWriter, Read};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fettle_analysis::live::{HostWatch, Plan, WATCH_VERSION};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::super::commit::now_us;
use super::{Context, Host};
use crate::ingest::{LeaseView, StateStore};
use crate::telemetry::Telemetry;

/// Level of compression: the fastest; a higher one saves little of what is mostly noise.
const LEVEL: i32 = 1;
/// A snapshot unpacks to no more than this.
const MOST_BYTES: u64 = 256 << 20;
/// A watch that saw nothing for longer begins anew: its host is another by now.
const OLDEST_S: i64 = 7 * 86_400;
/// How long a snapshot may take to come.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where and when a host is saved.
#[derive(Debug)]
pub(super) struct Place {
    /// The slot that holds the newest whole snapshot; the other is written next.
    whole: Arc<AtomicU8>,
    due: Instant,
}

/// Saves and restores hosts of one partition.
pub(super) struct Keeper {
    state: StateStore,
    lease: LeaseView,
    handle: Handle,
    context: Context,
    writing: Arc<Semaphore>,
}

/// Why a snapshot is of no use.
#[derive(Debug, thiserror::Error)]
enum Useless {
    #[error("it cannot be unpacked ({0})")]
    Damaged(String),
    #[error("it was made by another version")]
    Version,
    #[error("it is more than a week old")]
    Old,
    /// Snapshots are not signed: whoever may write on one host's subject must not speak for another by it.
    #[error("it is of another host")]
    AnotherHost,
}

impl Keeper {
    pub fn new(context: &Context, lease: LeaseView, handle: Handle) -> Self {
        let state = StateStore::new(context.nats.clone());
        Self { state, lease, handle, context: context.clone(), writing: Arc::new(Semaphore::new(1)) }
    }

    /// The watch of a host that is new here: restored, or begun.
    pub fn take_up(&self, host: &str, plan: &Plan) -> (HostWatch, Place) {
        let began = Instant::now();
        let counters = &self.context.telemetry.counters;
        let load = async { tokio::time::timeout(PATIENCE, self.state.load(host)).await };
        let loaded = match self.handle.block_on(load) {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                tracing::warn!(%error, host, "the host's snapshot cannot be read; its learning begins anew");
                Telemetry::add(&counters.snapshots_refused, 1);
                None
            }
            Err(_) => {
                tracing::warn!(host, "the host's snapshot did not come in time; its learning begins anew");
                Telemetry::add(&counters.snapshots_refused, 1);
                None
            }
        };
        let whole = loaded.as_ref().map_or(1, |loaded| loaded.slot);
        let restored = loaded.and_then(|loaded| match unpack(&loaded.bytes, host, plan) {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::warn!(%error, host, "the host's snapshot is of no use; its learning begins anew");
                Telemetry::add(&counters.snapshots_refused, 1);
                None
            }
        });
        if let Some(watch) = &restored {
            Telemetry::add(&counters.snapshots_restored, 1);
            let ms = began.elapsed().as_millis() as u64;
            tracing::info!(
                host,
                ms,
                series = watch.series(),
                "the host's learning goes on from its snapshot"
            );
        }
        let place = Place { whole: Arc::new(AtomicU8::new(whole)), due: began + self.stagger(host) };
        (restored.unwrap_or_else(|| HostWatch::new(host, plan)), place)
    }

    /// A part of the interval that depends on the host, so that hosts take turns.
    fn stagger(&self, host: &str) -> Duration {
        let share = xxhash_rust::xxh3::xxh3_64(host.as_bytes()) % 1000;
        self.context.snapshot_interval.mul_f64(0.5 + share as f64 / 2000.0)
    }

    /// Saves the host in the background when its turn has come.
    pub fn save_when_due(&self, host: &mut Host) {
        if Instant::now() < host.keep.due || !self.lease.is_valid() {
            return;
        }
        let Ok(turn) = Arc::clone(&self.writing).try_acquire_owned() else { return };
        host.keep.due = Instant::now() + self.context.snapshot_interval;
        let Some(bytes) = self.pack(&host.watch) else { return };
        let (state, telemetry) = (self.state.clone(), Arc::clone(&self.context.telemetry));
        let (name, whole) = (host.watch.host().to_owned(), Arc::clone(&host.keep.whole));
        self.handle.spawn(async move {
            save(&state, &telemetry, &name, &whole, &bytes).await;
            drop(turn);
        });
    }

    /// Saves these hosts and waits for it.
    pub fn save_all<'a>(&self, hosts: impl Iterator<Item = &'a mut Host>) {
        for host in hosts {
            if !self.lease.is_valid() {
                return;
            }
            let Some(bytes) = self.pack(&host.watch) else { continue };
            let (name, whole) = (host.watch.host(), &host.keep.whole);
            self.handle.block_on(async {
                // What is being written in the background comes first: it may be this host.
                let _turn = self.writing.acquire().await;
                save(&self.state, &self.context.telemetry, name, whole, &bytes).await;
            });
        }
    }

    fn pack(&self, watch: &HostWatch) -> Option<Vec<u8>> {
        match pack(watch, self.context.catalogue.version) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::error!(error, host = watch.host(), "a snapshot was not made");
                Telemetry::add(&self.context.telemetry.counters.snapshots_failed, 1);
                None
            }
        }
    }
}

async fn save(state: &StateStore, telemetry: &Telemetry, host: &str, whole: &AtomicU8, bytes: &[u8]) {
    let slot = 1 - whole.load(Ordering::Relaxed).min(1);
    match state.save(host, slot, now_us(), bytes).await {
        Ok(()) => {
            whole.store(slot, Ordering::Relaxed);
            Telemetry::add(&telemetry.counters.snapshots_saved, 1);
            telemetry.counters.snapshot_bytes.store(bytes.len() as u64, Ordering::Relaxed);
        }
        Err(error) => {
            tracing::warn!(%error, host, "a snapshot was not saved; the one before counts");
            Telemetry::add(&telemetry.counters.snapshots_failed, 1);
        }
    }
}

/// Versions first, then the watch, compressed.
fn pack(watch: &HostWatch, catalogue: u32) -> Result<Vec<u8>, String> {
    let encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(|e| e.to_string())?;
    let mut writer = BufWriter::with_capacity(1 << 16, encoder);
    rmp_serde::encode::write(&mut writer, &(WATCH_VERSION, catalogue)).map_err(|e| e.to_string())?;
    rmp_serde::encode::write(&mut writer, watch).map_err(|e| e.to_string())?;
    let encoder = writer.into_inner().map_err(|e| e.to_string())?;
    encoder.finish().map_err(|e| e.to_string())
}

fn unpack(bytes: &[u8], host: &str, plan: &Plan) -> Result<HostWatch, Useless> {
    let damaged = |error: &dyn std::fmt::Display| Useless::Damaged(error.to_string());
    let decoder = zstd::Decoder::new(bytes).map_err(|e| damaged(&e))?;
    let mut reader = BufReader::with_capacity(1 << 16, decoder.take(MOST_BYTES));
    let versions: (u32, u32) = rmp_serde::from_read(&mut reader).map_err(|e| damaged(&e))?;
    if versions != (WATCH_VERSION, plan.catalogue.version) {
        return Err(Useless::Version);
    }
    let watch: HostWatch = rmp_serde::from_read(&mut reader).map_err(|e| damaged(&e))?;
    if !watch.fits(plan) {
        return Err(Useless::Version);
    }
    if watch.host() != host {
        return Err(Useless::AnotherHost);
    }
    if now_us() / 1_000_000 - i64::from(watch.newest()) > OLDEST_S {
        return Err(Useless::Old);
    }
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_analysis::live::LiveConfig;
    use fettle_shared::catalogue::catalogue;

    #[test]
    fn what_is_damaged_old_another_hosts_or_of_another_version_is_refused() {
        let plan = Plan::new(catalogue(), LiveConfig::default());
        let watch = HostWatch::new("web-1", &plan);
        let bytes = pack(&watch, catalogue().version).unwrap();
        assert!(matches!(unpack(&bytes, "web-1", &plan), Err(Useless::Old)), "it has seen nothing");
        assert!(matches!(unpack(&bytes, "web-2", &plan), Err(Useless::AnotherHost)));
        let other = pack(&watch, catalogue().version + 1).unwrap();
        assert!(matches!(unpack(&other, "web-1", &plan), Err(Useless::Version)));
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert!(matches!(unpack(&bytes[..cut], "web-1", &plan), Err(Useless::Damaged(_))), "{cut}");
        }
    }
}
