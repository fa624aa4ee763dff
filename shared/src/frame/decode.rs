//! Reads a frame. Everything is checked before anything is handed out: when [`decode`] returns a
//! frame, its blocks can be appended to tables without a further error. What is allocated is
//! bounded by the header, which is checked first.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Decompressor;

use super::header::Header;
use super::varint;
use super::wire::{read_format, DroppedRange, Envelope, WireBlock};
use super::{FrameError, MAX_DROPPED, MAX_KEY_TEXT, MAX_SCANS};
use crate::catalogue::MAX_METRICS;

/// Buffers a decoder keeps from frame to frame.
pub struct Scratch {
    raw: Vec<u8>,
    values: Vec<i64>,
    zstd: Decompressor<'static>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("raw", &self.raw.capacity()).finish_non_exhaustive()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        let zstd = Decompressor::new().expect("zstd has a decompressor");
        Self { raw: Vec::new(), values: Vec::new(), zstd }
    }
}

/// A frame that was read and checked.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// One block a family, ascending by family number.
    pub blocks: Vec<Block<'a>>,
    /// Frames given up, in a frame that reports them.
    pub dropped: Vec<DroppedRange>,
}

/// One column of entity keys.
#[derive(Debug)]
pub enum KeyColumn<'a> {
    /// Numbers.
    Int(Vec<u64>),
    /// Texts.
    Text(Vec<&'a str>),
}

/// One family's rows: entity by entity in key order, each entity's scans in time order.
#[derive(Debug)]
pub struct Block<'a> {
    /// Family number.
    pub family: u16,
    /// Scan times, µs since 1970 UTC.
    pub scans: Vec<i64>,
    /// Key columns, each with one value an entity.
    pub keys: Vec<KeyColumn<'a>>,
    /// Which scans saw the entity: bit k for scan k.
    pub presence: Vec<u128>,
    /// Rows of each entity.
    pub entity_rows: Vec<u32>,
    /// Distinct runs of each entity; see [`Block::runs`].
    pub entity_runs: Vec<u32>,
    /// How many rows each run of equal rows spans.
    pub runs: Vec<u32>,
    /// Metric numbers of the columns.
    pub metrics: Vec<u16>,
    /// Rows of the block.
    pub rows: u32,
    values: &'a [i64],
}

impl Block<'_> {
    /// The values of column `index` (position in `metrics`): one for each run.
    pub fn column(&self, index: usize) -> &[i64] {
        &self.values[index * self.runs.len()..(index + 1) * self.runs.len()]
    }

    /// Samples of the block.
    pub fn samples(&self) -> u64 {
        u64::from(self.rows) * self.metrics.len() as u64
    }

    /// Calls `put` with the time of every row, in row order.
    pub fn for_each_time(&self, mut put: impl FnMut(i64)) {
        for &map in &self.presence {
            let mut left = map;
            while left != 0 {
                put(self.scans[left.trailing_zeros() as usize]);
                left &= left - 1;
            }
        }
    }
}

/// Checks header and payload checksum without decoding.
pub fn verify(bytes: &[u8]) -> Result<Header, FrameError> {
    let header = Header::parse(bytes)?;
    let payload = &bytes[Header::LEN..];
    if payload.len() != header.payload_len as usize {
        return Err(FrameError::PayloadLength { have: payload.len(), need: header.payload_len as usize });
    }
    if xxh3_64(payload) != header.payload_hash {
        return Err(FrameError::PayloadChecksum);
    }
    Ok(header)
}

