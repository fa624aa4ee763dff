//! The spool: what the agent remembers until ClickHouse has it.
//!
//! Every sealed frame gets the next sequence number and goes to a bounded log on disk before it is
//! published. Only the collector's word that a frame is stored takes it out again; NATS's
//! acknowledgement does not. Over its quota the spool gives up the oldest frames, and a frame of
//! its own, with the next number, tells the ledger which ones and how many samples were in them.
//!
//! A number is never used twice. A restart continues behind the last frame on disk, in the same
//! boot. Where that could repeat a number (the host itself restarted and may have lost what was not
//! synced, the directory is new, the agent was renamed, the end of the log is garbage), a new boot
//! begins. When the disk refuses a write, frames are held in memory, in a new boot that a restart
//! would not continue, so that they may be published from there.
//!
//! One thread owns it ([`SpoolThread`]); nothing else writes its files. It knows neither NATS nor
//! the sampler.

mod confirm;
mod errors;
mod inspect;
mod journal;
mod log;
mod losses;
mod medium;
mod open;
mod pending;
mod ranges;
mod reading;
mod settings;
mod state;
mod walk;
mod worker;

#[cfg(test)]
mod tests;

pub use errors::SpoolError;
pub use inspect::{list, status, ListedFrame, SpoolStatus};
pub use journal::{Counters, Spool};
pub use open::Recovery;
pub use settings::{Durability, SpoolSettings};
pub use worker::SpoolThread;
