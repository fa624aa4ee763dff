//! The audit: one record for each thing decided, ordered, answered or said, each holding the hash of the one
//! before. Whoever changes, removes or reorders records breaks the chain where they did it; whoever cuts its
//! end off is found by the head that the collector remembers. An intent is written before its order leaves,
//! an outcome after it, so that an intent without outcome says by itself: never completed.
//!
//! The hash is SHA-256 over a tag and the fields, each text with its length before it (u64, little endian),
//! each number as eight bytes, little endian. `detail` is hashed as the very text that is stored.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the hash of the first record's forerunner is.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const TAG: &[u8] = b"fettle audit 1";

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// From 1, without holes.
    pub seq: u64,
    /// When, µs since 1970.
    pub at_us: i64,
    /// `planned`, `approved`, `intent`, `outcome`, `verified`, ….
    pub kind: String,
    /// Who: a person, `policy:DIGEST`, or `agent:HOST`.
    pub who: String,
    /// One sentence.
    pub what: String,
    /// Plan, if it is about one.
    pub plan: String,
    /// Order, if it is about one.
    pub order: String,
    /// JSON.
    pub detail: String,
    /// Hash of the record before, 64 hexadecimal digits.
    pub prev_hash: String,
    /// Hash of this one.
    pub hash: String,
}

impl AuditRecord {
    /// What the hash should be.
    pub fn hash_now(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(TAG);
        hash.update(self.seq.to_le_bytes());
        hash.update(self.at_us.to_le_bytes());
        for text in
            [&self.kind, &self.who, &self.what, &self.plan, &self.order, &self.detail, &self.prev_hash]
        {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The end of a chain: what is remembered of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last record's number; 0: there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS.to_owned() }
    }
}

/// What a record says, before it stands in the chain.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// See [`AuditRecord`].
    pub kind: &'static str,
    /// See [`AuditRecord`].
    pub who: String,
    /// See [`AuditRecord`].
    pub what: String,
    /// See [`AuditRecord`].
    pub plan: String,
    /// See [`AuditRecord`].
    pub order: String,
    /// See [`AuditRecord`].
    pub detail: serde_json::Value,
}

impl Head {
    /// Adds a record at the end.
    pub fn append(&mut self, at_us: i64, entry: Entry) -> AuditRecord {
        let detail = if entry.detail.is_null() { "{}".to_owned() } else { entry.detail.to_string() };
        let mut record = AuditRecord {
            seq: self.seq + 1,
            at_us,
            kind: entry.kind.to_owned(),
            who: entry.who,
            what: entry.what,
            plan: entry.plan,
            order: entry.order,
            detail,
            prev_hash: self.hash.clone(),
            hash: String::new(),
        };
        record.hash = record.hash_now();
        *self = Self { seq: record.seq, hash: record.hash.clone() };
        record
    }
}

/// What an unbroken chain holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Records.
    pub records: u64,
    /// Its end.
    pub head: Head,
    /// Orders with an intent and no outcome: never completed, or not yet.
    pub open_orders: Vec<String>,
}

/// Where and how a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit is broken at record {seq}: {why}")]
pub struct Broken {
    /// Number of the first record that does not fit.
    pub seq: u64,
    /// How.
    pub why: &'static str,
}

/// Checks a chain from its first record on, and its end against the head that is remembered, if any is.
///
/// # Errors
/// The first place where it does not fit.
pub fn verify(records: &[AuditRecord], remembered: Option<&Head>) -> Result<Summary, Broken> {
    let mut check = Verifier::default();
    for record in records {
        check.take(record)?;
    }
    check.finish(remembered)
}

/// The same, record by record, for chains too long for memory. A chain whose beginning was archived is
/// checked from its last archived record on: [`Verifier::from`].
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    head: Head,
    remembered_hash: Option<(u64, String)>,
    taken: u64,
    open: std::collections::BTreeSet<String>,
}

impl Verifier {
    /// Begins after this record.
    pub fn from(head: Head) -> Self {
        Self { head, ..Self::default() }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// It does not follow the one before, or is not what was written.
    pub fn take(&mut self, record: &AuditRecord) -> Result<(), Broken> {
        let broken = |why| Broken { seq: record.seq, why };
        if record.seq != self.head.seq + 1 {
            return Err(Broken { seq: self.head.seq + 1, why: "it is missing, or stands elsewhere" });
        }
        if record.prev_hash != self.head.hash {
            return Err(broken("it does not follow the record before it"));
        }
        if record.hash != record.hash_now() {
            return Err(broken("it was changed"));
        }
        self.head = Head { seq: record.seq, hash: record.hash.clone() };
        self.taken += 1;
        match record.kind.as_str() {
            "intent" => {
                self.open.insert(record.order.clone());
            }
            "outcome" => {
                self.open.remove(&record.order);
            }
            _ => {}
        }
        if let Some((seq, hash)) = &self.remembered_hash {
            if *seq == record.seq && *hash != record.hash {
                return Err(broken("it is not the record that is remembered"));
            }
        }
        Ok(())
    }

    /// Says beforehand which record is remembered, so that a chain that was made anew and is longer is found.
    pub fn expect(&mut self, head: &Head) {
        self.remembered_hash = Some((head.seq, head.hash.clone()));
    }

    /// The end of the chain, against the head that is remembered.
    ///
    /// # Errors
    /// The chain ends before what is remembered, or elsewhere.
    pub fn finish(self, remembered: Option<&Head>) -> Result<Summary, Broken> {
        if let Some(head) = remembered {
            if self.head.seq < head.seq {
                return Err(Broken { seq: self.head.seq + 1, why: "it and what follows were cut off" });
            }
            if self.head.seq == head.seq && self.head.hash != head.hash {
                return Err(Broken { seq: head.seq, why: "it is not the record that is remembered" });
            }
        }
        Ok(Summary { records: self.taken, head: self.head, open_orders: self.open.into_iter().collect() })
    }
}
