//! Damage is refused: every truncation and every flipped bit of every golden frame, with a reason,
//! without a panic, within the memory that the header allows.

mod model;

use std::collections::BTreeMap;

use fettle_shared::frame::{verify, Header};
use model::allocation::{peak_of, Counting};
use model::envelope::{raw_of, with_raw};
use model::golden::{all, committed};
use model::refusal::{refusal, within_bounds};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn every_truncation_is_refused() {
    for golden in all() {
        let bytes = committed(golden.name);
        for len in 0..bytes.len() {
            let why = refusal(&bytes[..len]);
            let expected = if len < Header::LEN { "short_header" } else { "payload_length" };
            assert_eq!(why.reason(), expected, "{} cut to {len}", golden.name);
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for golden in all() {
        let mut bytes = committed(golden.name);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let why = refusal(&bytes);
            let expected = match bit / 8 {
                0..4 => "magic",
                4..Header::LEN => "header_checksum",
                _ => "payload_checksum",
            };
            assert_eq!(why.reason(), expected, "{} bit {bit}", golden.name);
            assert!(verify(&bytes).is_err());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn bytes_behind_a_frame_are_refused() {
    for golden in all() {
        let mut bytes = golden.bytes;
        bytes.push(0);
        assert_eq!(refusal(&bytes).reason(), "payload_length");
    }
}

/// Someone who can compute checksums flips bits under them: most are refused, a flip inside a value
/// cannot be; none may panic or take more memory than the header allows.
#[test]
fn flipped_bits_under_right_checksums_do_no_harm() {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for golden in all() {
        let mut raw = raw_of(&golden.bytes);
        for bit in 0..raw.len() * 8 {
            raw[bit / 8] ^= 1 << (bit % 8);
            let outcome = within_bounds(&with_raw(&golden.bytes, &raw));
            *reasons.entry(outcome.as_ref().map_or_else(|why| why.reason(), |_| "taken")).or_default() += 1;
            raw[bit / 8] ^= 1 << (bit % 8);
        }
    }
    println!("{reasons:?}");
    assert!(["envelope", "block", "totals", "dropped"].iter().all(|reason| reasons.contains_key(reason)));
}

/// The same for a payload that is cut under right checksums.
#[test]
fn cut_payloads_under_right_checksums_are_refused() {
    for golden in all() {
        let raw = raw_of(&golden.bytes);
        for len in 0..raw.len() {
            assert_eq!(refusal(&with_raw(&golden.bytes, &raw[..len])).reason(), "envelope");
        }
    }
}

#[test]
fn the_count_counts() {
    let (_, peak) = peak_of(|| std::hint::black_box(vec![0u8; 4096]).len());
    assert_eq!(peak, 4096);
}
