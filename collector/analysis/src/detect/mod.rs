//! Anomaly detection: one series at a time, and one host's features together.

pub mod correlate;
pub mod host;
pub mod series;
mod threshold;
