//! Answers to people's words that wait until what they changed is saved: a "frozen" that a crash could forget is none.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::handoff::AskError;

/// How long somebody waits for a word to be saved before hearing that it is not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an answer goes.
type To = oneshot::Sender<Result<Value, AskError>>;

/// Answers that wait.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Vec<(To, Value, Instant)>);

impl Unanswered {
    /// Keeps an answer until its word is saved.
    pub(super) fn hold(&mut self, to: To, answer: Value, now: Instant) {
        self.0.retain(|(to, _, _)| !to.is_closed());
        self.0.push((to, answer, now));
    }

    /// All words are saved.
    pub(super) fn saved(&mut self) {
        for (to, answer, _) in self.0.drain(..) {
            let _ = to.send(Ok(answer));
        }
    }

    /// Saving failed: whoever has waited long hears of it.
    pub(super) fn overdue(&mut self, now: Instant) {
        for (to, _, _) in self.0.extract_if(.., |(_, _, since)| now.duration_since(*since) >= PATIENCE) {
            let why = "NATS does not answer: your word counts now, but a restart of the collector would forget it; say \
                       it again later";
            let _ = to.send(Err(AskError::Elsewhere(why.into())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_answered_once_it_is_saved_or_said_not_to_be() {
        let (mut waiting, now) = (Unanswered::default(), Instant::now());
        let (to, mut first) = oneshot::channel();
        waiting.hold(to, Value::from("frozen"), now);
        waiting.overdue(now + PATIENCE / 2);
        assert!(first.try_recv().is_err(), "nothing is saved yet");
        waiting.saved();
        assert_eq!(first.try_recv().unwrap().unwrap(), Value::from("frozen"));
        let (to, mut second) = oneshot::channel();
        waiting.hold(to, Value::from("frozen"), now);
        waiting.overdue(now + PATIENCE);
        assert!(matches!(second.try_recv().unwrap(), Err(AskError::Elsewhere(_))));
        assert!(waiting.0.is_empty());
    }
}
