//! What the agent and the collector agree on: the catalogue of metrics, the frame that carries
//! samples, and the NATS subjects it travels on. Plain data and pure functions: no I/O, no async.

pub mod access;
pub mod address;
pub mod catalogue;
pub mod command;
pub mod error_kind;
pub mod frame;
pub mod inventory;
pub mod seal;
pub mod signing;
pub mod subjects;
