//! Starting and stopping what acts. Nothing of it exists until the host's file says something; from then on it
//! runs until the agent stops.

use std::path::Path;
use std::sync::Arc;

use async_nats::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::act::{self, Actor, Setup};
use crate::handoff::{ActionCounts, CollectorHeard, ComponentStates, HostFileWatch, SupervisorHandle};
use crate::host_file::HostFile;

/// What the components' side gives the acting side.
#[derive(Debug, Clone)]
pub(super) struct Components {
    /// The host's file.
    pub(super) file: HostFileWatch,
    /// How the components stand.
    pub(super) states: watch::Receiver<Arc<ComponentStates>>,
    /// The supervised commands.
    pub(super) supervisor: SupervisorHandle,
    /// Where ended actions are counted.
    pub(super) counts: ActionCounts,
}

/// The actor, or the wait for a file that wants one.
#[derive(Debug)]
pub(super) struct Acting {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Acting {
    /// Starts as soon as the host's file says something.
    pub(super) fn start(
        agent: &str,
        state_dir: &Path,
        components: Components,
        client: Client,
        heard: CollectorHeard,
    ) -> Self {
        let (stop, mut stopping) = watch::channel(false);
        let Components { file, states, supervisor, counts } = components;
        let mut wanted = file.clone();
        let setup = Setup {
            agent: agent.to_owned(),
            directory: state_dir.join(act::DIRECTORY),
            host: file,
            states,
            supervisor,
            counts,
            heard,
            client,
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                said = wanted.wait_for(|file| **file != HostFile::default()) => if said.is_err() { return },
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            match Actor::start(setup).await {
                Ok(actor) => actor.run(stopping).await,
                // Without its ledger an agent must not act; it goes on sampling.
                Err(error) => tracing::error!(%error, "no action will be taken"),
            }
        });
        Self { stop, task }
    }

    /// Gives actions under way a little time, then ends.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(true);
        if self.task.await.is_err() {
            tracing::error!("the actor has panicked; please report it with the log");
        }
    }
}
