//! Publishing: takes frames out of the spool, gives them to JetStream, and takes in the
//! collector's word that they are stored.
//!
//! NATS is transport and may forget anything, so nothing here decides that a frame is safe: an
//! acknowledgement only moves the window on, and what is not confirmed in time is sent again.
//! [`Flow`](flow::Flow) decides what to send when, as plain data with time as an input;
//! [`Publisher`] does what it says. Knows nothing of files.

mod acks;
mod boots;
mod errors;
mod flow;
#[cfg(test)]
mod flow_tests;
mod link;
mod publisher;
mod rounds;
mod settings;
mod stream;

pub use errors::PublishError;
pub use publisher::{AckTimes, Publisher};
pub use settings::NatsSettings;
