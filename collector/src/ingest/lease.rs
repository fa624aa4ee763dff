//! Who owns a partition. The lease is a key in JetStream's key-value store, changed only by
//! compare-and-set. An owner renews it often and stops writing well before others may take it, judged
//! by its own monotonic clock; another takes it only after having seen it unchanged for the whole
//! lease time on *its* clock. No two clocks are ever compared, so skew cannot make two owners.
//!
//! NATS may forget the key. Its owner makes it again with the next renewal; a newcomer who finds no
//! key waits a lease time first when ClickHouse shows that somebody wrote recently.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use bytes::Bytes;
use fettle_shared::subjects::LEASE_BUCKET;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::IngestError;

/// A newcomer must see the key unchanged for this long.
pub const LEASE_TIME: Duration = Duration::from_secs(10);
/// An owner that could not renew for this long stops.
const STOP_AFTER: Duration = Duration::from_secs(6);
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A partition held by this process; let go when dropped.
#[derive(Debug)]
pub struct Lease {
    state: Arc<Mutex<Held>>,
    renewal: JoinHandle<()>,
}

#[derive(Debug)]
struct Held {
    /// The owner writes only before this moment.
    until: Instant,
}

/// A cheap view of a lease for those who write.
#[derive(Debug, Clone)]
pub struct LeaseView(Arc<Mutex<Held>>);

impl LeaseView {
    /// Whether writing is still allowed.
    pub fn is_valid(&self) -> bool {
        Instant::now() < lock(&self.0).until
    }

    /// Returns when the lease has run out.
    pub async fn lost(&self) {
        loop {
            let until = lock(&self.0).until;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Lease {
    /// Waits until the partition is ours. `owner` names this collector across restarts; `quiet` says
    /// that nobody can have written lately, so that a missing key may be taken at once.
    pub async fn acquire(
        client: async_nats::Client,
        partition: u16,
        owner: &str,
        quiet: bool,
    ) -> Result<Self, IngestError> {
        let context = jetstream::new(client);
        let key = format!("partition.{partition}");
        let began = Instant::now();
        let mut seen: Option<(u64, Instant)> = None;
        loop {
            let asked = Instant::now();
            match look(&context, &key).await {
                Ok((store, entry)) => {
                    let revision = entry.as_ref().map_or(0, |e| e.revision);
                    if seen.is_none_or(|(r, _)| r != revision) {
                        seen = Some((revision, asked));
                    }
                    let unchanged = seen.is_some_and(|(_, since)| asked - since >= LEASE_TIME);
                    let free = match &entry {
                        Some(entry) => entry.value == owner.as_bytes() || unchanged,
                        None => quiet || began.elapsed() >= LEASE_TIME,
                    };
                    if free && take(&store, &key, owner, revision).await.is_some() {
                        let held = Held { until: asked + STOP_AFTER };
                        return Ok(Self::hold(context, key, owner.to_owned(), held));
                    }
                }
                Err(error) => tracing::debug!(%error, partition, "the lease cannot be looked at"),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// For those who write under this lease.
    pub fn view(&self) -> LeaseView {
        LeaseView(self.state.clone())
    }

    fn hold(context: jetstream::Context, key: String, owner: String, held: Held) -> Self {
        let state = Arc::new(Mutex::new(held));
        let renewed = state.clone();
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW_INTERVAL).await;
                let asked = Instant::now();
                if asked >= lock(&renewed).until {
                    return;
                }
                let attempt = renew(&context, &key, &owner);
                match tokio::time::timeout(RENEW_INTERVAL, attempt).await {
                    Ok(Some(())) => lock(&renewed).until = asked + STOP_AFTER,
                    _ => tracing::warn!(key, "the lease was not renewed; trying again"),
                }
            }
        });
        Self { state, renewal }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

fn lock(held: &Mutex<Held>) -> std::sync::MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The bucket and the key's entry, if there is one.
async fn look(
    context: &jetstream::Context,
    key: &str,
) -> Result<(kv::Store, Option<kv::Entry>), IngestError> {
    let fail = |cause: String| IngestError::JetStream { what: format!("lease {key}"), cause };
    let config = kv::Config { bucket: LEASE_BUCKET.into(), history: 1, ..Default::default() };
    let store = match context.get_key_value(LEASE_BUCKET).await {
        Ok(store) => store,
        Err(_) => context.create_key_value(config).await.map_err(|e| fail(e.to_string()))?,
    };
    let entry = store.entry(key).await.map_err(|e| fail(e.to_string()))?;
    Ok((store, entry.filter(|e| e.operation == kv::Operation::Put)))
}

/// Compare-and-set; revision 0 means that there must be no key.
async fn take(store: &kv::Store, key: &str, owner: &str, revision: u64) -> Option<()> {
    let value = Bytes::copy_from_slice(owner.as_bytes());
    if revision == 0 {
        return store.create(key, value).await.ok().map(drop);
    }
    store.update(key, value, revision).await.ok().map(drop)
}

/// Renews; when NATS has forgotten the key, makes it again; when another has it, gives up.
async fn renew(context: &jetstream::Context, key: &str, owner: &str) -> Option<()> {
    let (store, entry) = look(context, key).await.ok()?;
    match entry {
        None => take(&store, key, owner, 0).await,
        Some(entry) if entry.value == owner.as_bytes() => take(&store, key, owner, entry.revision).await,
        Some(_) => None,
    }
}
