//! Turns the collected scans into a frame's bytes: the streams of every block into one arena, the
//! bincode envelope around them, zstd over the whole, the header in front.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Compressor;

use super::builder::{FamilyState, FrameBuilder, FrameMeta, OwnedKey};
use super::header::{AgentName, Header, FLAG_DROPPED, VERSION};
use super::varint;
use super::wire::{write_format, DroppedRange, Envelope, WireBlock};

/// Levels above 1 cost more CPU on the agent than they save on the wire (see benchmarks).
const ZSTD_LEVEL: i32 = 1;

/// Buffers and the zstd context, kept from frame to frame.
pub(super) struct Encoder {
    arena: Vec<u8>,
    raw: Vec<u8>,
    parts: Vec<Parts>,
    zstd: Compressor<'static>,
}

/// Where one block's streams stand in the arena.
struct Parts {
    family: u16,
    scans: u16,
    entities: u32,
    streams: [Range<usize>; 6],
}

impl Encoder {
    pub(super) fn new() -> Self {
        let zstd = Compressor::new(ZSTD_LEVEL).expect("zstd has a compressor for its lowest level");
        Self { arena: Vec::new(), raw: Vec::new(), parts: Vec::new(), zstd }
    }
}

/// Totals that go into the header.
#[derive(Default)]
struct Totals {
    rows: u64,
    samples: u64,
    first_us: Option<i64>,
    last_us: Option<i64>,
    flags: u16,
    catalogue: u32,
}

/// Encodes the builder's frame; the builder's `seal` resets it afterwards.
pub(super) fn seal(builder: &mut FrameBuilder, meta: &FrameMeta<'_>, out: &mut Vec<u8>) -> Header {
    let FrameBuilder { families, encoder, catalogue_version, .. } = builder;
    let mut totals = Totals { catalogue: *catalogue_version, ..Totals::default() };
    encoder.arena.clear();
    encoder.parts.clear();
    for family in families.iter().filter(|f| f.rows > 0) {
        let parts = encode_family(family, &mut encoder.arena);
        encoder.parts.push(parts);
        totals.rows += family.rows;
        totals.samples += family.rows * family.columns() as u64;
        for &ts in &family.scans {
            totals.first_us = Some(totals.first_us.map_or(ts, |t| t.min(ts)));
            totals.last_us = Some(totals.last_us.map_or(ts, |t| t.max(ts)));
        }
    }
    let arena = &encoder.arena;
    let blocks = encoder.parts.iter().map(|parts| parts.borrow(arena)).collect();
    let envelope = Envelope { blocks, dropped: Vec::new() };
    write_frame(&envelope, &totals, meta, &mut encoder.raw, &mut encoder.zstd, out)
}

/// Makes the frame that says which frames were given up, so that the ledger can account for them.
pub fn seal_dropped(
    meta: &FrameMeta<'_>,
    dropped: &[DroppedRange],
    now_us: i64,
    out: &mut Vec<u8>,
) -> Header {
    let envelope = Envelope { blocks: Vec::new(), dropped: dropped.to_vec() };
    let now_us = now_us.clamp(0, super::header::MAX_TIME_US - 1);
    let totals =
        Totals { first_us: Some(now_us), last_us: Some(now_us), flags: FLAG_DROPPED, ..Totals::default() };
    let Encoder { mut raw, mut zstd, .. } = Encoder::new();
    write_frame(&envelope, &totals, meta, &mut raw, &mut zstd, out)
}

fn write_frame(
    envelope: &Envelope<'_>,
    totals: &Totals,
    meta: &FrameMeta<'_>,
    raw: &mut Vec<u8>,
    zstd: &mut Compressor<'static>,
    out: &mut Vec<u8>,
) -> Header {
    raw.clear();
    wincode::config::serialize_into(&mut *raw, envelope, write_format())
        .expect("an envelope of borrowed bytes always serializes into memory");
    out.clear();
    out.resize(Header::LEN + zstd::zstd_safe::compress_bound(raw.len()), 0);
    let payload_len = zstd
        .compress_to_buffer(raw, &mut out[Header::LEN..])
        .expect("zstd compresses into a buffer of its own bound");
    out.truncate(Header::LEN + payload_len);
    let header = Header {
        version: VERSION,
        flags: totals.flags,
        agent: AgentName::new(meta.agent).expect("the agent's name was checked when it was configured"),
        boot: meta.boot,
        seq: meta.seq,
        first_us: totals.first_us.unwrap_or(0),
        last_us: totals.last_us.unwrap_or(0),
        rows: totals.rows as u32,
        samples: totals.samples,
        catalogue: totals.catalogue,
        raw_len: raw.len() as u32,
        payload_len: payload_len as u32,
        payload_hash: xxh3_64(&out[Header::LEN..]),
    };
    out[..Header::LEN].copy_from_slice(&header.write());
    header
}

