//! Encoded bodies, both ways, against the real engine.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};

use support::Engine;

const SQL: &str = "SELECT number, repeat('text', 10) FROM numbers(100000)";

fn expected() -> Vec<u8> {
    (0..100_000).flat_map(|n| format!("{n}\t{}\n", "text".repeat(10)).into_bytes()).collect()
}

fn read_all(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn results_are_encoded_as_the_client_accepts() {
    let engine = Engine::shared();
    for accepted in ["gzip", "deflate", "zstd", "lz4"] {
        let request = engine.reader("/?enable_http_compression=1").header("Accept-Encoding", accepted);
        let answer = request.body(SQL).send();
        assert_eq!(answer.header("content-encoding"), accepted);
        assert!(answer.complete && answer.body.len() < 1_500_000, "{accepted}: {}", answer.body.len());
        let body = answer.body.as_slice();
        let plain = match accepted {
            "gzip" => read_all(flate2::read::GzDecoder::new(body)),
            "deflate" => read_all(flate2::read::ZlibDecoder::new(body)),
            "zstd" => read_all(zstd::stream::read::Decoder::new(body).unwrap()),
            _ => read_all(lz4_flex::frame::FrameDecoder::new(body)),
        };
        assert!(plain == expected(), "{accepted}");
    }
    let plain = engine.reader("/").header("Accept-Encoding", "gzip").body(SQL).send();
    assert_eq!((plain.header("content-encoding"), plain.body == expected()), ("", true));
}

#[test]
fn bodies_are_decoded() {
    let engine = Engine::shared();
    engine.run("CREATE TABLE encoded (how String, a UInt64) ENGINE = MergeTree ORDER BY a");
    for encoding in ["gzip", "deflate", "zstd", "lz4"] {
        let data: Vec<u8> = (0..50_000).flat_map(|n| format!("{encoding}\t{n}\n").into_bytes()).collect();
        let body = match encoding {
            "gzip" => read_all(flate2::read::GzEncoder::new(data.as_slice(), flate2::Compression::fast())),
            "deflate" => {
                read_all(flate2::read::ZlibEncoder::new(data.as_slice(), flate2::Compression::fast()))
            }
            "zstd" => zstd::encode_all(data.as_slice(), 1).unwrap(),
            _ => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(&data).unwrap();
                encoder.finish().unwrap()
            }
        };
        let insert = |body: Vec<u8>| {
            let request = engine.writer("/").parameter("query", "INSERT INTO encoded FORMAT TSV");
            request.header("Content-Encoding", encoding).body(body).send()
        };
        assert_eq!(insert(body.clone()).status, 200, "{encoding}");
        let cut = body[..body.len() / 2].to_vec();
        assert_ne!(insert(cut).status, 200, "{encoding} cut short");
        let found = engine.ask(&format!("SELECT count(), sum(a) FROM encoded WHERE how = '{encoding}'"));
        assert_eq!(found, "50000\t1249975000", "{encoding}");
    }
    let unknown = engine.reader("/").header("Content-Encoding", "br").body("SELECT 1").send();
    assert_eq!(unknown.refusal().1, 89);
}

#[test]
fn clickhouses_own_blocks_pass_both_ways() {
    let engine = Engine::shared();
    engine.run("CREATE TABLE blocks (a UInt64, b String) ENGINE = MergeTree ORDER BY a");
    // What it writes it must read: the response's blocks are an insert's body.
    let packed = engine
        .reader("/?compress=1")
        .body("SELECT number AS a, toString(number) AS b FROM numbers(200000) FORMAT Native")
        .send();
    assert_eq!(packed.status, 200);
    assert!(packed.complete);
    let insert = |body: Vec<u8>| {
        engine
            .writer("/?decompress=1")
            .parameter("query", "INSERT INTO blocks FORMAT Native")
            .body(body)
            .send()
    };
    let mut damaged = packed.body.clone();
    damaged[40] ^= 1;
    assert_eq!(insert(damaged).refusal().1, 40);
    assert_eq!(engine.ask("SELECT count() FROM blocks"), "0");
    assert_eq!(insert(packed.body).status, 200);
    assert_eq!(engine.ask("SELECT count(), sum(a) FROM blocks"), "200000\t19999900000");
}
