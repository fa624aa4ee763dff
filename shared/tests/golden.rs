//! Golden frames keep the format frozen: files that every later version must read, and that the
//! encoder must give again for the same scans. Beside each stands what it says, for people.
//!
//! Run once with `FETTLE_WRITE_GOLDEN=1` to add a frame. A committed frame whose *text* would change
//! means a new format version. One whose bytes alone change (a new zstd release may compress
//! differently) may be written anew, once the test that reads the old file has passed.

mod model;

use std::sync::Once;

use fettle_shared::frame::{decode, Header, Scratch};
use model::golden::{all, committed, path, DROPPED};
use model::{envelope, expand, OwnKey, Rows};

/// Writes the golden files, once and before any test reads them, when a person asks for it.
fn write_if_asked() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if std::env::var_os("FETTLE_WRITE_GOLDEN").is_none() {
            return;
        }
        for golden in all() {
            std::fs::write(path(golden.name, "frame"), &golden.bytes).expect("the directory is there");
            let text = describe(&golden.bytes, &golden.rows);
            std::fs::write(path(golden.name, "txt"), text).expect("the directory is there");
        }
    });
}

#[test]
fn committed_frames_are_what_the_encoder_gives() {
    write_if_asked();
    for golden in all() {
        assert!(golden.bytes == committed(golden.name), "{}: other bytes for the same scans", golden.name);
    }
}

#[test]
fn the_same_scans_give_the_same_bytes() {
    for (one, two) in all().iter().zip(all()) {
        assert!(one.bytes == two.bytes, "{}", one.name);
    }
}

#[test]
fn committed_frames_say_what_they_said() {
    write_if_asked();
    for golden in all() {
        let bytes = committed(golden.name);
        let mut scratch = Scratch::default();
        let frame = decode(&bytes, &mut scratch).unwrap();
        assert_eq!(expand(&frame), golden.rows, "{}", golden.name);
        let dropped: &[_] = if golden.name == "dropped" { &DROPPED } else { &[] };
        assert_eq!(frame.dropped, dropped);
        assert_eq!(frame.header, Header::parse(&bytes[..Header::LEN]).unwrap());
        assert_eq!(frame.header.frame_len(), bytes.len());
        assert_eq!(frame.header.is_dropped_report(), golden.name == "dropped");
        let text = describe(&bytes, &golden.rows);
        assert_eq!(text, std::fs::read_to_string(path(golden.name, "txt")).unwrap(), "{}", golden.name);
    }
}

#[test]
fn the_envelope_is_bincode_two() {
    for golden in all() {
        let raw = envelope::raw_of(&golden.bytes);
        let parsed = envelope::envelope_of(&golden.bytes);
        let again = bincode::encode_to_vec(&parsed, bincode::config::standard()).unwrap();
        assert!(again == raw, "{}: bincode writes the same envelope otherwise", golden.name);
    }
}

#[test]
fn the_header_is_as_described() {
    for golden in all() {
        let header = Header::parse(&golden.bytes).expect("the directory is there");
        let claims = envelope::Claims {
            flags: header.flags,
            agent: b"golden-1".to_vec(),
            seq: header.seq,
            first_us: header.first_us,
            last_us: header.last_us,
            rows: header.rows,
            samples: header.samples,
            ..envelope::Claims::default()
        };
        let mut by_hand = claims.frame_of_payload(&golden.bytes[Header::LEN..], i64::from(header.raw_len));
        assert_eq!(&by_hand[..72], &golden.bytes[..72], "{}", golden.name);
        assert_eq!(&by_hand[80..116], &golden.bytes[80..116], "{}", golden.name);
        assert_eq!(&by_hand[120..136], &golden.bytes[120..136], "{}", golden.name);
        by_hand[136] ^= 1;
        assert!(Header::parse(&by_hand).is_err());
    }
}

/// The frame in words; a long block's middle is left out.
fn describe(bytes: &[u8], blocks: &[Rows]) -> String {
    let header = Header::parse(bytes).expect("a good frame");
    let mut text = format!(
        "version {} flags {} agent {} boot {:#x} seq {}\nfrom {} to {} µs\nrows {} samples {} catalogue {}\n\
         payload {} of {} bytes\n",
        header.version,
        header.flags,
        header.agent,
        header.boot,
        header.seq,
        header.first_us,
        header.last_us,
        header.rows,
        header.samples,
        header.catalogue,
        header.payload_len,
        header.raw_len
    );
    for block in blocks {
        text +=
            &format!("\nfamily {}: {} rows of metrics {:?}\n", block.family, block.rows.len(), block.metrics);
        for (at, (key, ts, values)) in block.rows.iter().enumerate() {
            if at >= 30 && at + 10 < block.rows.len() {
                continue;
            }
            let key: Vec<String> = key
                .iter()
                .map(|k| match k {
                    OwnKey::Int(n) => n.to_string(),
                    OwnKey::Text(text) if text.len() > 64 => format!("{} bytes of text", text.len()),
                    OwnKey::Text(text) => format!("{text:?}"),
                })
                .collect();
            text += &format!("{at:>5} [{}] {ts} {values:?}\n", key.join(", "));
        }
    }
    for range in decode(bytes, &mut Scratch::default()).expect("a good frame").dropped {
        text += &format!("\n{range:?}\n");
    }
    text
}
