//! Handing receipts in: one at a time, oldest first, again and again until the collector has stored it and says so
//! by the receipt's id.

use std::time::Duration;

use async_nats::Client;
use fettle_shared::command::Receipt;
use fettle_shared::subjects::receipts_subject;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long the collector may take to store one.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The one under way, and when the next may go.
#[derive(Debug)]
pub(super) struct HandIn {
    client: Client,
    subject: String,
    under_way: Option<JoinHandle<(String, bool)>>,
    failures: u32,
    not_before: Instant,
}

impl HandIn {
    pub(super) fn new(client: Client, agent: &str) -> Self {
        Self {
            client,
            subject: receipts_subject(agent),
            under_way: None,
            failures: 0,
            not_before: Instant::now(),
        }
    }

    /// Whether one could go now.
    pub(super) fn is_free(&self) -> bool {
        self.under_way.is_none() && Instant::now() >= self.not_before
    }

    /// When to look again, if a receipt waits.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// Sends one.
    pub(super) fn send(&mut self, receipt: &Receipt) {
        let (client, subject, id) = (self.client.clone(), self.subject.clone(), receipt.id.clone());
        // Text, numbers and maps with text keys: writing them cannot fail.
        let payload = serde_json::to_vec(receipt).unwrap_or_default();
        self.under_way = Some(tokio::spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, client.request(subject, payload.into())).await;
            let stored = matches!(answer, Ok(Ok(message)) if message.payload == id.as_bytes());
            (id, stored)
        }));
    }

    /// Waits for the answer; gives the id of a receipt that is stored. Never ready when none is under way.
    pub(super) async fn answered(&mut self) -> Option<String> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let answer = under_way.await;
        self.under_way = None;
        match answer {
            Ok((id, true)) => {
                self.failures = 0;
                Some(id)
            }
            _ => {
                let pause = (FIRST_PAUSE * (1 << self.failures.min(8))).min(LONGEST_PAUSE);
                self.failures = self.failures.saturating_add(1);
                self.not_before = Instant::now() + pause;
                None
            }
        }
    }
}
