//! What goes in comes out: arbitrary scans of arbitrary entities, over several frames, are held
//! against the naive account in `model`.

mod model;

use fettle_shared::frame::{decode, verify, FrameMeta, Header, Reduction, Scratch, MAX_SCANS};
use model::{catalogue, expand, Handle, OwnKey, Recorder};
use proptest::prelude::*;

/// One step of an agent. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Add { family: usize, key: u8 },
    Remove { which: u16 },
    Scan { family: usize, ts: i64 },
    Push { which: u16, values: Vec<i64> },
    Nudge { which: u16, column: u8, by: i64 },
    Repeat { which: u16 },
    Present { family: usize, mask: u16 },
    Seal,
}

const FAMILIES: [u16; 5] = [1, 2, 11, 40, 999];

fn value() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -100i64..100,
        2 => any::<i64>(),
        1 => Just(i64::MIN),
        1 => Just(i64::MAX),
        1 => any::<u64>().prop_map(|v| v as i64),
    ]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => 1_767_225_600_000_000i64..1_767_225_601_000_000,
        1 => Just(0),
        1 => Just(7_258_118_399_999_999),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let family = 0..FAMILIES.len();
    prop_oneof![
        4 => (family.clone(), any::<u8>()).prop_map(|(family, key)| Step::Add { family, key }),
        1 => any::<u16>().prop_map(|which| Step::Remove { which }),
        6 => (family.clone(), time()).prop_map(|(family, ts)| Step::Scan { family, ts }),
        8 => (any::<u16>(), prop::collection::vec(value(), 8)).prop_map(|(which, values)| Step::Push { which, values }),
        8 => (any::<u16>(), any::<u8>(), value()).prop_map(|(which, column, by)| Step::Nudge { which, column, by }),
        8 => any::<u16>().prop_map(|which| Step::Repeat { which }),
        1 => (family, any::<u16>()).prop_map(|(family, mask)| Step::Present { family, mask }),
        1 => Just(Step::Seal),
    ]
}

/// A key of the family's shape; few distinct ones, so that keys collide and come back.
fn key(family: u16, seed: u8) -> Vec<OwnKey> {
    let text = ["", "a", "b", "ab", "é", "\u{10ffff}", "zz", "/dev/sda"][usize::from(seed % 8)];
    let number = [0, 1, 2, 255, 65_535, u64::from(u32::MAX), 1 << 63, u64::MAX][usize::from(seed / 8 % 8)];
    match family {
        1 => Vec::new(),
        2 => vec![OwnKey::Text(text.into())],
        40 => vec![OwnKey::Text(text.into()), OwnKey::Int(number)],
        _ => vec![OwnKey::Int(number)],
    }
}

