//! What was decided and what became of it, on disk before it is done.
//!
//! An append-only log of checksummed records, each synced before its action begins or its answer is given. A torn
//! tail is an action that was never begun. The highest generation also stands, with a checksum, in one of two
//! slots of a second file that are written in turn, so that damage to either file cannot take it back. Only
//! when both are damaged is it lost; then no order is taken that was issued before the loss was found (plus what
//! clocks may differ by): an order is valid for a quarter of an hour at most, so nothing old can be played
//! again, and no operator has to come before new orders are taken.
//!
//! Room on the disk is kept in reserve, so that a clean-up can be begun on a disk that is full. Rejected: a database
//! (a dependency for a few records an hour), and refusing everything after damage (the host would stay unmended
//! for as long as nobody looks).

mod file;
mod marks;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use fettle_shared::command::{Outcome, Receipt};
use serde::{Deserialize, Serialize};

use super::admission::{Begun, Known, Memory, Task, HOUR_US, SKEW_US};
use super::ActError;
use file::{Log, Scan};
use marks::Marks;

/// Receipts kept for a collector that does not come; beyond it the oldest are given up, and counted.
const WAITING_MAX: usize = 2048;
/// The newest receipts keep all of their output, older ones its last bytes.
const WHOLE_OUTPUTS: usize = 128;
const SHORT_OUTPUT: usize = 256;
/// Entries kept for people to look at.
const LOOK_BACK: usize = 256;
/// Refused orders that are on record at once, and in an hour; whoever sends more is not worth the disk.
const NOTED_MAX: usize = 60;
/// An entry is known for this long after it was decided: longer than any order is valid.
const KNOWN_US: i64 = 2 * HOUR_US;

/// One order, or action of the agent's own, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What became of it.
    pub receipt: Receipt,
    /// What the order's text is known by.
    digest: String,
    /// Its generation; 0: none.
    pub generation: u64,
    /// When it was decided on, µs since 1970.
    pub decided_us: i64,
    /// Whether nothing was to be done.
    pub dry_run: bool,
    /// An order that was refused before its generation counted.
    noted: bool,
    /// Whether the collector has the receipt.
    pub confirmed: bool,
}

impl Entry {
    /// Whether the collector is to be told.
    pub fn is_waiting(&self) -> bool {
        !self.confirmed && self.receipt.outcome != Outcome::Accepted
    }
}

// Records are written and forgotten one at a time; boxing the large one would cost more than it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Serialize, Deserialize)]
enum Record {
    Mark { high: u64, floor_us: i64, given_up: u64, serial: u64 },
    Entry(Entry),
    Confirmed { id: String },
}

/// What was found at start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Recovered {
    /// Actions that had been begun and did not end.
    pub never_completed: usize,
    /// Bytes of the log that could not be read, not counting a torn tail.
    pub damaged_bytes: usize,
    /// Whether the highest generation was lost, so that only new orders are taken.
    pub mark_lost: bool,
}

/// The ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    dir: PathBuf,
    log: Log,
    marks: Marks,
    memory: Memory,
    entries: VecDeque<Entry>,
    given_up: u64,
    /// Numbers the agent's own actions and the notes.
    serial: u64,
}

