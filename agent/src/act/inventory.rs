//! Tells the collector what the host's file declares: when it changes, and every half minute.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use fettle_shared::inventory::Inventory;
use fettle_shared::subjects::inventory_subject;
use tokio::sync::watch;

use crate::handoff::{ComponentStates, HostFileWatch};
use crate::host_file::inventory;

/// Said again this often.
const EVERY: Duration = Duration::from_secs(30);
/// Said no oftener than this, however often states change.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells until it is dropped.
pub(super) async fn tell(
    client: Client,
    agent: Arc<str>,
    mut host: HostFileWatch,
    mut states: watch::Receiver<Arc<ComponentStates>>,
) {
    let mut told: Option<Inventory> = None;
    let mut again = tokio::time::interval(EVERY);
    loop {
        let due = tokio::select! {
            _ = again.tick() => true,
            Ok(()) = host.changed() => false,
            Ok(()) = states.changed() => false,
            else => return,
        };
        tokio::time::sleep(PAUSE).await;
        let (file, seen) = (host.borrow_and_update().clone(), states.borrow_and_update().clone());
        let name = agent.to_string();
        // Release links are looked at: on a thread for files.
        let Ok(now) = tokio::task::spawn_blocking(move || inventory(&name, &file, &seen)).await else {
            continue;
        };
        // A host without a file has nothing to tell, unless it had.
        let nothing = now.components.is_empty() && now.offers.is_empty();
        if (nothing && told.is_none()) || (!due && told.as_ref() == Some(&now)) {
            continue;
        }
        if let Ok(payload) = serde_json::to_vec(&now) {
            if let Err(error) = client.publish(inventory_subject(&agent), Bytes::from(payload)).await {
                tracing::debug!(%error, "the inventory was not told; it is said again");
            }
        }
        told = Some(now);
    }
}
