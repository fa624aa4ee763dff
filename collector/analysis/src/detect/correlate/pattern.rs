//! Known pairs of resources that go wrong together, by the names of the metrics.

use std::fmt;

use serde::Serialize;

/// The resource a metric tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Processors, load, the run queue.
    Cpu,
    /// Memory, swap, paging.
    Memory,
    /// Bytes and operations of disks.
    Io,
    /// How long something takes or how busy a disk is.
    Latency,
    /// Network interfaces and sockets.
    Network,
    /// Anything else.
    Other,
}

/// The resource that a metric's name tells about: the family before the first dot, unless the metric is
/// a time that something took.
pub fn kind(name: &str) -> Kind {
    let (family, metric) = name.split_once('.').unwrap_or((name, name));
    let has = |words: &[&str]| words.iter().any(|word| metric.contains(word));
    if family == "latency" || has(&["latency", "await", "response", "io_time", "util", "queue_time"]) {
        return Kind::Latency;
    }
    match family {
        "pressure" if has(&["memory"]) => Kind::Memory,
        "pressure" if has(&["io"]) => Kind::Latency,
        "cpu" if has(&["iowait"]) => Kind::Io,
        "cpu" | "load" | "scheduler" | "pressure" => Kind::Cpu,
        "memory" | "vm" | "swap" => Kind::Memory,
        "disk" | "filesystem" => Kind::Io,
        "network" | "net" | "net_stack" => Kind::Network,
        _ => Kind::Other,
    }
}

/// A pair of resources that is known to go wrong together, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Work that allocates, or reclaim that burns processor time.
    CpuMemory,
    /// Paging, or a page cache that lost its files.
    MemoryIo,
    /// A disk that is asked for more than it gives.
    IoLatency,
    /// Packets that cost processor time.
    NetworkCpu,
}

impl Pattern {
    /// The pattern of two resources, in either order.
    pub fn of(one: Kind, other: Kind) -> Option<Self> {
        match (one.min(other), one.max(other)) {
            (Kind::Cpu, Kind::Memory) => Some(Self::CpuMemory),
            (Kind::Memory, Kind::Io) => Some(Self::MemoryIo),
            (Kind::Io, Kind::Latency) => Some(Self::IoLatency),
            (Kind::Cpu, Kind::Network) => Some(Self::NetworkCpu),
            _ => None,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CpuMemory => "CPU and memory: work that allocates, or memory being reclaimed",
            Self::MemoryIo => "memory and disk: paging, or a page cache pushed out",
            Self::IoLatency => "disk and latency: more asked of a disk than it gives",
            Self::NetworkCpu => "network and CPU: packets that cost processor time",
        })
    }
}
