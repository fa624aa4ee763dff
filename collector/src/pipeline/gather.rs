//! One batch in the making: frames are checked by their checksums and admitted as they arrive, and kept
//! as they came. They are decoded when the batch is written.

use std::collections::{HashMap, HashSet};

use fettle_shared::frame::{decode, verify, DroppedRange, FrameError, Header, Scratch};

use super::commit::{now_us, Sealed};
use super::{Context, Line};
use crate::handoff::{FrameEntry, Intent, LedgerRow, LedgerStatus};
use crate::ingest::{Admission, Arrival, Source, Verdict};
use crate::telemetry::Telemetry;

/// The same frame is put aside this often before the ledger writes it off, so that a copy damaged on
/// the way can still be replaced by the agent's own.
const DAMAGED_COPIES: u32 = 3;
/// A batch holds no more frames and bytes than this. JetStream gives up to 8192 messages that are not
/// acknowledged, and two batches are in hand at a time.
const MAX_FRAMES: usize = 3500;
const MAX_BYTES: usize = 48 << 20;
/// Rows for the ledger beside those of the frames: a report of drops may name a million.
const MAX_LEDGER: usize = 200_000;
/// In memory a row takes its table's whole width, however few metrics its frame gives.
const ROW_WEIGHT: u64 = 30;
/// Damaged copies that are remembered.
const MAX_DAMAGED: usize = 10_000;
/// A table's block is closed at this many rows: some 10 MB of the widest busy table.
const CUT_ROWS: u32 = 32_768;

/// Furthest that scans of a frame lie apart, and ahead of this clock.
const DAY_US: i64 = 86_400_000_000;

/// What has been gathered and not yet sealed.
#[derive(Default)]
pub(super) struct Batch {
    frames: Vec<FrameEntry>,
    arrivals: Vec<Arrival>,
    /// What the ledger is told beside these frames.
    ledger: Vec<LedgerRow>,
    /// Agents (and boots) that sent what is stored already, and are told so again.
    repeated: HashSet<(String, u64)>,
    /// Samples, or more where rows are nearly empty.
    weight: u64,
    bytes: usize,
    /// Messages that JetStream had not given yet when the last frame came.
    pending: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.ledger.is_empty() && self.repeated.is_empty()
    }

    /// Whether it may take another frame.
    pub(super) fn has_room(&self, samples: u64) -> bool {
        self.weight < samples
            && self.frames.len() < MAX_FRAMES
            && self.bytes < MAX_BYTES
            && self.ledger.len() < MAX_LEDGER
    }

    pub(super) fn push(&mut self, entry: FrameEntry, arrival: Arrival) {
        self.weight += entry.samples.max(u64::from(entry.rows) * ROW_WEIGHT);
        self.bytes += arrival.bytes.len();
        self.pending = arrival.pending;
        self.frames.push(entry);
        self.arrivals.push(arrival);
    }

    /// Whether nothing waited behind its last frame.
    pub(super) fn is_caught_up(&self) -> bool {
        self.pending == 0
    }

    /// The frames as they came, in the order of the intent.
    pub(super) fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    pub(super) fn take_arrivals(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.arrivals)
    }

    pub(super) fn take_ledger(&mut self) -> Vec<LedgerRow> {
        std::mem::take(&mut self.ledger)
    }

    pub(super) fn take_repeated(&mut self) -> HashSet<(String, u64)> {
        std::mem::take(&mut self.repeated)
    }

    /// Closes the batch under its number.
    pub(super) fn seal(mut self, partition: u16, number: u64, fence: u64) -> Sealed {
        let frames = std::mem::take(&mut self.frames);
        let created_us = super::commit::now_us();
        let intent = Intent {
            partition,
            number,
            fence,
            created_us,
            cut_rows: CUT_ROWS,
            attempt: 0,
            frames,
            lost: Vec::new(),
        };
        Sealed { intent, batch: self, begun: false }
    }

    /// Writes down, number by number, what an agent's spool gave up. The range's totals stand with its
    /// first number. Gives how many frames and samples that were.
    pub(super) fn account_for_dropped(
        &mut self,
        admission: &mut Admission,
        report: &FrameEntry,
        dropped: &[DroppedRange],
    ) -> (u64, u64) {
        let mut told = (0, 0);
        for range in dropped {
            let (mut rows, mut samples) = (range.rows, range.samples);
            for seq in range.first_seq..=range.last_seq {
                if admission.admit(&report.agent, range.boot, seq) != Verdict::New {
                    continue;
                }
                told = (told.0 + 1, told.1 + samples);
                let frame = FrameEntry {
                    boot: range.boot,
                    seq,
                    rows: u32::try_from(std::mem::take(&mut rows)).unwrap_or(u32::MAX),
                    samples: std::mem::take(&mut samples),
                    ..report.clone()
                };
                // Partition and batch are filled in when the batch has its number.
                self.ledger.push(LedgerRow { frame, status: LedgerStatus::Dropped, partition: 0, batch: 0 });
            }
        }
        told
    }
}

