//! What costs points: a table.
//!
//! A rule looks at one fact, costs nothing up to `fine`, all its points from `bad` on, and in proportion
//! between. The edges are where operators' handbooks begin to worry and where a host stops serving:
//! a queue of one task a processor and of four, 20 % and 3 % of memory available, 80 % and 98 % of a
//! file system; for pressure, a tenth and half of the time lost (the kernel's `Documentation/accounting/psi.rst`
//! gives the meaning of the shares). They are meant to be read and changed.

use super::{HostFacts, Outlook, Part};
use crate::words::duration_words;

/// How a value reads.
#[derive(Clone, Copy)]
enum Reads {
    Percent,
    Number,
    Milliseconds,
    Duration,
}

/// One way to lose points.
pub(super) struct Rule {
    pub part: Part,
    /// Name of the fact.
    pub fact: &'static str,
    of: fn(&HostFacts) -> Option<f64>,
    fine: f64,
    bad: f64,
    /// Points of the part that the fact costs at worst.
    pub points: f64,
    reads: Reads,
    /// What is seen, `{}` standing for the value.
    seen: &'static str,
    /// What to do.
    pub advice: &'static str,
}

impl Rule {
    /// The fact's value, if it is known and a number. Infinite is a number: never.
    pub(super) fn value(&self, facts: &HostFacts) -> Option<f64> {
        (self.of)(facts).filter(|value| !value.is_nan())
    }

    /// Points of the part that a value costs; `None` when nothing worth saying.
    pub(super) fn lost(&self, value: f64) -> Option<f64> {
        let share = ((value - self.fine) / (self.bad - self.fine)).clamp(0.0, 1.0);
        let points = share * self.points;
        (points >= 0.05).then_some(points)
    }

    pub(super) fn reason(&self, value: f64) -> String {
        let value = match self.reads {
            Reads::Percent => format!("{:.0} %", value * 100.0),
            Reads::Number if value.abs() < 10.0 => format!("{value:.1}"),
            Reads::Number => format!("{value:.0}"),
            Reads::Milliseconds => format!("{value:.0} ms"),
            Reads::Duration => duration_words(value),
        };
        self.seen.replace("{}", &value)
    }
}

fn seconds(outlook: Outlook) -> Option<f64> {
    match outlook {
        Outlook::Unknown => None,
        Outlook::NotExpected => Some(f64::INFINITY),
        Outlook::In(seconds) => Some(seconds),
    }
}

macro_rules! rule {
    ($part:ident $fact:ident, $fine:expr => $bad:expr, $points:expr, $reads:ident, $seen:expr, $advice:expr) => {
        Rule {
            part: Part::$part,
            fact: stringify!($fact),
            of: |facts| facts.$fact.filter(|value: &f64| value.is_finite()),
            fine: $fine,
            bad: $bad,
            points: $points,
            reads: Reads::$reads,
            seen: $seen,
            advice: $advice,
        }
    };
    (outlook $part:ident $fact:ident, $fine:expr => $bad:expr, $points:expr, $seen:expr, $advice:expr) => {
        Rule {
            part: Part::$part,
            fact: stringify!($fact),
            of: |facts| seconds(facts.$fact),
            fine: $fine,
            bad: $bad,
            points: $points,
            reads: Reads::Duration,
            seen: $seen,
            advice: $advice,
        }
    };
}

const HOUR_S: f64 = 3600.0;
const DAY_S: f64 = 24.0 * HOUR_S;

