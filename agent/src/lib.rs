//! The Fettle agent: samples one host, keeps every frame in a spool until ClickHouse has it, and
//! publishes over NATS. `pipeline.rs` calls the rooms in order; `handoff.rs` names what passes
//! between them.

pub mod act;
pub mod check;
pub mod config;
mod dir_lock;
pub mod discover;
pub mod handoff;
pub mod host_file;
mod pid_file;
pub mod pipeline;
pub mod process_table;
pub mod publish;
mod replicas;
mod run_as;
pub mod sample;
pub mod sample_once;
pub mod signal_name;
pub mod spool;
pub mod supervise;
pub mod telemetry;
