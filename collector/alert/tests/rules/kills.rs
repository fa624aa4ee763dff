//! Each fault is told once and its end once, whoever is killed when. The rules, the alerts and a sink are played
//! together, with the order of saving and telling that the collector keeps: it is killed at random times and at every
//! point between two steps, seconds come late, twice or not at all, and whatever was not saved is gone. A service is
//! broken until that was told, and well until that was told.

use std::collections::{BTreeMap, VecDeque};

use fettle_alert::handoff::{Finding, NotificationKind};
use fettle_alert::manage::{Config, Manager, Outcome, State};
use fettle_alert::rules::{Evaluator, RuleSet, Saved, Settings};
use fettle_analysis::second::HostSecond;
use proptest::prelude::*;

use super::support::{one_family, rules, second, START};

const SECOND: i64 = 1_000_000;
const STEP: i64 = SECOND / 4;
const HOST: &str = "h";
/// One that is told at once, one that must hold and be over for a time, one by a window.
const RULES: &str = "
  - {name: down, kind: threshold, expr: component.up == 0, equals: 1, severity: critical}
  - {name: busy, kind: threshold, metric: load.load_1m, above: 5, clear: 3, for: 4s, clear_for: 3s, severity: high}
  - {name: slow, kind: threshold, metric: pressure.some_avg10, reduce: mean, window: 10s, above: 50%, for: 2s, severity: medium}
";
const ALERTING: &str = "
route: { group_by: [rule, host, component], group_wait: 0s }
storm: { similar: 100, total: 10000, window: 1s }
flapping: { changes: 100, window: 1s }
cooldown: 0s
";

/// Numbers from a seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// What is broken by turns.
#[derive(Debug)]
struct Thing {
    rule: &'static str,
    is_broken: bool,
    /// Told of what is so now, or when it changes next.
    next_us: Option<i64>,
    changed_us: i64,
    rounds: usize,
}

/// Somebody killed the collector.
struct Killed;

/// A collector that lives.
struct Life {
    evaluator: Evaluator,
    manager: Manager,
    seen_version: u64,
    /// When its line begins, µs.
    opens_us: i64,
    ticked_us: i64,
    saved_us: i64,
    saved_changes: u64,
}

struct World {
    dice: Dice,
    set: RuleSet,
    now_us: i64,
    things: Vec<Thing>,
    /// Seconds that are not stored yet.
    line: VecDeque<HostSecond>,
    saved_rules: Option<String>,
    saved_state: Option<Vec<u8>>,
    life: Option<Life>,
    /// One in so many steps kills; 0: none.
    danger: u64,
    next_kill_us: i64,
    kills: usize,
    /// What the sink has, in order: id, kind, rule.
    sink: Vec<(String, NotificationKind, String)>,
}

impl World {
    fn new(seed: u64, danger: u64) -> Self {
        let thing = |rule| Thing { rule, is_broken: false, next_us: Some(0), changed_us: 0, rounds: 0 };
        Self {
            dice: Dice(seed | 1),
            set: rules(RULES),
            now_us: i64::from(START) * SECOND,
            things: ["down", "busy", "slow"].map(thing).into(),
            line: VecDeque::new(),
            saved_rules: None,
            saved_state: None,
            life: None,
            danger,
            next_kill_us: 0,
            kills: 0,
            sink: Vec::new(),
        }
    }

    /// One quarter of a second.
    fn step(&mut self) {
        self.now_us += STEP;
        self.turn_things();
        if self.now_us % SECOND == 0 {
            let second = self.shown();
            self.line.push_back(second);
            // What is older is not judged live.
            while self.line.len() > 60 {
                self.line.pop_front();
            }
        }
        let mut life = match self.life.take() {
            Some(life) => life,
            None => self.begin(),
        };
        if self.live(&mut life).is_ok() {
            self.life = Some(life);
        } else {
            self.kills += 1;
            self.next_kill_us = self.now_us + self.dice.below(8_000_000) as i64 + SECOND;
        }
    }

    fn begin(&mut self) -> Life {
        let settings = Settings::default;
        let evaluator = match &self.saved_rules {
            Some(text) => {
                let saved: Saved = serde_json::from_str(text).unwrap();
                Evaluator::restore(&self.set, settings(), saved).0
            }
            None => Evaluator::new(&self.set, settings()),
        };
        let config = Config::from_yaml(ALERTING).unwrap();
        let state = self
            .saved_state
            .as_ref()
            .map_or_else(State::default, |saved| serde_json::from_slice(saved).unwrap());
        let opens_us = self.now_us + self.dice.below(3_000_000) as i64;
        Life {
            evaluator,
            manager: Manager::restore(config, state),
            seen_version: 0,
            opens_us,
            ticked_us: 0,
            saved_us: self.now_us,
            saved_changes: 0,
        }
    }

    /// Between any two steps somebody may pull the plug.
    fn plug(&mut self) -> Result<(), Killed> {
        let by_step = self.danger > 0 && self.dice.below(self.danger) == 0;
        let by_time = self.danger > 0 && self.next_kill_us > 0 && self.now_us >= self.next_kill_us;
        if by_step || by_time {
            return Err(Killed);
        }
        Ok(())
    }

