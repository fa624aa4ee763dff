//! Names on NATS: subjects, streams and message ids, and the small messages that are not frames.
//! Plain text and data; the rooms that publish map them to the client library's types.

use xxhash_rust::xxh3::xxh3_64;

/// Stream that carries frames from agents to collectors.
pub const METRICS_STREAM: &str = "FETTLE_METRICS";
/// Subjects of the metrics stream.
pub const METRICS_SUBJECTS: &str = "fettle.metrics.>";
/// Stream that keeps frames which could not be read, with the reason in a header.
pub const QUARANTINE_STREAM: &str = "FETTLE_QUARANTINE";
/// Subjects of the quarantine stream.
pub const QUARANTINE_SUBJECTS: &str = "fettle.quarantine.>";
/// Header of a quarantined message that says why it is there.
pub const REASON_HEADER: &str = "Fettle-Reason";
/// Key-value bucket of the partition leases.
pub const LEASE_BUCKET: &str = "fettle_leases";
/// Longest agent name, in bytes.
pub const AGENT_NAME_MAX: usize = 64;

/// How the metrics stream is set up; agents and collectors create it alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamShape {
    /// Stream name.
    pub name: &'static str,
    /// Its subjects.
    pub subjects: &'static str,
    /// Whether a message leaves when it is acknowledged.
    pub work_queue: bool,
    /// Most bytes kept; publishing beyond is refused (work queue) or the oldest go.
    pub max_bytes: i64,
    /// Longest message.
    pub max_message_bytes: i32,
    /// Replicas where NATS is clustered.
    pub replicas: usize,
}

/// The metrics stream: file storage, work queue, refuses when full so that agents keep what it cannot.
pub const METRICS_SHAPE: StreamShape = StreamShape {
    name: METRICS_STREAM,
    subjects: METRICS_SUBJECTS,
    work_queue: true,
    max_bytes: 4 << 30,
    max_message_bytes: 1 << 20,
    replicas: 1,
};

/// The quarantine stream: the newest 64 MiB of damaged frames.
pub const QUARANTINE_SHAPE: StreamShape = StreamShape {
    name: QUARANTINE_STREAM,
    subjects: QUARANTINE_SUBJECTS,
    work_queue: false,
    max_bytes: 64 << 20,
    max_message_bytes: 1 << 20,
    replicas: 1,
};

/// Stream of the snapshots of what detection remembers.
pub const STATE_STREAM: &str = "FETTLE_STATE";
/// Subjects of the stream of snapshots.
pub const STATE_SUBJECTS: &str = "fettle.state.>";

/// The stream of snapshots: the newest message of each subject, the oldest go when there are too many bytes.
pub const STATE_SHAPE: StreamShape = StreamShape {
    name: STATE_STREAM,
    subjects: STATE_SUBJECTS,
    work_queue: false,
    max_bytes: 1 << 30,
    max_message_bytes: 1 << 20,
    replicas: 1,
};

/// Subject of one part of a snapshot of a host: `head` or the number of a chunk.
pub fn state_subject(host: &str, slot: u8, part: &str) -> String {
    format!("fettle.state.{host}.{slot}.{part}")
}

