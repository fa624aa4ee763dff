//! Who lives when: faults of every kind at spread moments and paces, harmless processes beside them. Drawn
//! from a fixed seed, so that every run plans the same.

use super::victim::Kind;

/// Length of a round in seconds.
const ROUND_S: f64 = 120.0;
/// The last moment before a round's end at which a fault may come.
const SPARE_S: f64 = 12.0;
/// Size of a small file system, in bytes.
pub(super) const DISK_BYTES: f64 = 24e6;

/// One process to start.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// What it does.
    pub kind: Kind,
    /// When, in seconds from the beginning.
    pub start_s: f64,
    /// See [`super::victim::Life`].
    pub life_s: f64,
    /// See [`super::victim::Life`].
    pub most_s: f64,
    /// See [`super::victim::Life`].
    pub bend: f64,
    /// See [`super::victim::Life`].
    pub limit: f64,
    /// Round in which it lives.
    pub round: usize,
}

/// splitmix64, as a number from 0 to 1.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.throw()
    }
}

/// The processes of a recording of so many seconds, by start.
pub(super) fn plan(seconds: f64) -> Vec<Planned> {
    let mut dice = Dice(12);
    let mut planned = Vec::new();
    let rounds = (seconds / ROUND_S).floor().max(1.0) as usize;
    for round in 0..rounds {
        let begin = round as f64 * ROUND_S;
        for kind in Kind::FAULTS {
            // One starved process at a time: they would starve each other's neighbours.
            for _ in 0..if kind == Kind::Starvation { 1 } else { 2 } {
                let start = dice.between(0.0, 10.0);
                let life_s = dice.between(40.0, ROUND_S - SPARE_S - 8.0 - start);
                planned.push(Planned {
                    kind,
                    start_s: begin + start,
                    life_s,
                    most_s: ROUND_S - start,
                    bend: [0.8, 1.0, 1.0, 1.5][(dice.throw() * 4.0) as usize % 4],
                    limit: limit(kind, &mut dice),
                    round,
                });
            }
        }
        for kind in Kind::HARMLESS {
            let start = dice.between(0.0, 10.0);
            planned.push(Planned {
                kind,
                start_s: begin + start,
                life_s: dice.between(25.0, 70.0),
                // It lives into the next round: what teaches must be known to have stayed sound.
                most_s: (1.6 * ROUND_S).min(seconds - begin) - start,
                bend: 1.0,
                limit: limit(kind, &mut dice),
                round,
            });
        }
    }
    planned.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    planned
}

fn limit(kind: Kind, dice: &mut Dice) -> f64 {
    match kind {
        Kind::Disk | Kind::Log => DISK_BYTES,
        _ => dice.between(60e6, 160e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_runs_and_all_end_in_time() {
        let planned = plan(480.0);
        assert_eq!(planned.len(), 4 * 11);
        for kind in Kind::FAULTS.into_iter().chain(Kind::HARMLESS) {
            assert!(planned.iter().filter(|one| one.kind == kind).count() >= 4, "{kind:?}");
        }
        assert!(planned.iter().all(|one| one.start_s + one.most_s <= 480.0 + 1e-9));
        let faults = planned.iter().filter(|one| Kind::FAULTS.contains(&one.kind));
        assert!(faults.clone().all(|one| one.life_s + 8.0 < one.most_s), "a fault has its time to come");
    }
}
