//! The spool against a model of what the world outside has seen, by the dice of proptest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fettle_shared::subjects::Stored;
use proptest::prelude::*;

use super::super::medium::{faults, Call};
use super::super::{Spool, SpoolSettings};
use super::{everything, frame, reported, settings, ENOSPC};

#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    Confirm(u8),
    Break(u8),
    Heal,
    Crash,
    CloseAndReopen,
    HostRestart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u8..6).prop_map(Step::Append),
        2 => any::<u8>().prop_map(Step::Confirm),
        1 => (0u8..5).prop_map(Step::Break),
        2 => Just(Step::Heal),
        1 => Just(Step::Crash),
        1 => Just(Step::CloseAndReopen),
        1 => Just(Step::HostRestart),
    ]
}

/// What the world outside has seen and what must still be there.
#[derive(Default)]
struct Model {
    seen: BTreeMap<(u64, u64), Vec<u8>>,
    confirmed: BTreeMap<u64, u64>,
    tag: u64,
}

impl Model {
    /// Reads all there is; a number that was seen before must carry the same bytes.
    fn look(&mut self, spool: &mut Spool) -> Result<BTreeSet<(u64, u64)>, TestCaseError> {
        let mut now = BTreeSet::new();
        for frame in everything(spool) {
            let number = (frame.boot, frame.seq);
            let bytes = frame.bytes.to_vec();
            if let Some(before) = self.seen.get(&number) {
                prop_assert_eq!(before, &bytes, "number {:?} was used twice", number);
            }
            self.seen.insert(number, bytes);
            now.insert(number);
        }
        Ok(now)
    }

    fn is_confirmed(&self, (boot, seq): &(u64, u64)) -> bool {
        self.confirmed.get(boot).is_some_and(|upto| seq <= upto)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens: nothing that was kept is lost unreported, and no number is used twice.
    #[test]
    fn nothing_is_lost_and_no_number_is_used_twice(steps in prop::collection::vec(step(), 1..60)) {
        faults::heal();
        let dir = tempfile::tempdir().unwrap();
        let (mut host, mut broken) = (1, false);
        let small = SpoolSettings { quota: 96 << 10, memory: 32 << 10, ..settings(dir.path()) };
        let (mut spool, _) = Spool::open_on_host(small.clone(), "a", host).unwrap();
        let mut model = Model::default();
        for step in steps {
            let before = model.look(&mut spool)?;
            let mut held_are_lost = false;
            match step {
                Step::Append(scans) => {
                    model.tag += 1;
                    spool.append(frame(model.tag, usize::from(scans)), Instant::now());
                }
                Step::Confirm(share) => {
                    if let Some((boot, seq)) = before.iter().nth(usize::from(share) % before.len().max(1)) {
                        spool.confirm(Stored { boot: *boot, upto: *seq });
                        model.confirmed.insert(*boot, *seq);
                    }
                }
                Step::Break(kind) => {
                    broken = true;
                    let calls: &[Call] = match kind {
                        0 => &[Call::Write],
                        1 => &[Call::Write, Call::Create],
                        2 => &[Call::Write, Call::Truncate],
                        3 => &[Call::Create],
                        _ => &[Call::Write, Call::Truncate, Call::Create, Call::Remove],
                    };
                    faults::fail(calls, ENOSPC);
                }
                Step::Heal => {
                    broken = false;
                    faults::heal();
                    spool.retry(Instant::now() + Duration::from_secs(9));
                }
                Step::Crash | Step::CloseAndReopen | Step::HostRestart => {
                    held_are_lost = broken || spool.counters().held_bytes > 0;
                    if matches!(step, Step::CloseAndReopen) {
                        spool.close();
                    }
                    host += u64::from(matches!(step, Step::HostRestart));
                    drop(spool);
                    faults::heal();
                    broken = false;
                    spool = Spool::open_on_host(small.clone(), "a", host).unwrap().0;
                }
            }
            let after = model.look(&mut spool)?;
            let (gone, _) = reported(&mut spool);
            if !held_are_lost {
                for number in before.difference(&after) {
                    prop_assert!(
                        model.is_confirmed(number) || gone.contains(number),
                        "{:?} is lost after {:?}", number, step
                    );
                }
            }
        }
        faults::heal();
    }
}
