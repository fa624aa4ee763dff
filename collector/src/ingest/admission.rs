//! Which frames are new. A frame at or below its boot's watermark, or in a range above it, is stored
//! already; one that is in the batch being written is on its way; any other is new. Pure: what
//! ClickHouse knows comes in at the start, and what becomes stored is told as it happens.

use std::collections::{BTreeMap, HashMap, HashSet};

/// What is known of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it.
    New,
    /// It is in a batch that is not yet written; it is acknowledged with that batch or comes again.
    InFlight,
    /// ClickHouse has it; every number up to this one is stored.
    Stored {
        /// The boot's watermark.
        upto: u64,
    },
}

#[derive(Debug, Default)]
struct Boot {
    upto: u64,
    /// Ranges above `upto`, first to last, inclusive, apart.
    above: BTreeMap<u64, u64>,
    in_flight: HashSet<u64>,
}

/// What is stored and what is on its way, per agent and boot.
#[derive(Debug, Default)]
pub struct Admission {
    agents: HashMap<String, HashMap<u64, Boot>>,
}

impl Admission {
    /// Starts from what the ledger says of one boot.
    pub fn load(&mut self, agent: &str, boot: u64, upto: u64, above: &[(u64, u64)]) {
        let known = self.boot(agent, boot);
        known.upto = known.upto.max(upto);
        for &(first, last) in above {
            known.above.insert(first, last);
        }
    }

    fn boot(&mut self, agent: &str, boot: u64) -> &mut Boot {
        if !self.agents.contains_key(agent) {
            self.agents.insert(agent.to_owned(), HashMap::new());
        }
        self.agents.entry(agent.to_owned()).or_default().entry(boot).or_default()
    }

    /// Asks about a frame; a new one is in flight from now on.
    pub fn admit(&mut self, agent: &str, boot: u64, seq: u64) -> Verdict {
        let known = self.boot(agent, boot);
        if known.has(seq) {
            return Verdict::Stored { upto: known.upto };
        }
        if known.in_flight.insert(seq) {
            Verdict::New
        } else {
            Verdict::InFlight
        }
    }

    /// Takes back an admission: the frame was not taken after all and may come again.
    pub fn release(&mut self, agent: &str, boot: u64, seq: u64) {
        self.boot(agent, boot).in_flight.remove(&seq);
    }

    /// Notes that a frame is in the ledger; gives the boot's new watermark.
    pub fn stored(&mut self, agent: &str, boot: u64, seq: u64) -> u64 {
        let known = self.boot(agent, boot);
        known.in_flight.remove(&seq);
        known.add(seq);
        known.upto
    }

    /// The watermark of a boot.
    pub fn upto(&self, agent: &str, boot: u64) -> u64 {
        self.agents.get(agent).and_then(|boots| boots.get(&boot)).map_or(0, |known| known.upto)
    }

    /// How many agents are known.
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Sequence numbers known to be missing below the highest stored, over all agents.
    pub fn holes(&self) -> u64 {
        self.agents.values().flat_map(HashMap::values).map(Boot::holes).sum()
    }
}

impl Boot {
    fn has(&self, seq: u64) -> bool {
        seq <= self.upto || self.above.range(..=seq).next_back().is_some_and(|(_, last)| seq <= *last)
    }

    fn add(&mut self, seq: u64) {
        if self.has(seq) {
            return;
        }
        let mut first = seq;
        let mut last = seq;
        if let Some((&start, &end)) = self.above.range(..seq).next_back() {
            if end + 1 == seq {
                first = start;
            }
        }
        if let Some(end) = self.above.remove(&(seq + 1)) {
            last = end;
        }
        if first == self.upto + 1 {
            self.above.remove(&first);
            self.upto = last;
        } else {
            self.above.insert(first, last);
        }
    }

    fn holes(&self) -> u64 {
        let mut before = self.upto;
        let mut holes = 0;
        for (&first, &last) in &self.above {
            holes += first - before - 1;
            before = last;
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_frame_is_new_once() {
        let mut admission = Admission::default();
        admission.load("a", 7, 10, &[(12, 13)]);
        assert_eq!(admission.admit("a", 7, 10), Verdict::Stored { upto: 10 });
        assert_eq!(admission.admit("a", 7, 13), Verdict::Stored { upto: 10 });
        assert_eq!(admission.admit("a", 7, 11), Verdict::New);
        assert_eq!(admission.admit("a", 7, 11), Verdict::InFlight);
        assert_eq!(admission.stored("a", 7, 11), 13);
        assert_eq!(admission.admit("a", 7, 11), Verdict::Stored { upto: 13 });
        assert_eq!(admission.admit("a", 8, 1), Verdict::New, "another boot counts for itself");
        admission.release("a", 8, 1);
        assert_eq!(admission.admit("a", 8, 1), Verdict::New);
    }

    proptest! {
        #[test]
        fn the_ranges_are_a_set(seqs in proptest::collection::vec(1u64..60, 0..120)) {
            let mut boot = Boot::default();
            let mut model = BTreeSet::new();
            for seq in seqs {
                boot.add(seq);
                model.insert(seq);
                for probe in 1..61 {
                    prop_assert_eq!(boot.has(probe), model.contains(&probe));
                }
                let upto = (1..).take_while(|n| model.contains(n)).last().unwrap_or(0);
                prop_assert_eq!(boot.upto, upto);
                let highest = *model.iter().next_back().unwrap();
                prop_assert_eq!(boot.holes(), highest - model.len() as u64);
            }
        }
    }
}
