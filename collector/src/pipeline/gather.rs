//! One batch in the making: frames are checked, admitted, decoded and appended as they arrive.

use std::collections::HashSet;

use bytes::Bytes;
use fettle_shared::catalogue::Catalogue;
use fettle_shared::frame::{decode, DroppedRange, Frame, FrameError, Header, Scratch};

use super::commit::Sealed;
use super::Line;
use crate::handoff::{FrameEntry, Intent, LedgerRow, LedgerStatus};
use crate::ingest::{Arrival, Receipt, Verdict};
use crate::store::Assembler;
use crate::telemetry::Telemetry;

/// The same frame is put aside this often before the ledger writes it off, so that a copy damaged on
/// the way can still be replaced by the agent's own.
const DAMAGED_COPIES: u32 = 3;

/// What has been gathered and not yet sealed.
pub(super) struct Batch {
    assembler: Assembler,
    scratch: Scratch,
    frames: Vec<FrameEntry>,
    ledger: Vec<LedgerRow>,
    receipts: Vec<Receipt>,
    /// Agents (and boots) that sent what is stored already, and are told so again.
    repeated: HashSet<(String, u64)>,
    damaged: std::collections::HashMap<(String, u64, u64), u32>,
}

impl Batch {
    pub(super) fn new(catalogue: &'static Catalogue) -> Self {
        Self {
            assembler: Assembler::new(catalogue),
            scratch: Scratch::default(),
            frames: Vec::new(),
            ledger: Vec::new(),
            receipts: Vec::new(),
            repeated: HashSet::new(),
            damaged: std::collections::HashMap::new(),
        }
    }

    pub(super) fn samples(&self) -> u64 {
        self.assembler.samples()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.ledger.is_empty() && self.repeated.is_empty()
    }

    /// Decodes a frame's bytes and appends its rows.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(FrameEntry, Vec<DroppedRange>), FrameError> {
        let Self { assembler, scratch, .. } = self;
        let frame: Frame<'_> = decode(bytes, scratch)?;
        assembler.append(&frame);
        let entry = entry_of(&frame.header);
        let dropped = frame.dropped;
        self.frames.push(entry.clone());
        Ok((entry, dropped))
    }

    pub(super) fn take_receipts(&mut self) -> Vec<Receipt> {
        std::mem::take(&mut self.receipts)
    }

    pub(super) fn keep_receipt(&mut self, receipt: Receipt) {
        self.receipts.push(receipt);
    }

    pub(super) fn take_repeated(&mut self) -> Vec<(String, u64)> {
        self.repeated.drain().collect()
    }

    pub(super) fn recycle(&mut self, blocks: Vec<(String, Vec<Bytes>)>) {
        self.assembler.recycle(blocks);
    }

    /// Closes the batch under its number.
    pub(super) fn seal(mut self, partition: u16, number: u64, fence: u64) -> Sealed {
        let frames = std::mem::take(&mut self.frames);
        let created_us = super::commit::now_us();
        self.seal_as(Intent { partition, number, fence, created_us, frames })
    }

    /// Closes the batch as an intent that exists already.
    pub(super) fn seal_as(mut self, intent: Intent) -> Sealed {
        self.frames.clear();
        let mut assembled = self.assembler.finish();
        for window in assembled.windows.values_mut() {
            window.batch = intent.number;
        }
        let row = |frame: &FrameEntry| LedgerRow {
            frame: frame.clone(),
            status: LedgerStatus::Stored,
            partition: intent.partition,
            batch: intent.number,
        };
        let mut ledger: Vec<LedgerRow> = intent.frames.iter().map(row).collect();
        for mut row in self.ledger.drain(..) {
            (row.partition, row.batch) = (intent.partition, intent.number);
            ledger.push(row);
        }
        Sealed { intent, assembled, ledger, batch: self }
    }
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

impl Line {
    /// Takes one message into the batch, or drops it as a double, or puts it aside.
    pub(super) async fn take(&mut self, arrival: Arrival) {
        let counters = &self.context.telemetry.counters;
        Telemetry::add(&counters.frame_bytes, arrival.bytes.len() as u64);
        let header = match Header::parse(&arrival.bytes) {
            Ok(header) if arrival.agent.as_deref() == Some(header.agent.as_str()) => header,
            Ok(_) => return self.put_aside(arrival, "agent_subject").await,
            Err(error) => return self.put_aside(arrival, error.reason()).await,
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
        match self.batch.append(&arrival.bytes) {
            Ok((entry, dropped)) => {
                self.account_for_dropped(&entry, &dropped);
                self.batch.keep_receipt(arrival.receipt);
            }
            Err(error) => self.damaged(arrival, &header, &error).await,
        }
    }

    async fn put_aside(&self, arrival: Arrival, reason: &str) {
        tracing::warn!(reason, agent = arrival.agent, "a message could not be read and is put aside");
        Telemetry::add(&self.context.telemetry.counters.quarantined_frames, 1);
        self.source.quarantine(arrival, reason).await;
    }

    /// A frame whose header is sound and whose body is not. The agent sends it again; when that does
    /// not help, the ledger says so and the sequence goes on.
    async fn damaged(&mut self, arrival: Arrival, header: &Header, error: &FrameError) {
        let agent = header.agent.as_str().to_owned();
        self.admission.release(&agent, header.boot, header.seq);
        let key = (agent, header.boot, header.seq);
        let copies = self.batch.damaged.entry(key.clone()).or_insert(0);
        *copies += 1;
        if *copies >= DAMAGED_COPIES {
            self.batch.damaged.remove(&key);
            let _ = self.admission.admit(&key.0, key.1, key.2);
            let frame = entry_of(header);
            self.batch.ledger.push(LedgerRow {
                frame,
                status: LedgerStatus::Quarantined,
                partition: self.partition,
                batch: 0,
            });
        }
        self.put_aside(arrival, error.reason()).await;
    }

    /// Writes down, number by number, what an agent's spool gave up. The range's totals stand with
    /// its first number.
    fn account_for_dropped(&mut self, report: &FrameEntry, dropped: &[DroppedRange]) {
        let counters = &self.context.telemetry.counters;
        for range in dropped {
            let (mut rows, mut samples) = (range.rows, range.samples);
            for seq in range.first_seq..=range.last_seq {
                if self.admission.admit(&report.agent, range.boot, seq) != Verdict::New {
                    continue;
                }
                Telemetry::add(&counters.dropped_frames, 1);
                Telemetry::add(&counters.dropped_samples, samples);
                let frame = FrameEntry {
                    boot: range.boot,
                    seq,
                    rows: u32::try_from(std::mem::take(&mut rows)).unwrap_or(u32::MAX),
                    samples: std::mem::take(&mut samples),
                    ..report.clone()
                };
                self.batch.ledger.push(LedgerRow {
                    frame,
                    status: LedgerStatus::Dropped,
                    partition: self.partition,
                    batch: 0,
                });
            }
        }
    }
}
