//! Frames that no agent would make, put together by hand with every checksum right. Each claims one
//! thing that cannot be; each is refused for that reason, within the memory its header allows.

mod model;

use fettle_shared::frame::{FrameError, MAX_DROPPED, MAX_KEY_TEXT, MAX_ROWS};
use model::allocation::Counting;
use model::envelope::{plain_block, signed, varint, Claims, Envelope, WireBlock};
use model::refusal::{refusal, within_bounds};

#[global_allocator]
static COUNTING: Counting = Counting;

/// One block in a frame that claims so many rows of one metric.
fn one(rows: u32, change: impl FnOnce(&mut WireBlock)) -> Vec<u8> {
    let mut block = plain_block(4);
    change(&mut block);
    Claims::of(rows, 1).frame(&(vec![block], Vec::new()))
}

fn wrong(frame: &[u8]) -> &'static str {
    match refusal(frame) {
        FrameError::Block { family: 4, what } => what,
        other => panic!("refused for another reason: {other:?}"),
    }
}

#[test]
fn the_plain_block_is_taken() {
    let rows = within_bounds(&one(1, |_| ())).unwrap();
    assert_eq!((rows[0].family, rows[0].rows[0].1, &rows[0].rows[0].2[..]), (4, 5, &[3][..]));
}

#[test]
fn absurd_counts() {
    assert_eq!(wrong(&one(1, |b| b.1 = 0)), "scan time");
    assert_eq!(wrong(&one(1, |b| b.1 = 129)), "scan time");
    assert_eq!(wrong(&one(1, |b| b.1 = u16::MAX)), "scan time");
    assert_eq!(wrong(&one(1, |b| b.2 = 0)), "entity count");
    assert_eq!(wrong(&one(1, |b| b.2 = 2)), "entity count");
    assert_eq!(wrong(&one(1, |b| b.2 = u32::MAX)), "entity count");
    assert_eq!(wrong(&one(MAX_ROWS, |b| b.2 = MAX_ROWS)), "change map");
    assert_eq!(wrong(&one(MAX_ROWS, |b| (b.2, b.5) = (MAX_ROWS, vec![1]))), "presence map");
}

#[test]
fn wrong_times() {
    assert_eq!(wrong(&one(1, |b| b.3 = signed(-1))), "scan time");
    assert_eq!(wrong(&one(1, |b| b.3 = signed(1_000_001))), "scan time");
    assert_eq!(wrong(&one(1, |b| b.3 = signed(i64::MAX))), "scan time");
    assert_eq!(wrong(&one(1, |b| b.3 = Vec::new())), "scan time");
    assert_eq!(wrong(&one(1, |b| b.3.push(0))), "scan time");
    let overflowing = [signed(9), signed(i64::MAX)].concat();
    assert_eq!(wrong(&one(2, |b| (b.1, b.3) = (2, overflowing))), "scan time");
}

#[test]
fn overflowing_varints() {
    let over_64 = varint(1 << 64);
    let endless = vec![0xff; 64];
    let over_128 = [vec![0xff; 18], vec![0x04]].concat();
    for bad in [&over_64, &endless] {
        assert_eq!(wrong(&one(1, |b| b.3.clone_from(bad))), "scan time");
        assert_eq!(wrong(&one(1, |b| b.7.clone_from(bad))), "metric number");
        assert_eq!(wrong(&one(1, |b| b.8.clone_from(bad))), "value");
        assert_eq!(wrong(&one(1, |b| b.4 = [&[0], &bad[..]].concat())), "entity key");
        assert_eq!(wrong(&one(1, |b| b.4 = [&[1], &bad[..]].concat())), "entity key");
    }
    for bad in [&over_128, &endless] {
        assert_eq!(wrong(&one(1, |b| b.5.clone_from(bad))), "presence map");
        assert_eq!(wrong(&one(1, |b| b.6.clone_from(bad))), "change map");
    }
}

