//! The agent against a real nats-server, real processes and real disks.

#![allow(clippy::unwrap_used)] // A panic is how a test reports.

mod acting;
mod collector;
mod crash;
mod frames;
mod full_disk;
mod login;
mod nats;
mod page;
mod process;
mod publishing;
