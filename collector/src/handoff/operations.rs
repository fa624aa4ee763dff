//! What people ask of operations, by HTTP or the command line, and how they are answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait.
const WAITING: usize = 64;

/// Who asks for a change, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// Name of the person.
    pub author: String,
    /// Why, for the audit.
    #[serde(default)]
    pub reason: String,
}

/// A silence as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceOrder {
    /// Patterns by label, such as `host: web-1`, `rule: disk*`, `severity: !critical`; all must fit.
    pub matchers: BTreeMap<String, String>,
    /// Who.
    pub author: String,
    /// Why.
    pub reason: String,
    /// For how long from now, seconds.
    pub seconds: u64,
}

/// What may be done to a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanVerb {
    /// Let it run.
    Approve,
    /// Never run it.
    Deny,
    /// Stop it.
    Cancel,
    /// Undo what it did.
    RollBack,
    /// Think again about what it was for.
    Retry,
}

/// A question or a wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// All alerts.
    Alerts,
    /// One alert with every decision about it.
    Alert(String),
    /// Somebody takes care of it.
    Acknowledge(String, Word),
    /// Somebody gives it back.
    Unacknowledge(String, Word),
    /// Somebody calls it over.
    Resolve(String, Word),
    /// All silences.
    Silences,
    /// A new silence.
    Silence(SilenceOrder),
    /// The end of a silence.
    Unsilence(String, Word),
    /// Incidents.
    Incidents,
    /// Plans, newest first.
    Plans,
    /// One plan with its steps.
    Plan(String),
    /// Approve, deny, cancel, roll back or retry a plan.
    Change(String, PlanVerb, Word),
    /// What would be done now, and why other things would not.
    Explain,
    /// Components of all hosts.
    Components,
    /// Freezes, budgets, breakers, channels, the audit's head, the public key.
    Status,
    /// Do nothing until it is lifted.
    Freeze(Word),
    /// Go on.
    Unfreeze(Word),
    /// Send a test notification to a channel.
    TestChannel(String, Word),
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Not this collector.
    #[error("this collector does not hold operations now ({0}); ask the one that does, or try again soon")]
    Elsewhere(String),
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done so.
    #[error("{0}")]
    Refused(String),
}

/// A question on its way.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Value, AskError>>,
}

/// The way to operations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OperationsHandle(mpsc::Sender<Question>);

impl OperationsHandle {
    /// A handle and the end that answers.
    pub fn new() -> (Self, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// Operations are elsewhere, or say no.
    pub async fn ask(&self, ask: Ask) -> Result<Value, AskError> {
        let gone = || AskError::Elsewhere("operations are not running".into());
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Question { ask, answer }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}
