//! What is known of a host when it is scored: reductions over its last minutes.

use serde::{Deserialize, Serialize};

/// What a forecast says of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Outlook {
    /// No forecast was made.
    #[default]
    Unknown,
    /// It is not expected to run out within the horizon.
    NotExpected,
    /// Expected to run out in so many seconds.
    In(f64),
}

/// Facts of one host, each `None` when it isn't known. Shares are 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// Share of processor time not idle and not waiting for I/O.
    pub cpu_busy_share: Option<f64>,
    /// Share of processor time in the kernel.
    pub cpu_system_share: Option<f64>,
    /// Share of processor time idle with I/O outstanding.
    pub cpu_iowait_share: Option<f64>,
    /// Share of processor time that the hypervisor gave to others.
    pub cpu_steal_share: Option<f64>,
    /// Runnable tasks for each processor.
    pub run_queue_per_cpu: Option<f64>,
    /// Share of time in which some task waited for a processor (PSI).
    pub psi_cpu_some_share: Option<f64>,
    /// Share of memory available without swapping.
    pub memory_available_share: Option<f64>,
    /// Pages swapped in, a second.
    pub swap_in_pages_per_s: Option<f64>,
    /// Pages swapped out, a second.
    pub swap_out_pages_per_s: Option<f64>,
    /// Share of time in which some task waited for memory (PSI).
    pub psi_memory_some_share: Option<f64>,
    /// Share of time in which every task waited for memory (PSI).
    pub psi_memory_full_share: Option<f64>,
    /// Processes that the kernel killed for want of memory, an hour.
    pub oom_kills_per_h: Option<f64>,
    /// When memory is expected to run out.
    pub memory_outlook: Outlook,
    /// How full the fullest file system is.
    pub disk_fullest_share: Option<f64>,
    /// How many of its inodes the file system with the fewest left has used.
    pub inode_fullest_share: Option<f64>,
    /// Share of time in which the busiest disk had work.
    pub disk_util_share: Option<f64>,
    /// Mean time of a request to the slowest disk, in milliseconds.
    pub disk_latency_ms: Option<f64>,
    /// Share of time in which some task waited for I/O (PSI).
    pub psi_io_some_share: Option<f64>,
    /// Share of time in which every task waited for I/O (PSI).
    pub psi_io_full_share: Option<f64>,
    /// When the first file system is expected to be full, in bytes or inodes.
    pub disk_outlook: Outlook,
    /// Errors and drops of the network interfaces, for each thousand packets.
    pub net_errors_per_1000: Option<f64>,
    /// Share of TCP segments sent again.
    pub tcp_retransmit_share: Option<f64>,
    /// Anomalies of at least medium severity, an hour.
    pub anomalies_per_h: Option<f64>,
    /// Times that components were seen to run as another process than before, an hour, whoever restarted them;
    /// not known of a host without components.
    pub restarts_per_h: Option<f64>,
    /// Share of time for which the agent sent nothing.
    pub agent_gap_share: Option<f64>,
    /// The highest predicted probability that one of its components fails within the horizon.
    pub failure_risk: Option<f64>,
}