impl Ledger {
    /// Opens the ledger of a directory, which is made.
    pub(super) fn open(dir: &Path, now_us: i64) -> Result<(Self, Recovered), ActError> {
        let (log, scan) = Log::open(dir)?;
        let (marks, slot) = Marks::open(dir)?;
        let mut recovered = Recovered { damaged_bytes: scan.damaged, ..Recovered::default() };
        let mut ledger = Self {
            dir: dir.to_owned(),
            log,
            marks,
            memory: Memory::default(),
            entries: VecDeque::new(),
            given_up: 0,
            serial: 0,
        };
        let marked = ledger.recall(&scan);
        let is_new = scan.is_new && slot.is_none();
        if let Some((high, floor_us)) = slot {
            ledger.memory.high = ledger.memory.high.max(high);
            ledger.memory.floor_us = ledger.memory.floor_us.max(floor_us);
        } else if is_new {
            ledger.memory.floor_us = now_us;
        } else if scan.is_new || scan.damaged > 0 || scan.torn || !marked {
            // Without a mark also where a first start ended before it wrote one.
            recovered.mark_lost = true;
            ledger.memory.floor_us = ledger.memory.floor_us.max(now_us.saturating_add(SKEW_US));
        }
        for entry in ledger.entries.iter_mut().filter(|entry| entry.receipt.outcome == Outcome::Accepted) {
            entry.receipt.outcome = Outcome::NeverCompleted;
            entry.receipt.ended_us = now_us;
            recovered.never_completed += 1;
        }
        ledger.remember();
        ledger.memory.keep_to_clock(now_us);
        ledger.memory.forget_before(now_us);
        if scan.damaged > 0 {
            ledger.log.keep_damaged(dir)?;
        }
        ledger.compact(now_us)?;
        ledger.write_mark()?;
        Ok((ledger, recovered))
    }

