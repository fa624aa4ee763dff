//! What the host's own rules want: a pure look at how the components stand. One action at a time for each
//! component, in the order of its rules; each waits for its time anew, counted from the last action's end, and for a
//! check that was made after it.

use std::collections::BTreeMap;
use std::time::Duration;

use fettle_shared::command::Refusal;

use crate::handoff::{ComponentState, ComponentStates};
use crate::host_file::{HostFile, LocalRule};

/// How far the rules of a component that is down have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    /// Since when it has been down, µs since 1970: another time is another outage.
    since_us: i64,
    /// The rule to be tried next.
    next: usize,
    /// When the last action for it ended, µs since 1970.
    ended_us: i64,
    /// What kept the next one back, so that it is logged once.
    refused: Option<Refusal>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules(BTreeMap<String, Progress>);

impl Rules {
    /// The rules whose time has come.
    pub(super) fn due<'a>(
        &mut self,
        host: &'a HostFile,
        states: &ComponentStates,
        silent_for: Duration,
        now_us: i64,
    ) -> Vec<(&'a str, &'a LocalRule)> {
        let is_down = |state: &ComponentState| state.checked && !state.up && !state.stopped;
        self.0.retain(|name, _| states.get(name).is_some_and(is_down));
        let mut due = Vec::new();
        for (name, component) in &host.components {
            let Some(state) = states.get(name).filter(|state| is_down(state)) else { continue };
            if component.local.is_empty() || state.depends_on_down {
                continue;
            }
            let since_us = state.since_us;
            let fresh = Progress { since_us, next: 0, ended_us: 0, refused: None };
            let progress = self.0.entry(name.clone()).or_insert(fresh);
            if progress.since_us != since_us {
                *progress = Progress { ended_us: progress.ended_us, ..fresh };
            }
            let rule = &component.local[progress.next % component.local.len()];
            let from = progress.since_us.max(progress.ended_us);
            let waited = Duration::from_micros(u64::try_from(now_us.saturating_sub(from)).unwrap_or(0));
            let is_alone = rule.alone_for.is_zero() || silent_for >= rule.alone_for;
            if waited >= rule.after && is_alone && state.checked_us > progress.ended_us {
                due.push((name.as_str(), rule));
            }
        }
        due
    }

    /// An action for this component has begun: the next rule is the next one's turn.
    pub(super) fn begun(&mut self, component: &str, now_us: i64) {
        if let Some(progress) = self.0.get_mut(component) {
            progress.next += 1;
            progress.ended_us = now_us;
            progress.refused = None;
        }
    }

    /// Any action on this component has ended, of whomever's.
    pub(super) fn ended(&mut self, component: &str, now_us: i64) {
        if let Some(progress) = self.0.get_mut(component) {
            progress.ended_us = now_us;
        }
    }

    /// An action was not admitted; says whether that is news.
    pub(super) fn refused(&mut self, component: &str, reason: Refusal) -> bool {
        let Some(progress) = self.0.get_mut(component) else { return true };
        progress.refused.replace(reason) != Some(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_file::{Allowed, Check, Component, Runs};
    use fettle_shared::command::Action;

    const SECOND: i64 = 1_000_000;

    fn host() -> HostFile {
        let rule = |action, after, alone| LocalRule {
            action,
            after: Duration::from_secs(after),
            alone_for: Duration::from_secs(alone),
        };
        let component = Component {
            runs: Runs::Nothing,
            check: Check::Process,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures: 1,
            depends_on: Vec::new(),
            critical: false,
            allowed: Allowed::default(),
            local: vec![rule(Action::Restart, 2, 0), rule(Action::Start, 5, 60)],
        };
        HostFile { components: [("web".to_owned(), component)].into(), ..HostFile::default() }
    }

    fn down(since: i64, checked: i64) -> ComponentStates {
        let state = ComponentState {
            checked: true,
            since_us: since * SECOND,
            checked_us: checked * SECOND,
            ..ComponentState::default()
        };
        [("web".to_owned(), state)].into()
    }

    fn due(rules: &mut Rules, states: &ComponentStates, silent: u64, now: i64) -> Option<Action> {
        let host = host();
        let due = rules.due(&host, states, Duration::from_secs(silent), now * SECOND);
        due.first().map(|(_, rule)| rule.action.clone())
    }

    #[test]
    fn rules_come_in_order_each_after_its_time_and_a_fresh_check() {
        let mut rules = Rules::default();
        assert_eq!(due(&mut rules, &down(100, 101), 0, 101), None, "not long enough");
        assert_eq!(due(&mut rules, &down(100, 102), 0, 102), Some(Action::Restart));
        rules.begun("web", 102 * SECOND);
        rules.ended("web", 103 * SECOND);
        assert_eq!(due(&mut rules, &down(100, 103), 99, 109), None, "nobody has looked since");
        assert_eq!(due(&mut rules, &down(100, 107), 99, 107), None, "five seconds from the end on");
        assert_eq!(due(&mut rules, &down(100, 108), 59, 108), None, "the collector is there");
        assert_eq!(due(&mut rules, &down(100, 108), 60, 108), Some(Action::Start));
        rules.begun("web", 108 * SECOND);
        assert_eq!(due(&mut rules, &down(100, 111), 0, 111), Some(Action::Restart), "and round");
        assert_eq!(
            due(&mut rules, &down(120, 123), 0, 123),
            Some(Action::Restart),
            "a new outage begins anew"
        );
    }

    #[test]
    fn nothing_is_due_for_what_is_up_unknown_stopped_or_waits_for_another() {
        let mut rules = Rules::default();
        let with = |change: fn(&mut ComponentState)| {
            let mut states = down(100, 150);
            states.values_mut().for_each(change);
            states
        };
        for states in [
            with(|state| state.up = true),
            with(|state| state.checked = false),
            with(|state| state.stopped = true),
            with(|state| state.depends_on_down = true),
            ComponentStates::new(),
        ] {
            assert_eq!(due(&mut rules, &states, 999, 200), None, "{states:?}");
        }
        assert!(due(&mut rules, &with(|_| ()), 999, 200).is_some());
        assert!(rules.refused("web", Refusal::Frozen));
        assert!(!rules.refused("web", Refusal::Frozen), "said once");
        assert!(rules.refused("web", Refusal::RateLimited));
    }
}
