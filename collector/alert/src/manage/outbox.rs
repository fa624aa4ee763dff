//! What is to be sent, and how far it is: decided → sending → sent, failed or given up.
//!
//! Whoever sends marks an entry as being sent, saves the state, sends, reports the outcome, and saves again.
//! Killed before the first save, the tick decides the same again and nothing was sent; killed after it, the
//! entry is due again with the same id, which a channel that knows the id drops. So each notification
//! reaches a channel exactly once, and a channel without memory (Slack, mail) twice at worst, when
//! the collector died between the sending and the saving.

use crate::handoff::{Notification, NotificationKind};

use super::config::{MINUTE, SECOND};
use super::reason::Reason;
use super::state::{Delivery, Outgoing};
use super::tell::kind_name;
use super::Manager;

/// First wait after a sender failed; it doubles up to the longest, µs. The sender has its own short retries.
const AGAIN_US: i64 = 15 * SECOND;
/// See [`AGAIN_US`].
const AGAIN_MAX_US: i64 = 10 * MINUTE;
/// Times a notification is handed out at most.
const ATTEMPTS_MAX: u32 = 100;
/// Age after which it is no news any more, µs.
const AGE_MAX_US: i64 = 24 * 60 * MINUTE;

/// What became of a sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The channel has it; by which one, if it fell over to another.
    Sent {
        /// The channel that took it in the end.
        by: String,
    },
    /// Not now; it is due again later.
    Failed {
        /// Why.
        problem: String,
    },
    /// Never: the channel refuses it for good.
    GaveUp {
        /// Why.
        problem: String,
    },
}

impl Manager {
    /// What is to be sent now, oldest first; of a group and channel only the oldest, so that "resolved" never
    /// overtakes "firing".
    pub fn due(&self, now_us: i64) -> Vec<Notification> {
        let mut ahead = std::collections::BTreeSet::new();
        let mut due = Vec::new();
        for out in self.state.outbox.values() {
            let notification = &out.notification;
            if !ahead.insert((notification.group.as_str(), notification.channel.as_str())) {
                continue;
            }
            let ready = match out.delivery {
                Delivery::Decided => true,
                Delivery::Sending => false,
                Delivery::Failed(again_us) => now_us >= again_us,
            };
            if ready {
                due.push(notification.clone());
            }
        }
        due
    }

    /// Marks these as being sent. Save the state after this and before sending.
    pub fn sending<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        for id in ids {
            if let Some(out) = self.state.outbox.values_mut().find(|out| out.notification.id == id) {
                out.delivery = Delivery::Sending;
                out.attempts += 1;
                self.version += 1;
            }
        }
    }

    /// Takes what became of a sending. An id that is not known is ignored. Save the state afterwards.
    pub fn sent(&mut self, id: &str, outcome: &Outcome, now_us: i64) {
        let found = self.state.outbox.iter().find(|(_, out)| out.notification.id == id);
        let Some(at) = found.map(|(at, _)| *at) else { return };
        let Some(mut out) = self.state.outbox.remove(&at) else { return };
        let aged = now_us - out.notification.at_us > AGE_MAX_US || out.attempts >= ATTEMPTS_MAX;
        match outcome {
            Outcome::Sent { by } => {
                let text = if *by == out.notification.channel {
                    by.clone()
                } else {
                    format!("{by}, instead of {}", out.notification.channel)
                };
                self.note_delivery(&out, now_us, Reason::Sent, &text);
            }
            Outcome::Failed { problem } if !aged => {
                let wait = AGAIN_US << out.attempts.saturating_sub(1).min(10);
                out.delivery = Delivery::Failed(now_us + wait.min(AGAIN_MAX_US));
                let text = format!("{}: {problem}", out.notification.channel);
                self.note_delivery(&out, now_us, Reason::SendFailed, &text);
                self.state.outbox.insert(at, out);
            }
            Outcome::Failed { problem } | Outcome::GaveUp { problem } => {
                let text = format!("{}: {problem}", out.notification.channel);
                self.note_delivery(&out, now_us, Reason::GaveUp, &text);
            }
        }
        self.version += 1;
    }

    /// After a restart: what was being sent is due again.
    pub(super) fn hand_again(&mut self) {
        for out in self.state.outbox.values_mut() {
            if out.delivery == Delivery::Sending {
                out.delivery = Delivery::Decided;
            }
        }
    }

    pub(super) fn note_delivery(&mut self, out: &Outgoing, now_us: i64, reason: Reason, text: &str) {
        let group = &out.notification.group;
        let kind = kind_name(out.notification.kind);
        for id in &out.names {
            self.note(*id, now_us, reason, group, format!("{kind} {}: {text}", out.notification.id));
        }
        self.version += 1;
    }
}

/// The id of a notification: FNV-1a over group, kind, channel and count, 16 hexadecimal digits.
pub(super) fn notification_id(group: &str, kind: NotificationKind, channel: &str, count: i64) -> String {
    let labels = crate::handoff::Labels::from([
        ("channel".to_owned(), channel.to_owned()),
        ("count".to_owned(), count.to_string()),
        ("kind".to_owned(), kind_name(kind).to_owned()),
    ]);
    super::hex(crate::handoff::fingerprint(group, &labels))
}
