//! The collector: takes frames from NATS, stores every sample in ClickHouse exactly once, and answers
//! for it. Read `handoff.rs` and `pipeline/mod.rs` first: they show what passes between the rooms and
//! in which order they are called.

pub mod api;
pub mod config;
pub mod footprint;
pub mod handoff;
pub mod health;
pub mod ingest;
pub mod orders;
pub mod own;
pub mod pipeline;
pub mod secret_file;
pub mod service;
pub mod store;
pub mod telemetry;