#[test]
fn wrong_maps() {
    assert_eq!(wrong(&one(1, |b| b.5 = varint(0))), "presence map");
    assert_eq!(wrong(&one(1, |b| b.5 = varint(2))), "presence map");
    assert_eq!(wrong(&one(1, |b| b.5 = varint(1 << 127))), "presence map");
    assert_eq!(wrong(&one(1, |b| b.5 = varint(u128::MAX))), "presence map");
    assert_eq!(wrong(&one(1, |b| b.5 = vec![1, 1])), "presence map");
    assert_eq!(wrong(&one(1, |b| b.6 = varint(0))), "change map");
    assert_eq!(wrong(&one(1, |b| b.6 = varint(3))), "change map");
    assert_eq!(wrong(&one(1, |b| b.6 = varint(1 << 127))), "change map");
    assert_eq!(wrong(&one(1, |b| b.6 = Vec::new())), "change map");
    assert_eq!(wrong(&one(1, |b| b.6 = vec![1, 1])), "change map");
}

#[test]
fn wrong_metrics() {
    assert_eq!(wrong(&one(1, |b| b.7 = Vec::new())), "metric number");
    assert_eq!(wrong(&one(1, |b| b.7 = varint(0))), "metric number");
    assert_eq!(wrong(&one(1, |b| b.7 = varint(65_536))), "metric number");
    assert_eq!(wrong(&one(1, |b| b.7 = [varint(65_535), varint(1)].concat())), "metric number");
    assert_eq!(wrong(&one(1, |b| b.7 = varint(u128::from(u64::MAX)))), "metric number");
    assert_eq!(wrong(&one(1, |b| b.7 = vec![1; 513])), "metric number");
    assert_eq!(wrong(&one(1, |b| b.7 = vec![1; 8 << 20])), "metric number");
    assert_eq!(wrong(&one(1, |b| b.7 = vec![1, 1])), "sample count");
}

#[test]
fn wrong_values() {
    assert_eq!(wrong(&one(1, |b| b.8 = Vec::new())), "value");
    assert_eq!(wrong(&one(1, |b| b.8 = vec![0])), "value");
    assert_eq!(wrong(&one(1, |b| b.8 = vec![0, 1])), "value");
    assert_eq!(wrong(&one(1, |b| b.8 = [vec![0], varint(u128::from(u64::MAX))].concat())), "value");
    assert_eq!(wrong(&one(1, |b| b.8 = vec![2, 2])), "value");
    assert!(within_bounds(&one(1, |b| b.8 = vec![0, 0])).is_ok(), "one zero and no more");
}

/// Three entities with this key column, in a frame that is right otherwise.
fn keyed(keys: &[u8]) -> Vec<u8> {
    one(3, |b| (b.2, b.4, b.6, b.8) = (3, keys.to_vec(), vec![1; 3], vec![2; 3]))
}

#[test]
fn wrong_keys() {
    let text = |texts: [&[u8]; 3]| -> Vec<u8> {
        let one = |text: &[u8]| [varint(text.len() as u128), text.to_vec()].concat();
        std::iter::once(1).chain(texts.iter().flat_map(|text| one(text))).collect()
    };
    assert!(within_bounds(&keyed(&text([b"a", b"b", b"c"]))).is_ok());
    assert!(within_bounds(&keyed(&[0, 2, 2, 2])).is_ok());
    assert_eq!(wrong(&keyed(&text([b"a", b"b", b"b"]))), "order of entities", "twice the same");
    assert_eq!(wrong(&keyed(&text([b"a", b"c", b"b"]))), "order of entities");
    assert_eq!(wrong(&keyed(&[0, 2, 2, 0])), "order of entities", "twice the same");
    assert_eq!(wrong(&keyed(&[0, 2, 2, 1])), "order of entities", "backwards");
    assert_eq!(wrong(&keyed(&[])), "order of entities", "three entities and no key");
    assert_eq!(wrong(&keyed(&text([b"a", b"\xff", b"c"]))), "entity key", "no UTF-8");
    assert_eq!(wrong(&keyed(&text([b"a", b"\xed\xa0\x80", b"c"]))), "entity key", "a surrogate");
    assert_eq!(wrong(&keyed(&text([b"a", b"b", &[b'c'; MAX_KEY_TEXT + 1]]))), "entity key", "too long");
    assert_eq!(wrong(&keyed(&[1, 1, b'a', 1, b'b', 200, 1])), "entity key", "longer than the bytes");
    assert_eq!(wrong(&keyed(&[2, 2, 2, 2])), "entity key", "no such kind");
    assert_eq!(wrong(&keyed(&[0, 2, 2])), "entity key", "one missing");
    assert_eq!(wrong(&keyed(&[0, 2, 2, 2, 0])), "entity key", "bytes behind");
    assert_eq!(wrong(&keyed(&[0, 2, 2, 2].repeat(9))), "entity key", "nine columns");
}