/// All rules, by part.
#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    rule!(Cpu run_queue_per_cpu, 1.0 => 4.0, 50.0, Number, "{} tasks are runnable for each processor",
        "Find who runs most (process.cpu) and move, limit or schedule it; or add processors."),
    rule!(Cpu cpu_busy_share, 0.80 => 1.0, 40.0, Percent, "the processors are {} busy",
        "Find who runs most (process.cpu); plan for more processors if it is the usual load."),
    rule!(Cpu psi_cpu_some_share, 0.10 => 0.60, 40.0, Percent, "tasks wait for a processor {} of the time",
        "Lower the load or raise the CPU quota of the groups that wait (cgroup pressure)."),
    rule!(Cpu cpu_steal_share, 0.02 => 0.20, 40.0, Percent, "the hypervisor takes {} of the processors",
        "Move the virtual machine to a host with room, or buy reserved processors."),

    rule!(Memory memory_available_share, 0.20 => 0.03, 60.0, Percent, "only {} of memory is available",
        "Find who grew (process.rss_bytes), lower its caches or limits, restart what leaks, or add memory."),
    rule!(Memory psi_memory_some_share, 0.02 => 0.30, 40.0, Percent, "tasks wait for memory {} of the time",
        "The working set does not fit: move a service away or add memory."),
    rule!(Memory swap_in_pages_per_s, 10.0 => 1000.0, 40.0, Number, "{} pages a second are swapped back in",
        "The host needs what it swapped out: free memory, or lower vm.swappiness."),
    rule!(Memory swap_out_pages_per_s, 50.0 => 5000.0, 20.0, Number, "{} pages a second are swapped out",
        "Memory runs short: find who grew before the kernel starts to kill."),
    rule!(Memory oom_kills_per_h, 0.0 => 1.0, 70.0, Number, "the kernel killed {} processes an hour for want of memory",
        "Set memory limits so that the right one is stopped, and give the killed service more room."),
    rule!(outlook Memory memory_outlook, DAY_S => HOUR_S, 40.0, "memory is expected to run out in {}",
        "Restart what leaks at a quiet time before then, and look for its leak."),

    rule!(Disk disk_fullest_share, 0.80 => 0.98, 70.0, Percent, "the fullest file system is {} full",
        "Delete or rotate what is old, move data away, or grow the file system."),
    rule!(Disk inode_fullest_share, 0.80 => 0.98, 60.0, Percent, "{} of a file system's inodes are used",
        "Look for a directory of very many small files (sessions, mail, caches) and clear it."),
    rule!(Disk disk_util_share, 0.80 => 1.0, 30.0, Percent, "the busiest disk has work {} of the time",
        "Find who reads or writes most (process I/O); spread it, cache it, or use a faster disk."),
    rule!(Disk disk_latency_ms, 20.0 => 200.0, 40.0, Milliseconds, "a request to the slowest disk takes {}",
        "Check the disk's health and queue; move the heaviest writer or use a faster disk."),
    rule!(Disk psi_io_some_share, 0.10 => 0.60, 30.0, Percent, "tasks wait for a disk {} of the time",
        "Find who reads or writes most and give what waits its own disk or an I/O weight."),
    rule!(outlook Disk disk_outlook, 3.0 * DAY_S => 2.0 * HOUR_S, 60.0, "a file system is expected to be full in {}",
        "Clean up or grow it before then; see which directory grows."),

    rule!(Efficiency psi_io_full_share, 0.02 => 0.40, 50.0, Percent, "nothing but waiting for disks happens {} of the time",
        "Take the heaviest reader or writer off this disk."),
    rule!(Efficiency psi_memory_full_share, 0.01 => 0.20, 50.0, Percent, "nothing but waiting for memory happens {} of the time",
        "The host thrashes: stop or move a service now."),
    rule!(Efficiency cpu_iowait_share, 0.10 => 0.50, 40.0, Percent, "the processors idle {} of the time because a disk is slow",
        "Use faster disks or fewer, larger requests; more processors won't help."),
    rule!(Efficiency cpu_system_share, 0.25 => 0.60, 30.0, Percent, "the kernel itself uses {} of the processors",
        "Look for very many system calls, context switches or interrupts, and for memory compaction."),
    rule!(Efficiency tcp_retransmit_share, 0.01 => 0.10, 40.0, Percent, "{} of the TCP segments are sent again",
        "Look for a lossy link, a full queue or a wrong duplex on the way."),
    rule!(Efficiency net_errors_per_1000, 0.1 => 10.0, 40.0, Number, "{} of each thousand packets are lost or damaged at an interface",
        "Check the cable, the driver and the ring size of the interface that counts errors."),

    rule!(Stability anomalies_per_h, 0.5 => 10.0, 40.0, Number, "{} anomalies an hour",
        "See what moved together in the latest incident."),
    rule!(Stability restarts_per_h, 0.0 => 6.0, 60.0, Number, "services fail or restart {} times an hour",
        "Read the last lines of what fails; a restart loop hides its cause."),
    rule!(Stability oom_kills_per_h, 0.0 => 1.0, 40.0, Number, "the kernel killed {} processes an hour",
        "Give the killed service more room or a limit of its own."),
    rule!(Stability agent_gap_share, 0.01 => 0.25, 40.0, Percent, "the agent was silent {} of the time",
        "Check the agent, its budget and its way to NATS: what isn't seen isn't watched."),
    rule!(Stability failure_risk, 0.2 => 0.9, 50.0, Percent, "a component fails soon with a probability of {}",
        "Plan its replacement now and check its backups."),
];
