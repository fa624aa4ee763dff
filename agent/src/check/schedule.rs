//! When components are checked: each by a task of its own at its own interval, begun at a time of its own
//! within the first one, never two checks of one component at once, and at most 64 of all.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{watch, Semaphore};
use tokio::task::AbortHandle;

use super::probe::Probe;
use super::systemd::Systemd;
use super::verdict::{kind, mark_dependents, note, pause};
use crate::handoff::{ComponentState, ComponentStates, HostFileWatch, SupervisedStates};
use crate::host_file::{Component, HostFile};

/// Checks under way at once.
const AT_ONCE: usize = 64;

type States = watch::Sender<Arc<ComponentStates>>;

/// Checks what the file declares, and goes on as the file changes, until the runtime ends.
pub fn start(
    file: HostFileWatch,
    supervised: watch::Receiver<Arc<SupervisedStates>>,
) -> watch::Receiver<Arc<ComponentStates>> {
    let (states, receiver) = watch::channel(Arc::default());
    tokio::spawn(follow(file, supervised, states));
    receiver
}

/// Checks everything once, at most 64 at a time.
pub async fn once(
    file: &HostFile,
    supervised: &watch::Receiver<Arc<SupervisedStates>>,
) -> BTreeMap<String, super::verdict::Outcome> {
    let systemd = Systemd::default();
    let mut checked = BTreeMap::new();
    let all: Vec<(&String, &Component)> = file.components.iter().collect();
    for some in all.chunks(AT_ONCE) {
        let checks = some.iter().map(|(name, component)| {
            let mut probe =
                Probe::new((*name).clone(), (*component).clone(), supervised.clone(), systemd.clone());
            async move { ((*name).clone(), probe.check().await) }
        });
        checked.extend(futures_util::future::join_all(checks).await);
    }
    checked
}

async fn follow(mut file: HostFileWatch, supervised: watch::Receiver<Arc<SupervisedStates>>, states: States) {
    let (systemd, permits) = (Systemd::default(), Arc::new(Semaphore::new(AT_ONCE)));
    let mut tasks: BTreeMap<String, (Component, AbortHandle)> = BTreeMap::new();
    loop {
        let now = file.borrow_and_update().clone();
        tasks.retain(|name, (component, task)| {
            let same = now.components.get(name) == Some(component);
            if !same {
                task.abort();
            }
            same
        });
        states.send_modify(|states| {
            let states = Arc::make_mut(states);
            states
                .retain(|name, state| now.components.get(name).is_some_and(|c| kind(&c.runs) == state.kind));
        });
        for (name, component) in &now.components {
            if !tasks.contains_key(name) {
                let probe = Probe::new(name.clone(), component.clone(), supervised.clone(), systemd.clone());
                let task = checks(
                    name.clone(),
                    component.clone(),
                    probe,
                    permits.clone(),
                    states.clone(),
                    file.clone(),
                );
                tasks.insert(name.clone(), (component.clone(), tokio::spawn(task).abort_handle()));
            }
        }
        if file.changed().await.is_err() {
            // The agent is closing; the last states stand.
            tasks.values().for_each(|(_, task)| task.abort());
            return;
        }
    }
}

async fn checks(
    name: String,
    component: Component,
    mut probe: Probe,
    permits: Arc<Semaphore>,
    states: States,
    file: HostFileWatch,
) {
    tokio::time::sleep(jitter(&name, component.interval)).await;
    loop {
        let Ok(permit) = permits.acquire().await else { return };
        let outcome = probe.check().await;
        drop(permit);
        let took = outcome.took;
        let mut wait = component.interval;
        states.send_modify(|states| {
            let states = Arc::make_mut(states);
            let state = states.entry(name.clone()).or_default();
            let changed = note(state, &component, outcome, now_us());
            wait = pause(&component, state, took);
            if changed {
                say(&name, state);
                mark_dependents(states, &file.borrow().components);
            }
        });
        tokio::time::sleep(wait).await;
    }
}

fn say(name: &str, state: &ComponentState) {
    if state.up {
        tracing::info!(component = name, "it is up");
    } else {
        tracing::warn!(
            component = name,
            failures = state.consecutive_failures,
            "it is down: {}",
            state.last_error
        );
    }
}

/// So that many components of one interval are not all checked at the same moment.
fn jitter(name: &str, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    interval.min(Duration::from_secs(1)).mul_f64((hasher.finish() % 1000) as f64 / 1000.0)
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