/// Plays the steps; `sealed` sees every frame.
fn play(steps: &[Step], mut sealed: impl FnMut(Vec<u8>, Header, Vec<model::Rows>)) {
    let mut recorder = Recorder::new(catalogue());
    let mut live: Vec<Handle> = Vec::new();
    let mut seq = 0;
    let mut seal = |recorder: &mut Recorder| {
        seq += 1;
        let (bytes, header, rows) = recorder.seal(&FrameMeta { agent: "prop", boot: 3, seq });
        sealed(bytes, header, rows);
    };
    let pick = |live: &[Handle], which: u16| live.get(usize::from(which) % live.len().max(1)).cloned();
    for step in steps {
        match step {
            Step::Add { family, key: seed } => {
                let family = FAMILIES[*family];
                live.push(recorder.add(family, &key(family, *seed)));
            }
            Step::Remove { which } if !live.is_empty() => {
                let handle = live.swap_remove(usize::from(*which) % live.len());
                recorder.remove(handle);
            }
            Step::Scan { family, ts } => {
                if recorder.builder().scans(FAMILIES[*family]) == MAX_SCANS {
                    seal(&mut recorder);
                }
                recorder.scan(FAMILIES[*family], *ts);
            }
            Step::Push { which, values } => {
                if let Some(handle) = pick(&live, *which) {
                    recorder.push(&handle, &values[..recorder.width(handle.family)]);
                }
            }
            Step::Nudge { which, column, by } => {
                if let Some(handle) = pick(&live, *which) {
                    let mut row = recorder.last(&handle);
                    let at = usize::from(*column) % row.len();
                    row[at] = row[at].wrapping_add(*by);
                    recorder.push(&handle, &row);
                }
            }
            Step::Repeat { which } => {
                if let Some(handle) = pick(&live, *which) {
                    recorder.repeat(&handle);
                }
            }
            Step::Present { family, mask } => {
                let family = FAMILIES[*family];
                let mut present: Vec<bool> =
                    (0..recorder.width(family)).map(|column| mask & (1 << column) != 0).collect();
                present[0] |= !present.contains(&true);
                recorder.set_present(family, &present);
            }
            Step::Remove { .. } => (),
            Step::Seal => seal(&mut recorder),
        }
    }
    seal(&mut recorder);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn decoding_gives_the_rows_that_went_in(steps in prop::collection::vec(step(), 0..300)) {
        let mut scratch = Scratch::default();
        let mut failed = None;
        play(&steps, |bytes, header, expected| {
            let rows: usize = expected.iter().map(|block| block.rows.len()).sum();
            let samples: usize = expected.iter().map(|block| block.rows.len() * block.metrics.len()).sum();
            assert_eq!((header.rows as usize, header.samples as usize), (rows, samples));
            assert_eq!(verify(&bytes), Ok(header));
            match decode(&bytes, &mut scratch) {
                Ok(frame) => {
                    assert_eq!(frame.header, header);
                    assert!(frame.dropped.is_empty());
                    assert_eq!(expand(&frame), expected);
                }
                Err(why) => failed = Some(why),
            }
        });
        prop_assert_eq!(failed, None);
    }

    #[test]
    fn the_same_steps_give_the_same_bytes(steps in prop::collection::vec(step(), 0..120)) {
        let mut first = Vec::new();
        play(&steps, |bytes, _, _| first.push(bytes));
        let mut second = Vec::new();
        play(&steps, |bytes, _, _| second.push(bytes));
        prop_assert_eq!(first, second);
    }

    /// Saying "the same again" and pushing the same values again are one and the same.
    #[test]
    fn repeating_is_pushing_the_last_row(
        rows in prop::collection::vec(prop::option::of(prop::collection::vec(value(), 3)), 1..100)
    ) {
        let frames = [true, false].map(|repeating| {
            let mut recorder = Recorder::new(catalogue());
            let host = recorder.add(1, &[]);
            let mut frames = Vec::new();
            for (at, row) in rows.iter().enumerate() {
                recorder.scan(1, at as i64);
                match row {
                    Some(row) => recorder.push(&host, row),
                    None if repeating => recorder.repeat(&host),
                    None => {
                        let last = recorder.last(&host);
                        recorder.push(&host, &last);
                    }
                }
                if at % 40 == 39 {
                    frames.push(recorder.seal(&FrameMeta { agent: "prop", boot: 3, seq: 1 }).0);
                }
            }
            frames.push(recorder.seal(&FrameMeta { agent: "prop", boot: 3, seq: 2 }).0);
            frames
        });
        prop_assert_eq!(&frames[0], &frames[1]);
    }

    /// Reducing runs is reducing every sample, of one window or of two merged, signed or not.
    #[test]
    fn reductions_are_those_of_every_sample(
        runs in prop::collection::vec((value(), 1u32..200), 1..40), cut: prop::sample::Index, unsigned: bool
    ) {
        let naive = |samples: &[i64]| {
            let order = |v: &&i64| if unsigned { i128::from(**v as u64) } else { i128::from(**v) };
            let sum = samples.iter().fold(0i64, |sum, v| sum.wrapping_add(*v));
            let (min, max) = (samples.iter().min_by_key(order), samples.iter().max_by_key(order));
            Some(Reduction { min: *min?, max: *max?, sum, last: *samples.last()? })
        };
        let reduce = |runs: &[(i64, u32)]| {
            let (values, spans): (Vec<i64>, Vec<u32>) = runs.iter().copied().unzip();
            Reduction::of_runs(&values, &spans, unsigned)
        };
        let samples: Vec<i64> =
            runs.iter().flat_map(|(value, span)| std::iter::repeat_n(*value, *span as usize)).collect();
        prop_assert_eq!(reduce(&runs), naive(&samples));
        let (before, after) = runs.split_at(cut.index(runs.len()));
        let merged = match (reduce(before), reduce(after)) {
            (Some(mut first), Some(second)) => {
                first.merge(&second, unsigned);
                Some(first)
            }
            (first, second) => first.or(second),
        };
        prop_assert_eq!(merged, naive(&samples));
    }
}

/// A stream longer than any limit on what may be allocated ahead still goes through.
#[test]
fn a_frame_at_its_limits_is_read() {
    let mut recorder = Recorder::new(catalogue());
    let mut random = model::host::SplitMix(7);
    let handles: Vec<Handle> = (0..200).map(|pid| recorder.add(11, &[OwnKey::Int(pid)])).collect();
    let mut scans = 0;
    while !recorder.builder().is_full() {
        recorder.scan(11, scans);
        scans += 1;
        for handle in &handles {
            let row: Vec<i64> = (0..8).map(|_| (random.below(4) << 60) as i64).collect();
            recorder.push(handle, &row);
        }
    }
    let (bytes, header, expected) = recorder.seal(&FrameMeta { agent: "full", boot: 1, seq: 1 });
    assert!(header.raw_len > 1 << 20, "{} bytes are no test", header.raw_len);
    let mut scratch = Scratch::default();
    assert_eq!(expand(&decode(&bytes, &mut scratch).unwrap()), expected);
}
