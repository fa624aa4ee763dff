//! The collector: takes frames from NATS, stores every sample in ClickHouse exactly once, and answers for it.

pub mod store;
