//! The golden frames: what each is made from. Their bytes are committed; see `golden.rs` beside this
//! directory for what is held against them.

use fettle_shared::frame::{seal_dropped, DroppedRange, FrameMeta, MAX_KEY_TEXT, MAX_SCANS};

use super::host::{processes, second, Shape, SplitMix};
use super::{catalogue, OwnKey, Recorder, Rows};

/// Scans of the golden frames begin here: 2026-01-01 00:00:00 UTC.
pub const START_US: i64 = 1_767_225_600_000_000;

/// A golden frame's name, its bytes, and the rows it must hold.
#[derive(Debug)]
pub struct Golden {
    /// File stem.
    pub name: &'static str,
    /// What the encoder gives today.
    pub bytes: Vec<u8>,
    /// What a reader must get.
    pub rows: Vec<Rows>,
}

type Fill = fn(&mut Recorder);

/// All golden frames.
pub fn all() -> Vec<Golden> {
    let made: [(&'static str, Fill); 7] = [
        ("empty", |_| ()),
        ("small", small),
        ("texts", texts),
        ("gaps", gaps),
        ("absent", absent),
        ("extremes", extremes),
        ("big", big),
    ];
    let mut golden: Vec<Golden> = made.into_iter().map(|(name, fill)| make(name, fill)).collect();
    golden.push(second_frame());
    golden.push(dropped());
    golden
}

/// One committed frame.
pub fn committed(name: &str) -> Vec<u8> {
    let path = path(name, "frame");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Where a golden file stands.
pub fn path(name: &str, suffix: &str) -> std::path::PathBuf {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/golden").join(format!("{name}.{suffix}"))
}

fn meta(seq: u64) -> FrameMeta<'static> {
    FrameMeta { agent: "golden-1", boot: 0x0123_4567_89ab_cdef, seq }
}

fn make(name: &'static str, fill: Fill) -> Golden {
    let mut recorder = Recorder::new(catalogue());
    fill(&mut recorder);
    let (bytes, _, rows) = recorder.seal(&meta(1));
    Golden { name, bytes, rows }
}

fn small(recorder: &mut Recorder) {
    let host = recorder.add(1, &[]);
    recorder.scan(1, START_US);
    recorder.push(&host, &[1, -2, 3_000_000]);
}

fn texts(recorder: &mut Recorder) {
    let names = ["sda", "", "nvme0n1", "été", "日本"];
    let disks: Vec<_> = names.iter().map(|name| recorder.add(2, &[OwnKey::Text((*name).into())])).collect();
    let long = "é".repeat(MAX_KEY_TEXT / 2);
    let mounts = [("/", 1), ("/", 2), (long.as_str(), 0), ("/home", u64::MAX)]
        .map(|(path, volume)| recorder.add(40, &[OwnKey::Text(path.into()), OwnKey::Int(volume)]));
    for scan in 0..3 {
        recorder.scan(2, START_US + scan * 333_333);
        recorder.scan(40, START_US + scan * 333_334);
        for (at, disk) in disks.iter().enumerate() {
            recorder.push(disk, &[scan, at as i64 * 100, -1, 5]);
        }
        mounts.iter().for_each(|mount| recorder.push(mount, &[7, scan * scan]));
    }
}

/// Entities that come late, leave early, miss scans, come back, and one key with two owners.
fn gaps(recorder: &mut Recorder) {
    let steady = recorder.add(11, &[OwnKey::Int(1)]);
    let mut early = Some(recorder.add(11, &[OwnKey::Int(50)]));
    let mut late = None;
    let blinking = recorder.add(11, &[OwnKey::Int(20)]);
    for scan in 0..10i64 {
        recorder.scan(11, START_US + scan * 100_000);
        recorder.push(&steady, &[scan / 4, 0, 0, 9, 9, 9, 9, 9]);
        if scan % 3 == 1 {
            recorder.push(&blinking, &[scan, 1, 1, 1, 1, 1, 1, scan / 6]);
        }
        match scan {
            4 => recorder.remove(early.take().expect("once")),
            5 => late = Some(recorder.add(11, &[OwnKey::Int(3)])),
            7 => early = Some(recorder.add(11, &[OwnKey::Int(50)])),
            _ => (),
        }
        if let Some(early) = &early {
            recorder.push(early, &[5; 8]);
        }
        if let Some(late) = &late {
            recorder.repeat(late);
        }
    }
}

fn absent(recorder: &mut Recorder) {
    recorder.set_present(11, &[true, false, false, true, true, false, true, false]);
    recorder.set_present(2, &[false, false, false, true]);
    let process = recorder.add(11, &[OwnKey::Int(9)]);
    let disk = recorder.add(2, &[OwnKey::Text("sda".into())]);
    for scan in 0..2 {
        recorder.scan(11, START_US + scan);
        recorder.scan(2, START_US - scan);
        recorder.push(&process, &[1, 2, 3, 4, 5, 6, 7 + scan, 8]);
        recorder.push(&disk, &[0, 0, scan, 77]);
    }
}

/// The ends of 64 bits, the ends of time, and as many scans as a frame takes.
fn extremes(recorder: &mut Recorder) {
    let ends = [i64::MIN, i64::MAX, 0, -1, 1, u64::MAX as i64, i64::MIN + 1, i64::MAX - 1];
    let process = recorder.add(11, &[OwnKey::Int(u64::MAX)]);
    let other = recorder.add(11, &[OwnKey::Int(0)]);
    let cpu = recorder.add(999, &[OwnKey::Int(65_535)]);
    recorder.scan(999, 0);
    recorder.repeat(&cpu);
    recorder.scan(999, 7_258_118_399_999_999);
    recorder.push(&cpu, &[i64::MIN]);
    for scan in 0..MAX_SCANS {
        recorder.scan(11, START_US);
        let mut row = ends;
        row.rotate_left(scan % 8);
        recorder.push(&process, &row);
        if scan == 127 {
            recorder.push(&other, &ends);
        }
    }
}

const BIG: Shape = Shape { processes: 60, scans: 20, changing: 10 };

fn big(recorder: &mut Recorder) {
    let mut random = SplitMix(42);
    let mut table = processes(recorder, BIG, &mut random);
    second(recorder, &mut table, BIG, START_US, &mut random);
}

/// A frame after another: what was known from the first must stand in the second again.
fn second_frame() -> Golden {
    let mut recorder = Recorder::new(catalogue());
    let mut random = SplitMix(43);
    let shape = Shape { processes: 5, scans: 3, changing: 30 };
    let mut table = processes(&mut recorder, shape, &mut random);
    second(&mut recorder, &mut table, shape, START_US, &mut random);
    recorder.seal(&meta(1));
    let (gone, _) = table.remove(2);
    recorder.remove(gone);
    recorder.scan(11, START_US + 1_000_000);
    table.iter().for_each(|(handle, _)| recorder.repeat(handle));
    let (bytes, _, rows) = recorder.seal(&meta(2));
    Golden { name: "second", bytes, rows }
}

/// What the golden report says.
pub const DROPPED: [DroppedRange; 3] = [
    DroppedRange { boot: 1, first_seq: 1, last_seq: 1, rows: 0, samples: 0 },
    DroppedRange { boot: 1, first_seq: 17, last_seq: 4711, rows: 1_000_000, samples: 40_000_000 },
    DroppedRange { boot: u64::MAX, first_seq: u64::MAX - 9, last_seq: u64::MAX, rows: u64::MAX, samples: 1 },
];

fn dropped() -> Golden {
    let mut bytes = Vec::new();
    seal_dropped(&meta(3), &DROPPED, START_US, &mut bytes);
    Golden { name: "dropped", bytes, rows: Vec::new() }
}
