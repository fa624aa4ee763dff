//! Real servers and real processes for the end-to-end tests: nats-server, the engine, the collector,
//! an agent, each a child on free ports with its files in one temporary directory, which can be
//! killed, restarted, starved and wiped. Nothing here stands in for a part; the one part that is the
//! tests' own is the producer, an agent whose values prove where they come from (`proof`).

pub mod binaries;
pub mod dockerd;
pub mod faults;
pub mod load;
pub mod machine;
pub mod mended;
pub mod plan;
pub mod process;
pub mod producer;
pub mod proof;
pub mod rights;
pub mod sink;
pub mod sql;
pub mod stack;
pub mod stranger;
pub mod systems;
pub mod wait;
