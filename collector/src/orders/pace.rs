//! How many receipts one agent may hand in. An honest one hands in the next when the last is stored, which is some ten
//! a second; whoever has an agent's login could hand in as many as the network takes, and all of it would go through
//! the state of operations. What is beyond is not taken, and counted; an honest agent hands it in again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Receipts of one agent that are looked at in a second.
pub const RECEIPTS_PER_SECOND: u32 = 50;
/// Agents that are told apart; beyond it those that are not known yet have to wait for the next second.
const MOST_AGENTS: usize = 20_000;
/// Agents whose excess is told by name until somebody takes it.
const MOST_NAMED: usize = 1_000;

/// How much of this second was used up, by agent.
#[derive(Debug, Default)]
pub(super) struct Pace {
    second: u64,
    taken: HashMap<String, u32>,
}

impl Pace {
    /// Whether one more receipt of this agent is looked at in this second.
    pub(super) fn takes(&mut self, agent: &str, second: u64) -> bool {
        if second != self.second {
            self.second = second;
            self.taken.clear();
        }
        if let Some(taken) = self.taken.get_mut(agent) {
            *taken = taken.saturating_add(1);
            return *taken <= RECEIPTS_PER_SECOND;
        }
        let is_room = self.taken.len() < MOST_AGENTS;
        if is_room {
            self.taken.insert(agent.to_owned(), 1);
        }
        is_room
    }
}

/// Receipts beyond the pace, by agent, until they are taken note of. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Excess(Arc<Mutex<BTreeMap<String, u64>>>);

impl Excess {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One receipt of this agent was not looked at. No agent has the empty name: it stands for all others.
    pub(super) fn note(&self, agent: &str) {
        let mut all = self.lock();
        let is_named = all.len() < MOST_NAMED || all.contains_key(agent);
        *all.entry(if is_named { agent.to_owned() } else { String::new() }).or_default() += 1;
    }

    /// All of it since this was asked last.
    pub(super) fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_has_its_share_of_a_second_and_takes_nobody_elses() {
        let mut pace = Pace::default();
        let taken = |pace: &mut Pace, agent: &str, second, many| {
            (0..many).filter(|_| pace.takes(agent, second)).count() as u32
        };
        assert_eq!(taken(&mut pace, "loud", 7, 700), RECEIPTS_PER_SECOND);
        assert_eq!(taken(&mut pace, "calm", 7, 10), 10);
        assert_eq!(taken(&mut pace, "loud", 8, 700), RECEIPTS_PER_SECOND, "and again in the next");
        let names = (0..2 * MOST_AGENTS).filter(|number| pace.takes(&format!("a{number}"), 9)).count();
        assert_eq!(names, MOST_AGENTS, "made-up names take no more memory than that");
    }

    #[test]
    fn excess_is_told_once_and_by_so_many_names() {
        let excess = Excess::default();
        for number in 0..MOST_NAMED + 5 {
            excess.note(&format!("a{number}"));
            excess.note("a0");
        }
        let told = excess.take();
        assert_eq!((told.len(), told["a0"], told[""]), (MOST_NAMED + 1, 1 + MOST_NAMED as u64 + 5, 5));
        assert!(excess.take().is_empty());
    }
}