    /// Takes in what was written down; says whether a mark was among it.
    fn recall(&mut self, scan: &Scan) -> bool {
        let mut marked = false;
        for record in scan.records.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()) {
            match record {
                Record::Mark { high, floor_us, given_up, serial } => {
                    marked = true;
                    self.memory.high = self.memory.high.max(high);
                    self.memory.floor_us = self.memory.floor_us.max(floor_us);
                    self.given_up = self.given_up.max(given_up);
                    self.serial = self.serial.max(serial);
                }
                Record::Entry(entry) => self.put(entry),
                Record::Confirmed { id } => self.mark_confirmed(&id),
            }
        }
        marked
    }

    fn put(&mut self, entry: Entry) {
        self.memory.high = self.memory.high.max(entry.generation);
        // The agent's own names end in their number.
        let number = entry.receipt.id.rsplit('-').next().and_then(|number| number.parse().ok());
        if entry.receipt.local || entry.noted {
            self.serial = self.serial.max(number.unwrap_or(0));
        }
        match self.entries.iter_mut().rev().find(|old| old.receipt.id == entry.receipt.id) {
            Some(old) => *old = entry,
            None => self.entries.push_back(entry),
        }
    }

    /// Makes admission's memory from the entries.
    fn remember(&mut self) {
        let memory = &mut self.memory;
        memory.known.clear();
        memory.begun.clear();
        for entry in self.entries.iter().filter(|entry| !entry.noted) {
            let Entry { receipt, digest, dry_run, .. } = entry;
            let digest = u128::from_str_radix(digest, 16).unwrap_or(0);
            memory.known.insert(receipt.id.clone(), Known { digest, receipt: receipt.clone() });
            if receipt.begun_us > 0 && !dry_run {
                memory.begun.push_back(begun(receipt));
            }
        }
    }

    /// What admission may know.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Brings what is remembered in line with the clock; to be called before anything is judged.
    pub(super) fn keep_to_clock(&mut self, now_us: i64) {
        self.memory.keep_to_clock(now_us);
    }

    /// A name for an action of the agent's own, or for a note; never given twice.
    pub(super) fn name(&mut self, what: &str, agent: &str, now_us: i64) -> String {
        self.serial += 1;
        format!("{what}-{agent}-{now_us}-{}", self.serial)
    }

    /// Writes down that a task is begun, before it is.
    pub(super) fn begin(
        &mut self,
        task: &Task,
        host: &str,
        (generation, digest): (u64, u128),
        now_us: i64,
    ) -> Result<Receipt, ActError> {
        let receipt = Receipt {
            id: task.id.clone(),
            host: host.to_owned(),
            component: task.component.clone(),
            action: task.action.clone(),
            local: task.local,
            outcome: Outcome::Accepted,
            begun_us: now_us,
            ended_us: 0,
            output: String::new(),
            before: Default::default(),
            because: task.because.clone(),
        };
        let entry = Entry {
            receipt: receipt.clone(),
            digest: format!("{digest:032x}"),
            generation,
            decided_us: now_us,
            dry_run: task.dry_run,
            noted: false,
            confirmed: false,
        };
        self.write(entry, now_us)?;
        self.memory.known.insert(receipt.id.clone(), Known { digest, receipt: receipt.clone() });
        self.memory.running.insert(receipt.id.clone(), receipt.component.clone());
        if !task.dry_run {
            self.memory.forget_before(now_us);
            self.memory.begun.push_back(begun(&receipt));
        }
        Ok(receipt)
    }

    /// Writes down how an action ended. It has ended in memory even if that fails, and its component is free.
    pub(super) fn end(&mut self, receipt: Receipt, now_us: i64) -> Result<(), ActError> {
        self.free(&receipt.id);
        self.over(receipt, now_us)
    }

    /// An action that is [over](Self::over) does nothing any more: its component is free.
    pub(super) fn free(&mut self, id: &str) {
        self.memory.running.remove(id);
    }

    /// Writes down what became of an action that still has threads at work: its component stays busy.
    pub(super) fn over(&mut self, receipt: Receipt, now_us: i64) -> Result<(), ActError> {
        if let Some(known) = self.memory.known.get_mut(&receipt.id) {
            known.receipt = receipt.clone();
        }
        let Some(old) = self.entries.iter().rev().find(|entry| entry.receipt.id == receipt.id) else {
            return Ok(());
        };
        let entry = Entry { receipt, ..old.clone() };
        self.write(entry, now_us)
    }

    /// Writes down that an order is refused for good, so that its generation is used up.
    pub(super) fn deny(
        &mut self,
        receipt: Receipt,
        (generation, digest): (u64, u128),
        now_us: i64,
    ) -> Result<(), ActError> {
        let entry = Entry {
            receipt: receipt.clone(),
            digest: format!("{digest:032x}"),
            generation,
            decided_us: now_us,
            dry_run: false,
            noted: false,
            confirmed: false,
        };
        self.write(entry, now_us)?;
        self.memory.known.insert(receipt.id.clone(), Known { digest, receipt });
        Ok(())
    }

    /// Keeps the receipt of an order that was refused on sight, for the audit; says whether there was room.
    pub(super) fn note(&mut self, receipt: Receipt, now_us: i64) -> Result<bool, ActError> {
        let recent = |entry: &&Entry| {
            entry.noted && (entry.is_waiting() || entry.decided_us > now_us.saturating_sub(HOUR_US))
        };
        if self.entries.iter().filter(recent).count() >= NOTED_MAX {
            return Ok(false);
        }
        let entry = Entry {
            receipt,
            digest: String::new(),
            generation: 0,
            decided_us: now_us,
            dry_run: false,
            noted: true,
            confirmed: false,
        };
        self.write(entry, now_us)?;
        Ok(true)
    }

    /// The collector has this receipt.
    pub(super) fn confirm(&mut self, id: &str, now_us: i64) -> Result<(), ActError> {
        self.mark_confirmed(id);
        self.append(&Record::Confirmed { id: id.to_owned() }, now_us)
    }

    fn mark_confirmed(&mut self, id: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.receipt.id == id) {
            entry.confirmed = entry.receipt.outcome != Outcome::Accepted;
        }
    }

    /// The oldest receipt the collector does not have.
    pub(super) fn next_waiting(&self) -> Option<&Receipt> {
        self.entries.iter().find(|entry| entry.is_waiting()).map(|entry| &entry.receipt)
    }

    /// Writes an entry and, where its generation is the highest, the mark.
    fn write(&mut self, entry: Entry, now_us: i64) -> Result<(), ActError> {
        let rises = entry.generation > self.memory.high;
        let record = Record::Entry(entry);
        self.append(&record, now_us)?;
        if let Record::Entry(entry) = record {
            self.put(entry);
        }
        if rises {
            self.write_mark()?;
        }
        Ok(())
    }

    fn write_mark(&mut self) -> Result<(), ActError> {
        self.marks.write(self.memory.high, self.memory.floor_us)
    }

    fn append(&mut self, record: &Record, now_us: i64) -> Result<(), ActError> {
        if self.log.is_large() {
            // On a full disk this fails, and the log goes on in the room kept for it.
            if let Err(error) = self.compact(now_us) {
                tracing::warn!(%error, "the ledger of actions could not be made shorter");
            }
        }
        self.log.append(&encode(record))
    }

    /// Writes the log anew with what is still of use.
    fn compact(&mut self, now_us: i64) -> Result<(), ActError> {
        let mut waiting = self.entries.iter().filter(|entry| entry.is_waiting()).count();
        let mut outputs = self.entries.len();
        let mut place = self.entries.len();
        let (mut given_up, known_since) = (0, now_us.saturating_sub(KNOWN_US));
        self.entries.retain_mut(|entry| {
            place -= 1;
            if entry.is_waiting() && waiting > WAITING_MAX {
                waiting -= 1;
                given_up += 1;
                entry.confirmed = true;
            }
            if outputs > WHOLE_OUTPUTS {
                outputs -= 1;
                shorten(&mut entry.receipt.output);
            }
            let is_running = entry.receipt.outcome == Outcome::Accepted;
            is_running || entry.is_waiting() || entry.decided_us > known_since || place < LOOK_BACK
        });
        self.given_up += given_up;
        if given_up > 0 {
            tracing::warn!(receipts = given_up, "receipts are given up: the collector does not take them");
        }
        let Memory { high, floor_us, .. } = self.memory;
        let mark = Record::Mark { high, floor_us, given_up: self.given_up, serial: self.serial };
        let mut records = vec![encode(&mark)];
        records.extend(self.entries.iter().map(|entry| encode(&Record::Entry(entry.clone()))));
        self.log.replace(&self.dir, &records)?;
        let entries = &self.entries;
        let ids: std::collections::BTreeSet<&str> =
            entries.iter().map(|entry| entry.receipt.id.as_str()).collect();
        self.memory.known.retain(|id, _| ids.contains(id.as_str()));
        Ok(())
    }
}

