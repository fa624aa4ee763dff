//! Acting: takes signed orders, decides by the host's file, writes down what it is about to do, does it, and says
//! what became of it until the collector has stored that. Where no collector is heard it follows the host's own
//! rules, within a quota.
//!
//! [`admission`] decides and [`local`] says what the host's rules want, both as plain functions; [`ledger`] remembers;
//! [`run`] does; [`actor`] calls them in this order and is the only one that knows the network.

mod actor;
mod admission;
mod errors;
mod inventory;
mod ledger;
mod local;
mod receipts;
mod run;

pub use actor::{Actor, Setup};
pub use errors::ActError;
pub use ledger::{list, Entry};

/// Below the state directory: the ledger and the copies of files.
pub const DIRECTORY: &str = "act";
