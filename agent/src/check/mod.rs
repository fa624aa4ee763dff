//! Health checks: whether each component that the host's file declares is up. `schedule.rs` says when a
//! check is made, `probe.rs` how, `verdict.rs` (pure) what follows from it. Nothing here mends anything.

mod docker;
mod exec;
mod network;
mod outstanding;
mod probe;
mod processes;
mod schedule;
mod systemd;
mod verdict;

pub use schedule::{once, start};
pub use verdict::{Failure, Outcome, Processes};

#[cfg(test)]
mod tests;