    fn live(&mut self, life: &mut Life) -> Result<(), Killed> {
        if self.now_us >= life.opens_us {
            while let Some(second) = self.line.front().cloned() {
                // A second in fifty is stored and never judged.
                if self.dice.below(50) > 0 {
                    let findings = life.evaluator.second(&second);
                    self.save_rules(life, false)?;
                    let at_us = (i64::from(second.second) + 1) * SECOND;
                    life.manager.heard(HOST, at_us, self.now_us);
                    self.say(life, &findings)?;
                }
                self.plug()?;
                self.line.pop_front();
            }
            life.evaluator.listened(STEP, |_| true, &[]);
        }
        if self.now_us - life.ticked_us >= SECOND / 2 {
            life.ticked_us = self.now_us;
            let findings = life.evaluator.tick(self.now_us);
            self.save_rules(life, self.now_us - life.saved_us >= 10 * SECOND)?;
            self.say(life, &findings)?;
        }
        self.turn(life)
    }

    fn save_rules(&mut self, life: &mut Life, is_due: bool) -> Result<(), Killed> {
        let changes = life.evaluator.changes();
        if is_due || changes != life.saved_changes {
            self.plug()?;
            self.saved_rules = Some(serde_json::to_string(&life.evaluator.save()).unwrap());
            (life.saved_changes, life.saved_us) = (changes, self.now_us);
        }
        self.plug()
    }

    fn say(&mut self, life: &mut Life, findings: &[Finding]) -> Result<(), Killed> {
        // A word in twenty is lost.
        if self.dice.below(20) > 0 {
            life.manager.findings(findings, self.now_us);
        }
        self.plug()
    }

    fn save_state(&mut self, life: &mut Life) -> Result<(), Killed> {
        self.plug()?;
        if life.manager.version() != life.seen_version {
            self.saved_state = Some(serde_json::to_vec(life.manager.state()).unwrap());
            life.seen_version = life.manager.version();
        }
        self.plug()
    }

    /// Decides, saves, sends, saves.
    fn turn(&mut self, life: &mut Life) -> Result<(), Killed> {
        life.manager.tick(self.now_us);
        let due = life.manager.due(self.now_us);
        life.manager.sending(due.iter().map(|one| one.id.as_str()));
        self.save_state(life)?;
        for one in due {
            self.sink.push((one.id.clone(), one.kind, one.alerts[0].rule.clone()));
            self.plug()?;
            life.manager.sent(&one.id, &Outcome::Sent { by: one.channel.clone() }, self.now_us);
            self.save_state(life)?;
        }
        Ok(())
    }

    /// Notifications of a kind about a rule, each id once.
    fn told(&self, kind: NotificationKind, rule: &str) -> usize {
        let ids: BTreeMap<&str, ()> = self
            .sink
            .iter()
            .filter(|(_, one, about)| *one == kind && about == rule)
            .map(|(id, ..)| (id.as_str(), ()))
            .collect();
        ids.len()
    }

    fn turn_things(&mut self) {
        for at in 0..self.things.len() {
            let Thing { rule, is_broken, next_us, changed_us, rounds } = self.things[at];
            let (firing, resolved) =
                (self.told(NotificationKind::Firing, rule), self.told(NotificationKind::Resolved, rule));
            let ended = if is_broken { rounds - 1 } else { rounds };
            assert!(
                firing <= rounds && resolved <= ended,
                "{rule}: fault {rounds}, told {firing} and {resolved}"
            );
            let is_told = firing == rounds && resolved == ended;
            assert!(
                is_told || self.now_us - changed_us < 1_200 * SECOND,
                "{rule}: fault {rounds} is not told after 20 min: {firing} and {resolved}"
            );
            let thing_next = match next_us {
                None if is_told => Some(self.now_us + self.dice.below(20_000_000) as i64),
                other => other,
            };
            self.things[at].next_us = thing_next;
            if thing_next.is_some_and(|next| self.now_us >= next) && rounds < FAULTS + usize::from(is_broken)
            {
                let thing = &mut self.things[at];
                thing.rounds += usize::from(!is_broken);
                (thing.is_broken, thing.next_us, thing.changed_us) = (!is_broken, None, self.now_us);
            }
        }
    }

    fn shown(&self) -> HostSecond {
        let at = (self.now_us / SECOND) as u32 - START;
        let broken = |at: usize| f64::from(u8::from(self.things[at].is_broken));
        let mut second = second(HOST, at, "component", &[(&["web", "pid"], &[("up", 1.0 - broken(0))])]);
        second.families.push(one_family("load", &[(&[], &[("load_1m", 1.0 + 8.0 * broken(1))])]));
        second.families.push(one_family("pressure", &[(&["cpu"], &[("some_avg10", 90.0 * broken(2))])]));
        second.families.sort_by_key(|family| family.family);
        second
    }

    fn is_over(&self) -> bool {
        let told = |thing: &Thing| {
            self.told(NotificationKind::Firing, thing.rule) == FAULTS
                && self.told(NotificationKind::Resolved, thing.rule) == FAULTS
        };
        self.things.iter().all(told)
    }
}

/// Faults of each thing.
const FAULTS: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn each_fault_is_told_once_and_ends_once_whoever_is_killed(seed in any::<u64>(), danger in 20..400u64) {
        let mut world = World::new(seed, danger);
        while !world.is_over() {
            // It must come to an end by itself; after an hour nobody is killed any more.
            if world.now_us - i64::from(START) * SECOND > 3_600 * SECOND {
                world.danger = 0;
            }
            world.step();
        }
        prop_assert!(world.kills > 0);
    }
}
