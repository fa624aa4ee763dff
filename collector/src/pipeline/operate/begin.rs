//! Starts rules and operations beside the partitions' lines, and says what of a saved state operations go on from.

use std::time::Duration;

use fettle_shared::seal::SealError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::rules::{Heard, Rules};
use super::saved::Saved;
use super::{now_us, run, Operations, OperationsFiles, PARTITION, STATE};
use crate::handoff::{Judged, Question};
use crate::ingest::Lease;
use crate::orders::{OrdersError, Seals, StateCell};
use crate::pipeline::Context;
use crate::store::Store;

/// Signals that may wait for the rules.
const HEARD: usize = 4096;
/// How long ClickHouse has to say where the audit ends.
const WITNESS_PATIENCE: Duration = Duration::from_secs(3);
/// How long the lease of operations is waited for; a collector that is gone lets go of it within ten seconds.
const LEASE_PATIENCE: Duration = Duration::from_secs(20);

/// What operations are started with.
#[derive(Debug)]
pub struct Start {
    /// The operator's files.
    pub files: OperationsFiles,
    /// The key that orders and states are signed with, and whose states are taken.
    pub seals: Option<Seals>,
    /// Judged seconds.
    pub judged: mpsc::Receiver<Judged>,
    /// What people ask.
    pub questions: mpsc::Receiver<Question>,
}

/// Starts both; the sender is where partitions tell what they see.
pub fn start(
    context: &Context,
    start: Start,
    stop: &watch::Receiver<bool>,
) -> (JoinSet<()>, mpsc::Sender<Heard>) {
    let (heard, sources) = mpsc::channel(HEARD);
    let mut tasks = JoinSet::new();
    let Start { files, seals, questions, judged } = start;
    tasks.spawn(Rules::new(context.clone(), &files, seals.clone()).run(judged, sources, stop.clone()));
    let operations = Operations { context: context.clone(), seals, files, questions };
    tasks.spawn(run(operations, stop.clone()));
    (tasks, heard)
}

/// Why a state is not gone on from.
#[derive(Debug)]
pub(super) struct Damage {
    /// The reason's name: status, metrics.
    pub name: &'static str,
    /// What is wrong and what to do, for people and the audit.
    pub words: String,
}

/// A state that is not there any more.
pub(super) const LOST: &str = "lost";

impl Damage {
    /// There was a state and there is none: what ClickHouse did not have of it yet is gone, maybe a freeze.
    pub(super) fn lost() -> Self {
        let words = "the saved state is gone, and with it what ClickHouse did not have yet, a freeze perhaps; see who may \
                     delete in NATS or whether it lost its store, and look at what is under way";
        Self { name: LOST, words: words.to_owned() }
    }

    pub(super) fn of(error: &OrdersError) -> Self {
        let OrdersError::NotTaken { reason, .. } = error else {
            return Self { name: "damaged", words: error.to_string() };
        };
        let remedy = match reason {
            SealError::Unsealed => {
                "after an upgrade from a version that did not sign it, all is well; else somebody without the key \
                 writes to NATS"
            }
            SealError::UnknownKey(_) => "if it is another collector's, add it to operations.trusted_keys",
            SealError::BadSignature => "see who may write to NATS",
            SealError::Old { .. } => "somebody put it back, or NATS lost what it had acknowledged",
        };
        Self { name: reason.name(), words: format!("{error}; {remedy}") }
    }
}

/// Why there is nothing to go on from.
#[derive(Debug)]
pub(super) enum Lost {
    /// NATS does not answer: it is tried again.
    Away(OrdersError),
    /// What is there is not taken.
    Refused(Damage),
}

/// The saved state, if there is one and it is to be believed. That there is none is believed only of a new fleet. ClickHouse is a second witness where it answers: rows
/// of the audit are written after the state they stand in was saved, so a state that ends before the stored audit
/// does is an older one.
pub(super) async fn saved_state(cell: &mut StateCell, store: &Store) -> Result<Option<Saved>, Lost> {
    let refused = |name, words| Err(Lost::Refused(Damage { name, words }));
    let bytes = match cell.load().await {
        Ok(Some(bytes)) => bytes,
        Ok(None) if cell.had_state() => return Err(Lost::Refused(Damage::lost())),
        Ok(None) => return Ok(None),
        Err(error @ OrdersError::Away { .. }) => return Err(Lost::Away(error)),
        Err(error) => return Err(Lost::Refused(Damage::of(&error))),
    };
    let saved = match serde_json::from_slice::<Saved>(&bytes) {
        Ok(saved) => saved,
        Err(error) => return refused("damaged", format!("the saved state cannot be read ({error})")),
    };
    match tokio::time::timeout(WITNESS_PATIENCE, store.audit_end()).await {
        Ok(Ok(Some((end, _)))) if end.seq > saved.audit_seq() => refused(
            "behind_the_audit",
            format!(
                "the saved state ends at record {} of the audit and ClickHouse has {}: somebody put an older one \
                 back, or NATS lost what it had acknowledged",
                saved.audit_seq(),
                end.seq
            ),
        ),
        Ok(Ok(_)) => Ok(Some(saved)),
        other => {
            tracing::warn!(?other, "ClickHouse does not say where the audit ends; the saved state is taken");
            Ok(Some(saved))
        }
    }
}

/// What was in a state that was adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// Alerts.
    pub alerts: usize,
    /// Silences.
    pub silences: usize,
    /// Plans that are under way: they are gone on with.
    pub plans: usize,
    /// The audit's last record.
    pub audit: u64,
}

/// Why no state was adopted.
#[derive(Debug, thiserror::Error)]
pub enum NotAdopted {
    /// A collector runs.
    #[error(
        "a collector holds the lease of operations, or NATS does not answer; stop every collector first"
    )]
    Held,
    /// There is none without a seal.
    #[error("there is no unsigned state; a collector can be started as it is")]
    Nothing,
    /// NATS, or what is there.
    #[error(transparent)]
    Orders(#[from] OrdersError),
    /// The lease.
    #[error(transparent)]
    Ingest(#[from] crate::ingest::IngestError),
    /// Not a state.
    #[error("the unsigned state cannot be read ({0}); start a collector, which begins anew, frozen")]
    Read(#[from] serde_json::Error),
}

/// Signs the state that a version without signatures left, and freezes it: for an upgrade, while no collector runs.
///
/// # Errors
/// Why it was not done; nothing is changed then.
pub async fn adopt(nats: async_nats::Client, owner: &str, seals: Seals) -> Result<Adopted, NotAdopted> {
    let acquire = Lease::acquire(nats.clone(), PARTITION, owner, false);
    let _lease = tokio::time::timeout(LEASE_PATIENCE, acquire).await.map_err(|_| NotAdopted::Held)??;
    let mut cell = StateCell::new(nats, STATE, &format!("{:x}", now_us()), Some(seals));
    let bytes = cell.load_unsealed().await?.ok_or(NotAdopted::Nothing)?;
    let mut saved: Saved = serde_json::from_slice(&bytes)?;
    saved.freeze("an unsigned state was adopted; look at what is under way before you end this", now_us());
    cell.save(&serde_json::to_vec(&saved)?, now_us()).await?;
    Ok(saved.sum())
}