/// Copies that came damaged, by agent, boot and sequence number.
pub(super) type Damaged = HashMap<(String, u64, u64), u32>;

/// The ranges that a frame reports as dropped; most frames report none and are not opened for it.
pub(super) fn dropped_ranges(header: &Header, bytes: &[u8]) -> Result<Vec<DroppedRange>, FrameError> {
    if !header.is_dropped_report() {
        return Ok(Vec::new());
    }
    Ok(decode(bytes, &mut Scratch::default())?.dropped)
}

pub(super) fn entry_of(header: &Header) -> FrameEntry {
    FrameEntry {
        agent: header.agent.as_str().to_owned(),
        boot: header.boot,
        seq: header.seq,
        rows: header.rows,
        samples: header.samples,
        first_us: header.first_us,
        last_us: header.last_us,
    }
}

/// A frame tells of a second or so. One whose scans lie days apart or in the future would spread a few rows over many
/// partitions of ClickHouse, which costs it more than millions of rows in one.
fn plausible(header: &Header, now_us: i64) -> Result<(), FrameError> {
    if header.last_us > now_us.saturating_add(DAY_US) || header.last_us - header.first_us > DAY_US {
        return Err(FrameError::Bounds("time"));
    }
    Ok(())
}

/// Moves a message that cannot be read to the quarantine.
pub(super) async fn put_aside(context: &Context, source: &Source, arrival: Arrival, reason: &str) {
    tracing::warn!(reason, agent = arrival.agent, "a message could not be read and is put aside");
    Telemetry::add(&context.telemetry.counters.quarantined_frames, 1);
    source.quarantine(arrival, reason).await;
}

impl Line {
    /// Takes one message into the batch, or drops it as a double, or puts it aside.
    pub(super) async fn take(&mut self, arrival: Arrival) {
        let counters = &self.context.telemetry.counters;
        Telemetry::add(&counters.frame_bytes, arrival.bytes.len() as u64);
        let header = match Header::parse(&arrival.bytes) {
            Ok(header) if arrival.agent.as_deref() == Some(header.agent.as_str()) => header,
            Ok(_) => return put_aside(&self.context, &self.source, arrival, "agent_subject").await,
            Err(error) => return put_aside(&self.context, &self.source, arrival, error.reason()).await,
        };
        let agent = header.agent.as_str();
        match self.admission.admit(agent, header.boot, header.seq) {
            Verdict::New => {}
            Verdict::InFlight => {
                Telemetry::add(&counters.in_flight_duplicates, 1);
                return;
            }
            Verdict::Stored { .. } => {
                Telemetry::add(&counters.duplicate_frames, 1);
                self.batch.repeated.insert((agent.to_owned(), header.boot));
                arrival.receipt.acknowledge().await;
                return;
            }
        }
        if let Err(error) = plausible(&header, now_us()) {
            return self.damaged(arrival, &header, &error).await;
        }
        match verify(&arrival.bytes).and_then(|header| dropped_ranges(&header, &arrival.bytes)) {
            Ok(dropped) => {
                let entry = entry_of(&header);
                let (frames, samples) = self.batch.account_for_dropped(&mut self.admission, &entry, &dropped);
                Telemetry::add(&counters.dropped_frames, frames);
                Telemetry::add(&counters.dropped_samples, samples);
                self.batch.push(entry, arrival);
            }
            Err(error) => self.damaged(arrival, &header, &error).await,
        }
    }

    /// A frame whose header is sound and whose body is not. The agent sends it again; when that does
    /// not help, the ledger says so and the sequence goes on.
    async fn damaged(&mut self, arrival: Arrival, header: &Header, error: &FrameError) {
        let agent = header.agent.as_str().to_owned();
        self.admission.release(&agent, header.boot, header.seq);
        let key = (agent, header.boot, header.seq);
        if self.damaged.len() >= MAX_DAMAGED {
            self.damaged.clear();
        }
        let copies = self.damaged.entry(key.clone()).or_insert(0);
        *copies += 1;
        if *copies >= DAMAGED_COPIES {
            self.damaged.remove(&key);
            let _ = self.admission.admit(&key.0, key.1, key.2);
            let frame = entry_of(header);
            self.batch.ledger.push(LedgerRow {
                frame,
                status: LedgerStatus::Quarantined,
                partition: 0,
                batch: 0,
            });
        }
        put_aside(&self.context, &self.source, arrival, error.reason()).await;
    }
}