/// Reads a whole frame; the result borrows `scratch`.
pub fn decode<'a>(bytes: &[u8], scratch: &'a mut Scratch) -> Result<Frame<'a>, FrameError> {
    let header = verify(bytes)?;
    let Scratch { raw, values, zstd } = scratch;
    raw.clear();
    raw.resize(header.raw_len as usize, 0);
    let got =
        zstd.decompress_to_buffer(&bytes[Header::LEN..], &mut raw[..]).map_err(|_| FrameError::Decompress)?;
    if got != raw.len() {
        return Err(FrameError::Decompress);
    }
    let envelope: Envelope<'a> =
        wincode::config::deserialize_exact(&raw[..], read_format()).map_err(|_| FrameError::Envelope)?;
    check_dropped(&header, &envelope)?;
    if envelope.blocks.len() as u64 > u64::from(header.rows) {
        return Err(FrameError::Totals("rows"));
    }
    values.clear();
    let mut drafts = Vec::with_capacity(envelope.blocks.len());
    let mut left = Left { rows: u64::from(header.rows), samples: header.samples };
    let mut family_before = 0;
    for wire in &envelope.blocks {
        let family = wire.family;
        if family <= family_before {
            return Err(FrameError::Block { family, what: "place" });
        }
        family_before = family;
        let draft = read_block(wire, &header, &mut left, values)
            .map_err(|what| FrameError::Block { family, what })?;
        drafts.push(draft);
    }
    if left.rows != 0 {
        return Err(FrameError::Totals("rows"));
    }
    if left.samples != 0 {
        return Err(FrameError::Totals("samples"));
    }
    let values: &'a [i64] = values;
    let blocks = drafts
        .into_iter()
        .map(|(mut block, range)| {
            block.values = &values[range];
            block
        })
        .collect();
    Ok(Frame { header, blocks, dropped: envelope.dropped })
}

/// A frame holds blocks or reports dropped frames, as its flag says; a report's ranges are sane, so
/// that a reader may walk through every number in them.
fn check_dropped(header: &Header, envelope: &Envelope<'_>) -> Result<(), FrameError> {
    if !header.is_dropped_report() {
        return if envelope.dropped.is_empty() { Ok(()) } else { Err(FrameError::Dropped("flag")) };
    }
    if !envelope.blocks.is_empty() {
        return Err(FrameError::Dropped("block of samples"));
    }
    let mut left = MAX_DROPPED;
    for range in &envelope.dropped {
        if range.first_seq == 0 || range.first_seq > range.last_seq {
            return Err(FrameError::Dropped("range"));
        }
        left = (range.last_seq - range.first_seq)
            .checked_add(1)
            .and_then(|numbers| left.checked_sub(numbers))
            .ok_or(FrameError::Dropped("number of frames"))?;
    }
    Ok(())
}

/// What the header still allows.
struct Left {
    rows: u64,
    samples: u64,
}

type Draft<'a> = (Block<'a>, Range<usize>);

fn read_block<'a>(
    wire: &WireBlock<'a>,
    header: &Header,
    left: &mut Left,
    values: &mut Vec<i64>,
) -> Result<Draft<'a>, &'static str> {
    let entities = wire.entities as usize;
    if entities == 0 || u64::from(wire.entities) > left.rows {
        return Err("entity count");
    }
    let scans = read_times(wire, header).ok_or("scan time")?;
    let presence = read_presence(wire, scans.len()).ok_or("presence map")?;
    let rows: u64 = presence.iter().map(|map| u64::from(map.count_ones())).sum();
    let metrics = read_metrics(wire.metrics).ok_or("metric number")?;
    let samples = rows * metrics.len() as u64;
    left.rows = left.rows.checked_sub(rows).ok_or("row count")?;
    left.samples = left.samples.checked_sub(samples).ok_or("sample count")?;
    let mut block = Block {
        family: wire.family,
        scans,
        keys: read_keys(wire.keys, entities).ok_or("entity key")?,
        entity_rows: presence.iter().map(|map| map.count_ones()).collect(),
        presence,
        entity_runs: Vec::with_capacity(entities),
        runs: Vec::new(),
        metrics,
        rows: rows as u32,
        values: &[],
    };
    read_changes(wire.changes, &mut block).ok_or("change map")?;
    if !keys_ascend(&block.keys, entities) {
        return Err("order of entities");
    }
    let start = values.len();
    read_values(wire.values, &block, values).ok_or("value")?;
    Ok((block, start..values.len()))
}

fn read_times(wire: &WireBlock<'_>, header: &Header) -> Option<Vec<i64>> {
    let mut bytes = wire.times;
    let count = usize::from(wire.scans);
    if count == 0 || count > MAX_SCANS {
        return None;
    }
    let mut scans = Vec::with_capacity(count);
    let mut before = 0i64;
    for _ in 0..count {
        before = before.checked_add(varint::unzigzag(varint::get(&mut bytes)?))?;
        if before < header.first_us || before > header.last_us {
            return None;
        }
        scans.push(before);
    }
    bytes.is_empty().then_some(scans)
}

