//! What a fuzzer does with its bytes; the test `corpus` does the same with the seeds, on any toolchain.

use fettle_shared::frame::{decode, verify, Header, Scratch};

use super::envelope::{Claims, HEADER};
use super::{envelope, expand};

/// Bytes in front of the payload: flags, rows, samples, earliest and latest second.
const PREFIX: usize = 8;

/// Any bytes as a header: as they are, then with a right checksum.
pub fn header(bytes: &[u8]) {
    let _ = Header::parse(bytes);
    if let Some(head) = bytes.first_chunk::<HEADER>() {
        let mut head = *head;
        head[..4].copy_from_slice(b"FTLE");
        let hash = xxhash_rust::xxh3::xxh3_64(&head[..136]);
        head[136..].copy_from_slice(&hash.to_le_bytes());
        if let Ok(header) = Header::parse(&head) {
            assert!(header.first_us <= header.last_us && header.seq > 0);
            assert!(!header.agent.as_str().is_empty());
        }
    }
}

/// Any bytes as a frame: as they are, then as the inside of a frame whose checksums are right.
pub fn frame(bytes: &[u8]) {
    let mut scratch = Scratch::default();
    let _ = decode(bytes, &mut scratch);
    let Some((prefix, raw)) = bytes.split_first_chunk::<PREFIX>() else { return };
    if raw.len() > 1 << 18 {
        return;
    }
    let frame = claims(prefix).frame_of_raw(raw);
    if verify(&frame).is_err() {
        return;
    }
    if let Ok(frame) = decode(&frame, &mut scratch) {
        let blocks = expand(&frame);
        assert_eq!(blocks.iter().map(|b| b.rows.len()).sum::<usize>(), frame.header.rows as usize);
        let times = blocks.iter().flat_map(|b| &b.rows).map(|row| row.1);
        assert!(times.into_iter().all(|ts| (frame.header.first_us..=frame.header.last_us).contains(&ts)));
        assert!(frame.dropped.is_empty() || frame.header.is_dropped_report());
    }
}

/// The header that a seed's first bytes ask for.
fn claims(prefix: &[u8; PREFIX]) -> Claims {
    let [flags, rows @ .., a, b, c, d] = *prefix;
    Claims {
        flags: u16::from(flags),
        rows: u32::from_le_bytes([rows[0], rows[1], rows[2], 0]) % 4096,
        samples: u64::from(u32::from_le_bytes([a, b, c, 0])),
        first_us: 0,
        last_us: if d == 0 { 1_000_000 } else { 7_258_118_399_999_999 },
        ..Claims::default()
    }
}

/// The seed that leads to this frame's inside.
pub fn seed(bytes: &[u8]) -> Vec<u8> {
    let header = Header::parse(bytes).expect("a good frame");
    let mut seed = vec![header.flags as u8];
    seed.extend_from_slice(&header.rows.to_le_bytes()[..3]);
    seed.extend_from_slice(&header.samples.to_le_bytes()[..3]);
    seed.push(1);
    seed.extend_from_slice(&envelope::raw_of(bytes));
    seed
}