impl Parts {
    fn borrow<'a>(&self, arena: &'a [u8]) -> WireBlock<'a> {
        let stream = |i: usize| &arena[self.streams[i].clone()];
        WireBlock {
            family: self.family,
            scans: self.scans,
            entities: self.entities,
            times: stream(0),
            keys: stream(1),
            presence: stream(2),
            changes: stream(3),
            metrics: stream(4),
            values: stream(5),
        }
    }
}

fn encode_family(family: &FamilyState, arena: &mut Vec<u8>) -> Parts {
    let mut streams: [Range<usize>; 6] = Default::default();
    let mut at = 0;
    let mut stream = |arena: &mut Vec<u8>, write: &dyn Fn(&mut Vec<u8>)| {
        let start = arena.len();
        write(arena);
        streams[at] = start..arena.len();
        at += 1;
    };
    stream(arena, &|out| times(family, out));
    stream(arena, &|out| keys(family, out));
    stream(arena, &|out| presence(family, out));
    stream(arena, &|out| seen(family).for_each(|e| varint::put_u128(out, e.changes)));
    stream(arena, &|out| metrics(family, out));
    stream(arena, &|out| values(family, out));
    let entities = seen(family).count() as u32;
    Parts { family: family.id, scans: family.scans.len() as u16, entities, streams }
}

/// Entities with a row in this frame, in the order of their keys.
fn seen(family: &FamilyState) -> impl Iterator<Item = &super::builder::Entity> {
    family.order.iter().map(|slot| &family.entities[*slot as usize]).filter(|e| e.presence != 0)
}

fn times(family: &FamilyState, out: &mut Vec<u8>) {
    let mut before = 0;
    for &ts in &family.scans {
        varint::put(out, varint::zigzag(ts - before));
        before = ts;
    }
}

fn keys(family: &FamilyState, out: &mut Vec<u8>) {
    let Some(first) = seen(family).next() else { return };
    for column in 0..first.key.len() {
        let mut before = 0u64;
        out.push(u8::from(matches!(first.key[column], OwnedKey::Text(_))));
        for entity in seen(family) {
            match &entity.key[column] {
                OwnedKey::Int(n) => {
                    varint::put(out, varint::zigzag(n.wrapping_sub(before) as i64));
                    before = *n;
                }
                OwnedKey::Text(text) => {
                    varint::put(out, text.len() as u64);
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}

fn presence(family: &FamilyState, out: &mut Vec<u8>) {
    let all = u128::MAX >> (128 - family.scans.len());
    if seen(family).any(|e| e.presence != all) {
        seen(family).for_each(|e| varint::put_u128(out, e.presence));
    }
}

fn metrics(family: &FamilyState, out: &mut Vec<u8>) {
    let mut before = 0;
    for (id, present) in family.metric_ids.iter().zip(&family.present) {
        if *present {
            varint::put(out, u64::from(id - before));
            before = *id;
        }
    }
}

fn values(family: &FamilyState, out: &mut Vec<u8>) {
    for (column, _) in family.present.iter().enumerate().filter(|(_, present)| **present) {
        let mut zeros = 0u64;
        let mut first_before = 0i64;
        for entity in seen(family) {
            let mut before = first_before;
            first_before = entity.rows[column];
            for row in entity.rows.chunks_exact(family.width) {
                let delta = row[column].wrapping_sub(before);
                before = row[column];
                if delta == 0 {
                    zeros += 1;
                    continue;
                }
                flush_zeros(&mut zeros, out);
                varint::put(out, varint::zigzag(delta));
            }
        }
        flush_zeros(&mut zeros, out);
    }
}

fn flush_zeros(zeros: &mut u64, out: &mut Vec<u8>) {
    if *zeros > 0 {
        out.push(0);
        varint::put(out, *zeros - 1);
        *zeros = 0;
    }
}
