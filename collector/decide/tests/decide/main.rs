//! The deciding crate as its callers see it: scripts with golden output, properties over arbitrary
//! sequences, a fault of a whole fleet, and the audit's chain.

// A panic here is the report, also in what the tests share.
#![allow(clippy::unwrap_used)]

mod audit;
mod bench;
mod fleet;
mod golden;
mod groups;
mod lasting;
mod local;
mod properties;
mod rehearse;
mod script;
mod stopped;
