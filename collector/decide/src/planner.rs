//! From an incident to a plan, or to the reason why there is none. A pure function: the same incident,
//! policy, world, memory and time give the same plan, so an incident can be replayed.
//!
//! 1. Entries that match, in the policy's order; if the rule names one, that one alone.
//! 2. Dependencies: what is to be mended is the deepest thing that is broken. If that has an incident of its
//!    own, this one waits for it; if not, the plan is about it.
//! 3. Each strategy is taken as a step or left out with a reason.
//! 4. Neighbours of the same risk are put in the order of their success rates.

use std::collections::BTreeMap;

use fettle_shared::command::Action;

use crate::incident::Incident;
use crate::memory::Memory;
use crate::plan::{LeftOut, NoPlan, Plan, Reason, Step, Why};
use crate::policy::condition::{Facts, Subject};
use crate::policy::{fits, Approval, Entry, Policy, Strategy, Target, Template};
use crate::world::{ComponentView, Place, World};

/// Most steps of a plan.
const STEPS_MAX: usize = 12;
/// A host not heard of for this long cannot be reached, µs.
pub const HOST_SILENT_US: i64 = 30_000_000;

/// What the planner knows beside the policy.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The fleet.
    pub world: &'a World,
    /// What was tried.
    pub memory: &'a Memory,
    /// Places that have an open incident of their own.
    pub incidents: &'a BTreeMap<Place, usize>,
    /// Which plan of the incident it would be, from 1.
    pub number: u32,
}

/// Makes a plan.
///
/// # Errors
/// There is none, and why.
pub fn plan(incident: &Incident, policy: &Policy, known: Known<'_>, now_us: i64) -> Result<Plan, NoPlan> {
    let none = |why| NoPlan { why, left_out: Vec::new() };
    let own = incident.place();
    let host = known.world.hosts.get(&own.host).ok_or_else(|| none(Why::HostUnknown))?;
    if now_us - host.seen_us > HOST_SILENT_US {
        return Err(none(Why::HostUnknown));
    }
    let entries: Vec<&Entry> = matching(incident, policy, known, now_us);
    if entries.is_empty() {
        return Err(none(Why::NoEntry));
    }
    let per_us = entries[0].repeat.per_us;
    let mends = known.memory.mends(&incident.id, now_us - per_us);
    if mends >= entries[0].repeat.max as usize {
        return Err(none(Why::DoesNotLast { mends: mends as u32 }));
    }
    let (place, because) = choose_place(incident, entries[0], known, now_us).map_err(none)?;
    too_often(incident, policy, &entries, known.memory, &place, now_us).map_err(none)?;
    let mut steps = Vec::new();
    let mut left_out = Vec::new();
    for entry in &entries {
        let asked = Asked { incident, policy, entry, known, place: &place, now_us };
        let first = steps.len();
        for strategy in &entry.strategies {
            match asked.step(strategy, steps.is_empty()) {
                Ok(step) if steps.len() < STEPS_MAX && !repeats(&steps, &step) => steps.push(step),
                Ok(_) => {}
                Err(reason) => left_out.push(LeftOut { strategy: name(entry, strategy), reason }),
            }
        }
        order(&mut steps[first..], incident, known.memory);
    }
    if steps.is_empty() {
        return Err(exhausted(left_out));
    }
    let component = known.world.component(&place);
    Ok(Plan {
        id: String::new(),
        incident: incident.id.clone(),
        rule: incident.rule.clone(),
        severity: incident.severity,
        since_us: incident.since_us,
        critical: component.is_some_and(|component| component.critical),
        place,
        created_us: now_us,
        policy: policy.digest.clone(),
        number: known.number,
        because,
        steps,
        left_out,
    }
    .named())
}

/// A target that is acted on again and again is not mended, however long each mend seems to last.
fn too_often(
    incident: &Incident,
    policy: &Policy,
    entries: &[&Entry],
    memory: &Memory,
    place: &Place,
    now_us: i64,
) -> Result<(), Why> {
    let limit = policy.repeat_long;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let attempts = memory.tried(&incident.id, place, now_us - limit.per_us, &names);
    let most = entries.iter().map(|entry| entry.repeat.max).fold(limit.max, u32::max);
    if attempts < most as usize {
        return Ok(());
    }
    Err(Why::TooOften { attempts: attempts as u32, hours: (limit.per_us as f64 / 3.6e9).ceil() as u32 })
}

fn name(entry: &Entry, strategy: &Strategy) -> String {
    format!("{}/{}", entry.name, strategy.name)
}

/// The same action on the same place stands in the plan already, from another entry.
fn repeats(steps: &[Step], step: &Step) -> bool {
    steps.iter().any(|one| one.action == step.action && one.place == step.place)
}

