//! From stored history to sentences: which resource of which host runs out and when, where the key
//! series are going, and how probable it is that a component fails soon.
//!
//! The pipeline reads roll-ups and calls these functions; `fettle-bench failure` and tests call the same
//! ones. [`resources`] asks [`crate::forecast`] about everything with a capacity, [`values`] about the
//! value of a few key series, [`sight`] makes the rows that [`crate::predict`] learns from, [`learn`]
//! cuts history into units and says when a model is trained, [`risk`] says what is to be expected with a
//! model and without one. Time comes in with the data.

pub mod learn;
pub mod resources;
pub mod risk;
pub mod sight;
pub mod track;
pub mod values;

pub use learn::{chosen, offer, stretches, Lengths, Lesson, Span, Stretch, FEWEST_FAILURES};
pub use resources::{outlooks, HostHistory, OutlookRow, Scale};
pub use risk::{baseline, concerns, is_process_of, reasons, Risk, Watch, ALARM, HORIZON_S};
pub use sight::{ComponentTracks, HostTracks, Sight, Sights, SENSORS};
pub use track::Track;
pub use values::{value_outlooks, ValueRow, ValueSeries};

/// Columns that a pass reads, by family, in the order in which the functions here expect them.
pub mod columns {
    /// Of `memory`.
    pub const MEMORY: &[&str] = &["total_bytes", "available_bytes", "swap_total_bytes", "swap_free_bytes"];
    /// Of `load`.
    pub const LOAD: &[&str] = &["open_files", "open_files_max", "load_1m"];
    /// Of `net_stack`.
    pub const NET_STACK: &[&str] = &["conntrack_entries", "conntrack_max"];
    /// Of `filesystem`.
    pub const FILESYSTEM: &[&str] =
        &["used_bytes", "available_bytes", "inodes", "inodes_free", "inodes_available", "read_only"];
    /// Of `process`.
    pub const PROCESS: &[&str] = &["rss_bytes", "rss_limit_bytes", "utime_ticks", "stime_ticks"];
    /// Of `process_detail`, for what may fail.
    pub const DETAIL: &[&str] = &["fds", "fd_size", "wait_ns"];
    /// Of `process_detail`, for what runs out.
    pub const DESCRIPTORS: &[&str] = &["fds", "fd_limit"];
    /// Of `pressure`, one entity a resource.
    pub const PRESSURE: &[&str] = &["some_avg10", "full_avg10"];
    /// Of `cpu`, entity `all`: ticks of every state, idle and waiting last.
    pub const CPU: &[&str] = &[
        "user_ticks",
        "nice_ticks",
        "system_ticks",
        "irq_ticks",
        "softirq_ticks",
        "steal_ticks",
        "idle_ticks",
        "iowait_ticks",
    ];
    /// Of `component`.
    pub const COMPONENT: &[&str] =
        &["up", "checks", "check_failures", "consecutive_failures", "latency_ms", "restarts", "stopped"];
    /// Of `disk`.
    pub const DISK: &[&str] = &["read_bytes", "write_bytes"];
    /// Of `network`.
    pub const NETWORK: &[&str] = &["rx_bytes", "tx_bytes"];
}
