//! The hot view: whoever answers over HTTP asks the owner of a host's partition for what it has in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fettle_analysis::live::RecentRow;
use fettle_shared::subjects::partition_of;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait for one partition.
const QUEUE: usize = 16;

/// Asks for the last anomalies of a host's series.
#[derive(Debug)]
pub struct AskRecent {
    /// Agent's name.
    pub host: String,
    /// One series, or a metric over all entities; none: all.
    pub series: Option<String>,
    /// Rows at most.
    pub limit: usize,
    /// Where the rows go, newest first; none when the host is not watched.
    pub answer: oneshot::Sender<Option<Vec<RecentRow>>>,
}

/// The way to the partitions that this collector owns.
#[derive(Debug, Clone)]
pub struct RecentDoors {
    partitions: u16,
    open: Arc<Mutex<BTreeMap<u16, mpsc::Sender<AskRecent>>>>,
}

impl RecentDoors {
    /// None open yet, of so many partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        Self { partitions, open: Arc::default() }
    }

    /// Opens the door of a partition, closing the one before: questions come here from now on.
    #[must_use]
    pub fn open(&self, partition: u16) -> mpsc::Receiver<AskRecent> {
        let (door, questions) = mpsc::channel(QUEUE);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, door);
        questions
    }

    /// Asks the host's owner. `Ok(None)`: it is not watched here.
    ///
    /// # Errors
    /// Too many questions wait.
    pub async fn ask(
        &self,
        host: String,
        series: Option<String>,
        limit: usize,
    ) -> Result<Option<Vec<RecentRow>>, &'static str> {
        let partition = partition_of(&host, self.partitions);
        let door = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned();
        let Some(door) = door else { return Ok(None) };
        let (answer, rows) = oneshot::channel();
        match door.try_send(AskRecent { host, series, limit, answer }) {
            Ok(()) => Ok(rows.await.unwrap_or(None)),
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(None),
            Err(mpsc::error::TrySendError::Full(_)) => Err("detection is busy; ask again in a second"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn questions_go_to_the_owner_and_nobody_is_waited_for_in_vain() {
        let doors = RecentDoors::new(1);
        let ask = || doors.ask("web-1".to_owned(), None, 10);
        assert_eq!(ask().await, Ok(None), "no partition is owned");
        let mut questions = doors.open(0);
        let answering = tokio::spawn(async move {
            let asked = questions.recv().await.unwrap();
            assert_eq!((asked.host.as_str(), asked.limit), ("web-1", 10));
            asked.answer.send(Some(Vec::new())).unwrap();
            // The next one is dropped unanswered, as by an owner that ends.
            drop(questions.recv().await);
        });
        assert_eq!(ask().await, Ok(Some(Vec::new())));
        assert_eq!(ask().await, Ok(None));
        answering.await.unwrap();
        assert_eq!(ask().await, Ok(None), "the owner is gone");
        let kept = doors.open(0);
        let waiting: Vec<_> = (0..QUEUE)
            .map(|_| {
                tokio::spawn({
                    let doors = doors.clone();
                    async move { doors.ask("web-1".to_owned(), None, 1).await }
                })
            })
            .collect();
        while kept.len() < QUEUE {
            tokio::task::yield_now().await;
        }
        assert!(ask().await.is_err(), "the queue is bounded");
        drop(kept);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(None));
        }
    }
}