fn exhausted(left_out: Vec<LeftOut>) -> NoPlan {
    let used_up = left_out.iter().any(|one| matches!(one.reason, Reason::UsedUp { .. }));
    let passes = left_out.iter().any(|one| one.reason.passes());
    NoPlan { why: if used_up && !passes { Why::UsedUp } else { Why::NothingLeft }, left_out }
}

/// Entries for the incident.
fn matching<'a>(incident: &Incident, policy: &'a Policy, known: Known<'_>, now_us: i64) -> Vec<&'a Entry> {
    if let Some(wanted) = &incident.action {
        return policy.entries.iter().filter(|entry| entry.name == *wanted).collect();
    }
    let place = incident.place();
    let facts = WorldFacts { known, incident, place: &place, now_us };
    let matches = |entry: &&Entry| {
        let asks = &entry.matches;
        !asks.by_name_only
            && (asks.rules.is_empty() || asks.rules.iter().any(|rule| fits(rule, &incident.rule)))
            && asks
                .labels
                .iter()
                .all(|(name, value)| incident.labels.get(name).is_some_and(|own| fits(value, own)))
            && asks.severity.is_none_or(|least| incident.severity >= least)
            && asks.failure_probability.is_none_or(|least| incident.value >= least && incident.value <= 1.0)
            && asks.pattern.is_none_or(|pattern| incident.pattern == Some(pattern))
            && asks.when.iter().all(|condition| condition.holds(&facts) == Some(true))
    };
    policy.entries.iter().filter(matches).collect()
}

/// What is to be mended: the target of the entry, or the deepest thing it needs that is broken.
fn choose_place(
    incident: &Incident,
    entry: &Entry,
    known: Known<'_>,
    now_us: i64,
) -> Result<(Place, String), Why> {
    let own = incident.place();
    let wanted = target_place(&entry.target, &own);
    let Some(broken) = known.world.deepest_broken(&wanted) else {
        return Ok((wanted, format!("{} on {own}: {}", incident.rule, incident.summary)));
    };
    let reached = known.world.hosts.get(&broken.host).is_some_and(|h| now_us - h.seen_us <= HOST_SILENT_US);
    if known.incidents.contains_key(&broken) || !reached {
        return Err(Why::Waits { dependency: broken });
    }
    Ok((broken.clone(), format!("{} on {own}, which needs {broken}, which is down", incident.rule)))
}

fn target_place(target: &Target, own: &Place) -> Place {
    match target {
        Target::Component => own.clone(),
        Target::Fixed(name) => Place::new(&own.host, name),
        Target::Host => Place::new(&own.host, ""),
    }
}

/// Sorts neighbours of the same risk by their success rates, the best first; equals keep their order. A
/// strategy that waits for another to have failed stays where the policy put it.
fn order(steps: &mut [Step], incident: &Incident, memory: &Memory) {
    let waits = |step: &Step| step.requires.iter().any(|one| one.subject == Subject::PreviousFailed);
    let rate = |step: &Step| memory.rate(&step.strategy, &incident.rule, &step.kind).mean();
    let mut from = 0;
    while from < steps.len() {
        let mut to = from + 1;
        while to < steps.len() && steps[to].risk == steps[from].risk && !waits(&steps[to]) {
            to += 1;
        }
        if !waits(&steps[from]) {
            steps[from..to].sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        }
        from = to;
    }
}

/// A strategy in question.
struct Asked<'a> {
    incident: &'a Incident,
    policy: &'a Policy,
    entry: &'a Entry,
    known: Known<'a>,
    place: &'a Place,
    now_us: i64,
}

