//! Replays the fuzzers' seeds on the stable toolchain, so that what a fuzzer once found stays fixed.
//! A seed that made a fuzzer fail belongs into `fuzz/seeds/`; the golden frames stand there already.

mod model;

use std::path::PathBuf;

use fettle_shared::frame::Header;
use model::{attack, golden};

fn seeds(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

fn replay(target: &str, attack: fn(&[u8])) -> usize {
    let files = std::fs::read_dir(seeds(target)).expect("the seeds are in the clone");
    files.map(|file| attack(&std::fs::read(file.expect("a directory entry").path()).expect("a seed"))).count()
}

#[test]
fn every_seed_does_no_harm() {
    if std::env::var_os("FETTLE_WRITE_GOLDEN").is_some() {
        for golden in golden::all() {
            let head = &golden.bytes[..Header::LEN];
            std::fs::write(seeds("header").join(golden.name), head).unwrap();
            std::fs::write(seeds("decode").join(golden.name), attack::seed(&golden.bytes)).unwrap();
        }
    }
    let golden = golden::all().len();
    assert!(replay("header", attack::header) >= golden);
    assert!(replay("decode", attack::frame) >= golden);
}