#[test]
fn wrong_totals() {
    let plain = || (vec![plain_block(4)], Vec::new());
    assert_eq!(refusal(&Claims::of(2, 1).frame(&plain())), FrameError::Totals("rows"));
    let more = Claims { samples: 2, ..Claims::default() };
    assert_eq!(refusal(&more.frame(&plain())), FrameError::Totals("samples"));
    let none = Claims { samples: 0, ..Claims::default() };
    assert_eq!(wrong(&none.frame(&plain())), "sample count");
    assert_eq!(refusal(&Claims::of(0, 1).frame(&plain())), FrameError::Totals("rows"));
    assert_eq!(refusal(&Claims::of(1, 1).frame(&(Vec::new(), Vec::new()))), FrameError::Totals("rows"));
}

#[test]
fn families_twice_or_in_disorder() {
    let frame = |families: &[u16]| {
        let blocks = families.iter().map(|family| plain_block(*family)).collect();
        Claims::of(families.len() as u32, 1).frame(&(blocks, Vec::new()))
    };
    assert!(within_bounds(&frame(&[1, 4, u16::MAX])).is_ok());
    assert_eq!(wrong(&frame(&[4, 4])), "place");
    assert_eq!(wrong(&frame(&[5, 4])), "place");
    assert!(matches!(refusal(&frame(&[0])), FrameError::Block { family: 0, what: "place" }));
}

#[test]
fn headers_out_of_bounds() {
    let envelope: Envelope = (vec![plain_block(4)], Vec::new());
    let refused = |claims: Claims| refusal(&claims.frame(&envelope));
    let claims = Claims::default;
    let cases = [
        (Claims { flags: 2, ..claims() }, "flag"),
        (Claims { flags: 0x8001, ..claims() }, "flag"),
        (Claims { seq: 0, ..claims() }, "sequence number"),
        (Claims { first_us: 9, last_us: 8, ..claims() }, "time range"),
        (Claims { first_us: -1, ..claims() }, "time"),
        (Claims { last_us: i64::MAX, ..claims() }, "time"),
        (Claims { rows: u32::MAX, ..claims() }, "row count"),
        (Claims { samples: u64::MAX, ..claims() }, "sample count"),
        (Claims { payload_off: 1 << 20, ..claims() }, "payload length"),
        (Claims { raw_off: 1 << 30, ..claims() }, "uncompressed length"),
        (Claims { agent: b"a.b".to_vec(), ..claims() }, "agent name"),
        (Claims { agent: b"".to_vec(), ..claims() }, "agent name"),
        (Claims { agent: b"a\0b".to_vec(), ..claims() }, "agent name"),
        (Claims { agent: vec![0xff; 64], ..claims() }, "agent name"),
    ];
    for (bad, what) in cases {
        assert_eq!(refused(bad), FrameError::Bounds(what));
    }
    assert_eq!(refused(Claims { magic: *b"FTLF", ..claims() }), FrameError::Magic);
    assert_eq!(refused(Claims { version: 0, ..claims() }), FrameError::Version(0));
    assert_eq!(refused(Claims { version: 2, ..claims() }), FrameError::Version(2));
    assert!(matches!(refused(Claims { payload_off: 1, ..claims() }), FrameError::PayloadLength { .. }));
}

