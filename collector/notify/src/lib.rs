//! Sends notifications: Slack, e-mail, webhooks, PagerDuty, Alertmanager and the log.
//!
//! [`Channels`] are read from `alerts.yaml`, secrets from files of their own. [`Sender::send`] hands one
//! notification to its channel: within the channel's rate and if its circuit breaker is closed, with a few
//! retries; else to the channel it falls over to. What it cannot do now it says so that the caller, who keeps
//! the notification, asks again later.
//!
//! Here is no memory of what was sent: a notification's id names it, and receivers that know ids (webhooks
//! by `Idempotency-Key`, PagerDuty by `dedup_key`, Alertmanager by labels, mail by `Message-ID`) drop doubles.

mod breaker;
mod bucket;
mod channels;
mod email;
mod payload;
mod post;
mod sender;
mod words;

pub use breaker::BreakerState;
pub use channels::{Channel, Channels, ChannelsError, Kind, Secret};
pub use sender::{outcome, ChannelState, Delivered, SendError, Sender};
