//! Starts rules and operations beside the partitions' lines.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::rules::{Heard, Rules};
use super::{run, Operations, OperationsFiles};
use crate::handoff::{Judged, Question};
use crate::orders::SigningKey;
use crate::pipeline::Context;

/// Signals that may wait for the rules.
const HEARD: usize = 4096;

/// What operations are started with.
#[derive(Debug)]
pub struct Start {
    /// The operator's files.
    pub files: OperationsFiles,
    /// The key that orders are signed with.
    pub key: Option<SigningKey>,
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
    let Start { files, key, questions, judged } = start;
    tasks.spawn(Rules::new(context.clone(), &files).run(judged, sources, stop.clone()));
    let operations = Operations { context: context.clone(), key, files, questions };
    tasks.spawn(run(operations, stop.clone()));
    (tasks, heard)
}