/// Whether `name` can be an agent's name: 1 to 64 of `A-Z a-z 0-9 _ -`, hence a subject token.
pub fn is_agent_name(name: &str) -> bool {
    (1..=AGENT_NAME_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Makes an agent name of any host name: other bytes become `-`, an empty one becomes `host`.
pub fn agent_name_from(host: &str) -> String {
    let name: String = host
        .bytes()
        .take(AGENT_NAME_MAX)
        .map(|b| if b.is_ascii_alphanumeric() || b == b'_' || b == b'-' { b as char } else { '-' })
        .collect();
    if name.is_empty() {
        "host".into()
    } else {
        name
    }
}

/// The partition an agent's frames travel in.
pub fn partition_of(agent: &str, partitions: u16) -> u16 {
    (xxh3_64(agent.as_bytes()) % u64::from(partitions.max(1))) as u16
}

/// Subject of an agent's frames.
pub fn metrics_subject(partition: u16, agent: &str) -> String {
    format!("fettle.metrics.{partition}.{agent}")
}

/// Filter of all frames in a partition.
pub fn partition_filter(partition: u16) -> String {
    format!("fettle.metrics.{partition}.>")
}

/// Durable consumer of a partition.
pub fn partition_consumer(partition: u16) -> String {
    format!("ingest_{partition}")
}

/// The agent named by a metrics subject, if it is one.
pub fn agent_of_subject(subject: &str) -> Option<&str> {
    let mut tokens = subject.strip_prefix("fettle.metrics.")?.split('.');
    let (_, agent) = (tokens.next()?, tokens.next()?);
    (tokens.next().is_none() && is_agent_name(agent)).then_some(agent)
}

/// Subject on which the collector tells an agent what ClickHouse has.
pub fn stored_subject(agent: &str) -> String {
    format!("fettle.stored.{agent}")
}

/// Subject of a damaged frame that came in on an agent's subject.
pub fn quarantine_subject(agent: &str) -> String {
    format!("fettle.quarantine.{agent}")
}

/// Subject on which an agent is given orders; a request, answered with a receipt (accepted or refused).
pub fn orders_subject(agent: &str) -> String {
    format!("fettle.orders.{agent}")
}

/// Subject on which an agent hands in a receipt; a request, answered by the receipt's id once it is stored.
pub fn receipts_subject(agent: &str) -> String {
    format!("fettle.receipts.{agent}")
}

/// Subject on which an agent tells what its host's own file declares.
pub fn inventory_subject(agent: &str) -> String {
    format!("fettle.inventory.{agent}")
}

/// Filter of all inventories.
pub const INVENTORY_FILTER: &str = "fettle.inventory.>";

/// Filter of all receipts.
pub const RECEIPTS_FILTER: &str = "fettle.receipts.>";

/// `Nats-Msg-Id` of a frame. A re-send (`attempt` > 0) gets an id of its own, so that JetStream's
/// de-duplication cannot swallow it after having lost the first; the collector drops true doubles.
pub fn message_id(agent: &str, boot: u64, seq: u64, attempt: u32) -> String {
    match attempt {
        0 => format!("{agent}:{boot:016x}:{seq}"),
        n => format!("{agent}:{boot:016x}:{seq}:{n}"),
    }
}

/// The collector's word: every sequence number up to `upto` of this boot is in ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Boot the numbers belong to.
    pub boot: u64,
    /// Highest number of the unbroken run from 1.
    pub upto: u64,
}

impl Stored {
    /// Bytes on the wire: version, boot, upto, little-endian.
    pub const LEN: usize = 17;
    const VERSION: u8 = 1;

    /// Wire form.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = Self::VERSION;
        bytes[1..9].copy_from_slice(&self.boot.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.upto.to_le_bytes());
        bytes
    }

    /// Reads the wire form; anything else is `None`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        if bytes[0] != Self::VERSION {
            return None;
        }
        let word = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        Some(Self { boot: word(1)?, upto: word(9)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_subject_tokens() {
        assert!(is_agent_name("web-1_a"));
        for bad in ["", "a.b", "a b", "*", ">", "é", &"x".repeat(65)] {
            assert!(!is_agent_name(bad), "{bad:?}");
            assert!(is_agent_name(&agent_name_from(bad)), "{bad:?}");
        }
        assert_eq!(agent_of_subject(&metrics_subject(3, "web-1")), Some("web-1"));
        for bad in ["fettle.metrics.3", "fettle.metrics.3.a.b", "other.3.a", "fettle.metrics.3."] {
            assert_eq!(agent_of_subject(bad), None, "{bad}");
        }
    }

    #[test]
    fn partitions_and_ids_are_stable() {
        assert_eq!(partition_of("web-1", 1), 0);
        assert_eq!(partition_of("web-1", 0), 0);
        assert!((0..100).map(|i| partition_of(&format!("h{i}"), 4)).all(|p| p < 4));
        assert_eq!(message_id("a", 255, 7, 0), "a:00000000000000ff:7");
        assert_eq!(message_id("a", 255, 7, 2), "a:00000000000000ff:7:2");
    }

    #[test]
    fn stored_survives_the_wire_and_refuses_anything_else() {
        let stored = Stored { boot: u64::MAX - 1, upto: 42 };
        let bytes = stored.to_bytes();
        assert_eq!(Stored::from_bytes(&bytes), Some(stored));
        assert_eq!(Stored::from_bytes(&bytes[..16]), None);
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(Stored::from_bytes(&other), None);
    }
}