fn begun(receipt: &Receipt) -> Begun {
    Begun {
        component: receipt.component.clone(),
        action: receipt.action.clone(),
        begun_us: receipt.begun_us,
        local: receipt.local,
    }
}

fn encode(record: &Record) -> Vec<u8> {
    // Text, numbers and maps with text keys: writing them cannot fail.
    serde_json::to_vec(record).unwrap_or_default()
}

fn shorten(output: &mut String) {
    if output.len() > SHORT_OUTPUT {
        let from = (output.len() - SHORT_OUTPUT..output.len()).find(|at| output.is_char_boundary(*at));
        let tail = output.split_off(from.unwrap_or(output.len()));
        *output = tail;
    }
}

/// Reads the entries of a ledger, oldest first, without touching it; the agent may be running.
pub fn list(dir: &Path) -> Result<Vec<Entry>, ActError> {
    let scan = file::look(dir)?;
    let mut entries: Vec<Entry> = Vec::new();
    for record in scan.records.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()) {
        match record {
            Record::Mark { .. } => {}
            Record::Entry(entry) => match entries.iter_mut().find(|old| old.receipt.id == entry.receipt.id) {
                Some(old) => *old = entry,
                None => entries.push(entry),
            },
            Record::Confirmed { id } => {
                for entry in entries.iter_mut().filter(|entry| entry.receipt.id == id) {
                    entry.confirmed = true;
                }
            }
        }
    }
    Ok(entries)
}