impl Asked<'_> {
    fn step(&self, strategy: &Strategy, first: bool) -> Result<Step, Reason> {
        let Self { incident, known, now_us, .. } = *self;
        if strategy.approval == Approval::Never {
            return Err(Reason::Never);
        }
        let place = strategy.target.as_ref().map_or(self.place.clone(), |own| target_place(own, self.place));
        let component = known.world.component(&place);
        if !place.component.is_empty() && component.is_none() {
            return Err(Reason::NoTarget);
        }
        let action = self.action(strategy, &place, component)?;
        let name = name(self.entry, strategy);
        if let Some(until_us) = known.memory.refused_until(action.name(), &place, now_us) {
            return Err(Reason::Refused { until_us });
        }
        let since_us = now_us - strategy.vain_window_us(self.policy);
        let attempts = known.memory.vain(&incident.id, &name, &place, since_us) as u32;
        if attempts >= strategy.max_attempts {
            return Err(Reason::UsedUp { attempts });
        }
        self.prerequisites(strategy, &place, first)?;
        if let Some(until_us) = known.memory.open_until(action.name(), &place, now_us) {
            return Err(Reason::BreakerOpen { until_us });
        }
        if let Some(tried_us) = known.memory.last_tried(&name, &place) {
            let until_us = tried_us + strategy.cooldown_us;
            if until_us > now_us {
                return Err(Reason::CoolingDown { until_us });
            }
        }
        Ok(Step {
            strategy: name,
            group: known.world.group(&place, &self.policy.budgets.group_label),
            kind: component.map(|one| one.kind.clone()).unwrap_or_default(),
            expects: format!("after {} of {place}: {}", action.name(), strategy.verify),
            action,
            requires: strategy.requires.clone(),
            risk: strategy.risk,
            approval: strategy.approval,
            verify: strategy.verify.clone(),
            rollback: strategy.rollback.clone(),
            timeout_s: strategy.timeout_s,
            expires_us: strategy.expires_us,
            place,
        })
    }

    /// The action with everything settled that the policy leaves open.
    fn action(
        &self,
        strategy: &Strategy,
        place: &Place,
        component: Option<&ComponentView>,
    ) -> Result<Action, Reason> {
        let host = self.known.world.hosts.get(&place.host);
        let offers = match component {
            Some(component) => component.offers.as_ref(),
            None => host.and_then(|host| host.offers.as_ref()),
        };
        let entries = match offers {
            Some(offers) => Some(offers.get(strategy.action.name()).ok_or(Reason::NotOffered)?),
            None => None,
        };
        match &strategy.action {
            Template::Exact(action) => Ok(action.clone()),
            // Nobody knows what the host declares: its agent decides, and `default` is the usual name.
            Template::Any(named) => match entries {
                Some(entries) => {
                    entries.first().cloned().map(|one| named.with(one)).ok_or(Reason::NotOffered)
                }
                None => Ok(named.with("default".to_owned())),
            },
            Template::ScaleBy(by) => {
                let unknown = || Reason::Unknown { condition: "component.replicas".to_owned() };
                let component = component.ok_or(Reason::NoTarget)?;
                let now = component.replicas.ok_or_else(unknown)?;
                let (least, most) = component.replica_bounds.unwrap_or((0, u32::MAX));
                let wanted = now.saturating_add_signed(*by).clamp(least, most);
                if wanted == now {
                    let bound = if *by > 0 { "component.replicas < max" } else { "component.replicas > min" };
                    return Err(Reason::Unmet { condition: bound.to_owned() });
                }
                Ok(Action::Scale { replicas: wanted })
            }
        }
    }

    fn prerequisites(&self, strategy: &Strategy, place: &Place, first: bool) -> Result<(), Reason> {
        let Self { incident, known, now_us, .. } = *self;
        let facts = WorldFacts { known, incident, place, now_us };
        for condition in &strategy.requires {
            // A step before it may fail: that is asked again when its turn comes.
            if condition.subject == Subject::PreviousFailed && !first {
                continue;
            }
            let text = || condition.to_string();
            match condition.holds(&facts) {
                Some(true) => {}
                Some(false) => return Err(Reason::Unmet { condition: text() }),
                None => return Err(Reason::Unknown { condition: text() }),
            }
        }
        Ok(())
    }
}

/// Values of subjects in the world.
pub struct WorldFacts<'a> {
    /// The fleet and what was tried.
    pub known: Known<'a>,
    /// The incident.
    pub incident: &'a Incident,
    /// The target.
    pub place: &'a Place,
    /// Now, µs since 1970.
    pub now_us: i64,
}

impl Facts for WorldFacts<'_> {
    fn value(&self, subject: &Subject) -> Option<f64> {
        let world = self.known.world;
        let truth = |up: bool| f64::from(u8::from(up));
        let component = world.component(self.place);
        match subject {
            Subject::AlertFiring => Some(truth(self.incident.firing)),
            Subject::AlertValue => Some(self.incident.value),
            Subject::Up => component?.up.map(truth),
            Subject::UpOf(name) => world.component(&World::resolve(&self.place.host, name))?.up.map(truth),
            Subject::Replicas => component?.replicas.map(f64::from),
            Subject::ReleaseAge => {
                // How long before it went down, while it is down: a release is not to blame for what
                // happened an hour after it.
                let component = component?;
                if component.release_changed_us == 0 {
                    return None;
                }
                let until_us = match component.down_since_us {
                    0 => self.now_us,
                    down_us => down_us,
                };
                let age_s = (until_us - component.release_changed_us) as f64 / 1e6;
                // Changed after it went down: not the cause.
                (age_s >= 0.0).then_some(age_s)
            }
            Subject::Dependencies => Some(truth(world.deepest_broken(self.place).is_none())),
            Subject::PreviousFailed => Some(truth(self.known.memory.any_vain(&self.incident.id, i64::MIN))),
            Subject::Metric(name) => world.hosts.get(&self.place.host)?.values.get(name).copied(),
        }
    }

    fn replica_bounds(&self) -> Option<(u32, u32)> {
        self.known.world.component(self.place)?.replica_bounds
    }
}