fn read_presence(wire: &WireBlock<'_>, scans: usize) -> Option<Vec<u128>> {
    let all = u128::MAX >> (128 - scans);
    let entities = wire.entities as usize;
    if wire.presence.is_empty() {
        return Some(vec![all; entities]);
    }
    let mut bytes = wire.presence;
    let mut maps = Vec::with_capacity(entities.min(bytes.len()));
    for _ in 0..entities {
        let map = varint::get_u128(&mut bytes)?;
        if map == 0 || map & !all != 0 {
            return None;
        }
        maps.push(map);
    }
    bytes.is_empty().then_some(maps)
}

/// Turns change maps into run lengths: how many rows, from one change to the next, are equal.
fn read_changes(mut bytes: &[u8], block: &mut Block<'_>) -> Option<()> {
    for &presence in &block.presence {
        let changes = varint::get_u128(&mut bytes)?;
        let first = presence & presence.wrapping_neg();
        if changes & first == 0 || changes & !presence != 0 {
            return None;
        }
        let mut left = changes;
        while left != 0 {
            let from = left.trailing_zeros();
            left &= left - 1;
            let until = if left == 0 { 0 } else { 1u128 << left.trailing_zeros() };
            let span = until.wrapping_sub(1) & (u128::MAX << from);
            block.runs.push((presence & span).count_ones());
        }
        block.entity_runs.push(changes.count_ones());
    }
    bytes.is_empty().then_some(())
}

fn read_metrics(mut bytes: &[u8]) -> Option<Vec<u16>> {
    let mut metrics = Vec::new();
    let mut before = 0u16;
    while !bytes.is_empty() {
        let step = u16::try_from(varint::get(&mut bytes)?).ok().filter(|step| *step > 0)?;
        before = before.checked_add(step)?;
        metrics.push(before);
        if metrics.len() > MAX_METRICS {
            return None;
        }
    }
    (!metrics.is_empty()).then_some(metrics)
}

fn read_keys(mut bytes: &[u8], entities: usize) -> Option<Vec<KeyColumn<'_>>> {
    let mut columns = Vec::new();
    while let Some((&tag, rest)) = bytes.split_first() {
        bytes = rest;
        if columns.len() == 8 || entities > bytes.len() {
            return None;
        }
        columns.push(match tag {
            0 => {
                let mut before = 0u64;
                let mut column = Vec::with_capacity(entities);
                for _ in 0..entities {
                    before = before.wrapping_add(varint::unzigzag(varint::get(&mut bytes)?) as u64);
                    column.push(before);
                }
                KeyColumn::Int(column)
            }
            1 => {
                let mut column = Vec::with_capacity(entities);
                for _ in 0..entities {
                    let len = usize::try_from(varint::get(&mut bytes)?).ok()?;
                    if len > MAX_KEY_TEXT {
                        return None;
                    }
                    let (text, rest) = bytes.split_at_checked(len)?;
                    bytes = rest;
                    column.push(std::str::from_utf8(text).ok()?);
                }
                KeyColumn::Text(column)
            }
            _ => return None,
        });
    }
    Some(columns)
}

/// Whether each key is greater than the one before, hence unique.
fn keys_ascend(columns: &[KeyColumn<'_>], entities: usize) -> bool {
    use std::cmp::Ordering::{Equal, Less};
    (1..entities).all(|i| {
        let order = columns.iter().map(|column| match column {
            KeyColumn::Int(values) => values[i - 1].cmp(&values[i]),
            KeyColumn::Text(values) => values[i - 1].cmp(values[i]),
        });
        order.into_iter().find(|o| *o != Equal) == Some(Less)
    })
}

fn read_values(mut bytes: &[u8], block: &Block<'_>, values: &mut Vec<i64>) -> Option<()> {
    values.reserve(block.runs.len() * block.metrics.len());
    for _ in &block.metrics {
        let mut zeros = 0u64;
        let mut first_before = 0i64;
        for &runs in &block.entity_runs {
            let mut before = first_before;
            for run in 0..runs {
                if zeros > 0 {
                    zeros -= 1;
                } else {
                    match varint::get(&mut bytes)? {
                        0 => zeros = varint::get(&mut bytes)?,
                        delta => before = before.wrapping_add(varint::unzigzag(delta)),
                    }
                }
                if run == 0 {
                    first_before = before;
                }
                values.push(before);
            }
        }
        if zeros > 0 {
            return None;
        }
    }
    bytes.is_empty().then_some(())
}
