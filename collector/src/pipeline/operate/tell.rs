//! The channels that notifications go to.

use fettle_alert::handoff::Notification;
use fettle_alert::manage::Outcome;

/// All channels.
#[derive(Debug, Default)]
pub(super) struct Channels;

impl Channels {
    pub(super) fn read(_text: &str) -> Result<Self, String> {
        Ok(Self)
    }

    pub(super) async fn send(&self, notification: &Notification) -> Outcome {
        tracing::warn!(id = notification.id, "told");
        Outcome::Sent { by: notification.channel.clone() }
    }

    pub(super) fn test_message(&self, _name: &str, _author: &str, _now_us: i64) -> Option<Notification> {
        None
    }

    pub(super) fn figures(&self) -> Vec<String> {
        Vec::new()
    }
}
