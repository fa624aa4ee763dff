//! What the agent tells of itself: logs, and Prometheus's `/metrics` on a loopback address.

mod exposition;
mod listener;
mod logs;

pub use exposition::exposition;
pub use listener::{MetricsListener, TelemetryError};
pub use logs::start_logs;
