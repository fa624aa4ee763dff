//! The agent's figures about itself, shared between its threads as atomics: the scan thread writes
//! its own and reads the publisher's into the `self` family; `/metrics` reads all of them.

use std::sync::atomic::{AtomicU64, Ordering};

use super::GapCause;

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counters and gauges of one agent. Relaxed atomics: each number stands for itself.
        #[derive(Debug, Default)]
        pub struct Figures { $($(#[$doc])* pub $name: Figure,)+ }

        impl Figures {
            /// Every figure with its name, for `/metrics` and for the `self` family.
            pub fn each(&self, mut visit: impl FnMut(&'static str, u64)) {
                $(visit(stringify!($name), self.$name.get());)+
            }

            /// The figure with this name.
            pub fn by_name(&self, name: &str) -> Option<&Figure> {
                match name { $(stringify!($name) => Some(&self.$name),)+ _ => None }
            }
        }
    };
}

figures! {
    /// Mode as a number: 0 full, 1 reduced, 2 minimal, 3 emergency. Written by the scan thread.
    mode,
    /// CPU budget in hundredths of a percent of one core. Scan thread.
    cpu_budget,
    /// CPU use of the last second in hundredths of a percent of one core. Scan thread.
    cpu_percent,
    /// CPU time of the whole process in µs. Scan thread.
    cpu_us,
    /// CPU time of the scan thread alone in µs. Scan thread.
    scan_cpu_us,
    /// Resident memory in bytes. Scan thread.
    rss_bytes,
    /// Descriptors open in the process. Scan thread.
    open_fds,
    /// Threads of the process. Scan thread.
    threads,
    /// Seconds since the agent started. Scan thread.
    uptime_seconds,
    /// Scans made. Scan thread.
    scans,
    /// Samples taken. Scan thread.
    samples_taken,
    /// Interval of the fast families in µs. Scan thread.
    scan_interval_us,
    /// Median lateness of a scan over the last ten seconds in µs. Scan thread.
    scan_jitter_us_p50,
    /// 99th percentile of the same. Scan thread.
    scan_jitter_us_p99,
    /// Greatest lateness over the last ten seconds in µs. Scan thread.
    scan_jitter_us_max,
    /// CPU time of the last fast scan in µs. Scan thread.
    scan_duration_us,
    /// Entities (processes, devices, …) now followed. Scan thread.
    entities,
    /// Gaps: entity vanished between scans. Scan thread.
    gaps_vanished,
    /// Gaps: the kernel refused. Scan thread.
    gaps_denied,
    /// Gaps: no such file on this host. Scan thread.
    gaps_absent,
    /// Gaps: a read failed. Scan thread.
    gaps_failed,
    /// Gaps: content not in its format. Scan thread.
    gaps_malformed,
    /// Gaps: no descriptor left. Scan thread.
    gaps_too_many_files,
    /// Gaps: scans skipped because they came too late. Scan thread.
    gaps_late,
    /// Gaps: more entities than are kept. Scan thread.
    gaps_overflow,
    /// Wall-clock jumps seen. Scan thread.
    clock_jumps,
    /// Frames sealed. Scan thread.
    frames,
    /// Bytes of sealed frames. Scan thread.
    frame_bytes,
    /// Frames in the spool that are not confirmed yet. Written by the spool.
    spool_frames,
    /// Bytes in the spool. Written by the spool.
    spool_bytes,
    /// Quota of the spool in bytes. Written by the spool.
    spool_quota_bytes,
    /// Frames dropped because the quota was reached. Written by the spool.
    dropped_frames,
    /// Samples in those frames. Written by the spool.
    dropped_samples,
    /// Frames that the bounded queue between scan thread and spool refused. Written by the pipeline.
    queue_drops,
    /// Failed writes to the spool. Written by the spool.
    spool_errors,
    /// Publishes acknowledged. Written by the publisher.
    publish_acks,
    /// Publishes that failed or timed out. Written by the publisher.
    publish_failures,
    /// Frames sent again because nobody confirmed them in time. Written by the publisher.
    publish_resends,
    /// Bytes published. Written by the publisher.
    publish_bytes,
    /// Median time to a publish acknowledgement in µs. Written by the publisher.
    publish_ack_us_p50,
    /// 99th percentile of the same. Written by the publisher.
    publish_ack_us_p99,
    /// Whether NATS is connected, 0 or 1. Written by the publisher.
    connected,
    /// Connections to NATS made, the first included. Written by the publisher.
    connects,
    /// Highest sequence number sealed in this boot. Scan thread.
    last_seq,
    /// Highest sequence number confirmed as stored in this boot. Written by the publisher.
    stored_seq,
}

impl Figures {
    /// The counter of one cause of gaps.
    pub fn gap(&self, cause: GapCause) -> &Figure {
        match cause {
            GapCause::Vanished => &self.gaps_vanished,
            GapCause::Denied => &self.gaps_denied,
            GapCause::Absent => &self.gaps_absent,
            GapCause::Failed => &self.gaps_failed,
            GapCause::Malformed => &self.gaps_malformed,
            GapCause::TooManyFiles => &self.gaps_too_many_files,
            GapCause::Late => &self.gaps_late,
            GapCause::Overflow => &self.gaps_overflow,
        }
    }
}

/// One number that any thread may read.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds to the value.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
