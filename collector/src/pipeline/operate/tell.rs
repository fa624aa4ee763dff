//! The channels that notifications go to, as operations use them.

use fettle_alert::handoff::{Notification, NotificationKind, Severity};
use fettle_alert::manage::Outcome;
use fettle_notify::{outcome, ChannelState, Sender};

/// All channels.
#[derive(Debug)]
pub(super) struct Channels(Sender);

impl Channels {
    /// Reads them; without a text there is the log.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let channels = fettle_notify::Channels::from_yaml(text).map_err(|error| error.to_string())?;
        Sender::new(channels).map(Self)
    }

    /// Sends one notification.
    pub(super) async fn send(&self, notification: &Notification) -> Outcome {
        outcome(&self.0.send(notification).await)
    }

    /// A message that tries a channel, if there is such a channel.
    pub(super) fn test_message(&self, name: &str, author: &str, now_us: i64) -> Option<Notification> {
        self.states().iter().find(|state| state.name == name)?;
        Some(Notification {
            id: format!("test-{now_us}"),
            group: "test".into(),
            labels: [("author".to_owned(), author.to_owned())].into(),
            kind: NotificationKind::Firing,
            channel: name.to_owned(),
            severity: Severity::Low,
            alerts: Vec::new(),
            alerts_total: 0,
            held_back: 0,
            held_back_list: Vec::new(),
            incident: None,
            cause: None,
            at_us: now_us,
            reason: format!("{author} tries the channel"),
        })
    }

    /// How each channel is.
    pub(super) fn states(&self) -> Vec<ChannelState> {
        self.0.states()
    }
}