#[test]
fn payloads_that_do_not_unpack_as_promised() {
    let envelope: Envelope = (vec![plain_block(4)], Vec::new());
    for raw_off in [-1, 1, 4 << 20] {
        let claims = Claims { raw_off, ..Claims::default() };
        assert_eq!(refusal(&claims.frame(&envelope)), FrameError::Decompress, "{raw_off}");
    }
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    assert_eq!(refusal(&Claims::default().frame_of_payload(&bomb, 16 << 20)), FrameError::Decompress);
    assert_eq!(refusal(&Claims::default().frame_of_payload(b"no zstd", 9)), FrameError::Decompress);
    assert_eq!(refusal(&Claims::default().frame_of_payload(b"", 0)), FrameError::Envelope);
}

#[test]
fn envelopes_that_claim_too_much() {
    let length = |n: u64| [vec![253], n.to_le_bytes().to_vec()].concat();
    let refused = |raw: &[u8]| refusal(&Claims::of(MAX_ROWS, 4).frame_of_raw(raw));
    for count in [9, 2_000, 2_600, 10_000, 1 << 20, 1 << 40, u64::MAX] {
        assert_eq!(refused(&length(count)), FrameError::Envelope, "{count} blocks");
        assert_eq!(refused(&[&[0], &length(count)[..]].concat()), FrameError::Envelope, "{count} ranges");
        let stream = [&[1, 4, 1, 1][..], &length(count)].concat();
        assert_eq!(refused(&stream), FrameError::Envelope, "{count} bytes of times");
    }
    assert_eq!(refused(&[0, 0, 0]), FrameError::Envelope, "a byte behind");
    assert_eq!(refused(&[254; 20]), FrameError::Envelope, "a length of 128 bits");
    let many: Envelope = ((1..=2_000).map(plain_block).collect(), Vec::new());
    assert_eq!(refusal(&Claims::of(1, 1).frame(&many)), FrameError::Totals("rows"));
    assert!(within_bounds(&Claims::of(2_000, 1).frame(&many)).is_ok());
}

#[test]
fn reports_that_cannot_be() {
    let claims = Claims { flags: 1, rows: 0, samples: 0, ..Claims::default() };
    let report = |ranges: &[(u64, u64)]| {
        let ranges = ranges.iter().map(|(first, last)| (7, *first, *last, 1, 1)).collect();
        claims.frame(&(Vec::new(), ranges))
    };
    assert!(within_bounds(&report(&[])).is_ok());
    assert!(within_bounds(&report(&[(1, MAX_DROPPED)])).is_ok());
    assert!(within_bounds(&report(&[(u64::MAX, u64::MAX), (1, MAX_DROPPED - 1)])).is_ok());
    assert_eq!(refusal(&report(&[(0, 1)])), FrameError::Dropped("range"));
    assert_eq!(refusal(&report(&[(2, 1)])), FrameError::Dropped("range"));
    assert_eq!(refusal(&report(&[(1, MAX_DROPPED + 1)])), FrameError::Dropped("number of frames"));
    assert_eq!(refusal(&report(&[(1, u64::MAX)])), FrameError::Dropped("number of frames"));
    assert_eq!(refusal(&report(&[(1, 1), (1, MAX_DROPPED)])), FrameError::Dropped("number of frames"));
    let unflagged = Claims { flags: 0, ..claims.clone() };
    assert_eq!(refusal(&unflagged.frame(&(Vec::new(), vec![(7, 1, 1, 1, 1)]))), FrameError::Dropped("flag"));
    let both = Claims { flags: 1, ..Claims::default() };
    let block = (vec![plain_block(4)], Vec::new());
    assert_eq!(refusal(&both.frame(&block)), FrameError::Dropped("block of samples"));
}
