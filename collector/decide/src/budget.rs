//! How much may be done at once and over time, on a host, in a group, in the fleet. What is asked here is
//! asked again right before every order leaves, with what is under way at that moment.
//!
//! A group's share of unhealthy members bounds what is *taken down*: an action on a component that is up
//! counts it, all that are not known to be well (down, not seen, on a host that is silent) and all that are being acted on; an action on one that is down already
//! cannot make the group worse, and counts only what is being acted on. One member may always be acted on,
//! or a group of one could never be mended.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::planner::HOST_SILENT_US;
use crate::policy::{Budget, Policy};
use crate::world::{Place, World};

/// An action that is ordered, verified or rolled back now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flight {
    /// Where.
    pub place: Place,
    /// Its group.
    pub group: String,
}

/// An order that was given, or an action that an agent began by its own rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// When, µs since 1970.
    pub at_us: i64,
    /// Host.
    pub host: String,
    /// Group.
    pub group: String,
}

/// Most orders kept: more than any budget allows is never given.
const GIVEN_MAX: usize = 100_000;

/// Orders of the longest window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Oldest first.
    pub given: Vec<Given>,
}

impl Ledger {
    /// Notes an order, or an agent's own action that is heard of later.
    pub fn give(&mut self, given: Given) {
        let at = self.given.partition_point(|one| one.at_us <= given.at_us);
        self.given.insert(at, given);
        if self.given.len() > GIVEN_MAX {
            self.given.remove(0);
        }
    }

    /// Forgets what no window looks at.
    pub fn forget(&mut self, policy: &Policy, now_us: i64) {
        let budgets = &policy.budgets;
        let longest_us = budgets.host.per_us.max(budgets.group.per_us).max(budgets.fleet.per_us);
        self.given.retain(|one| one.at_us > now_us - longest_us);
    }

    fn count(&self, since_us: i64, which: impl Fn(&Given) -> bool) -> usize {
        self.given.iter().filter(|one| one.at_us > since_us && which(one)).count()
    }
}

/// How many members each group has, and which are not known to be well: made once a tick.
#[derive(Debug, Clone, Default)]
pub struct Groups(BTreeMap<String, (usize, Vec<Place>)>);

impl Groups {
    /// How many members the group has.
    pub fn members(&self, group: &str) -> usize {
        self.0.get(group).map_or(0, |(members, _)| *members)
    }

    /// Groups by the policy's label, of the hosts that have not left the fleet.
    pub fn of(world: &World, policy: &Policy, now_us: i64) -> Self {
        let label = policy.budgets.group_label.as_str();
        let mut groups: BTreeMap<String, (usize, Vec<Place>)> = BTreeMap::new();
        for (host, view) in &world.hosts {
            let silent_us = now_us.saturating_sub(view.seen_us);
            if silent_us >= policy.host_gone_us {
                continue;
            }
            for (name, component) in &view.components {
                let own = if label == "component" {
                    Some(name)
                } else {
                    component.labels.get(label).or_else(|| view.labels.get(label))
                };
                let Some(own) = own else { continue };
                if !groups.contains_key(own) {
                    groups.insert(own.clone(), (0, Vec::new()));
                }
                let Some((members, unwell)) = groups.get_mut(own) else { continue };
                *members += 1;
                if component.up != Some(true) || silent_us > HOST_SILENT_US {
                    unwell.push(Place::new(host, name));
                }
            }
        }
        Self(groups)
    }
}

/// Whether an action may be begun on this place now.
///
/// # Errors
/// One sentence that names the budget that is used up.
pub fn allows(
    policy: &Policy,
    (world, groups): (&World, &Groups),
    ledger: &Ledger,
    flights: &[Flight],
    place: &Place,
    now_us: i64,
) -> Result<(), String> {
    let budgets = &policy.budgets;
    let group = world.group(place, &budgets.group_label);
    if flights.iter().any(|one| one.place == *place) {
        return Err(format!("{place} is being acted on already"));
    }
    within("host", &place.host, budgets.host, ledger, flights, now_us, |host, _| *host == place.host)?;
    if !group.is_empty() {
        within("group", &group, budgets.group, ledger, flights, now_us, |_, own| *own == group)?;
    }
    within("fleet", "", budgets.fleet, ledger, flights, now_us, |_, _| true)?;
    if group.is_empty() || place.component.is_empty() {
        return Ok(());
    }
    let (members, unwell) =
        groups.0.get(&group).map_or((0, &[][..]), |(members, unwell)| (*members, &unwell[..]));
    let most = (members * budgets.max_unhealthy_percent as usize / 100).max(1);
    let acted_on = flights.iter().filter(|one| one.group == group).map(|one| &one.place);
    let mut hurt: BTreeSet<&Place> = acted_on.chain([place]).collect();
    if world.component(place).and_then(|component| component.up) != Some(false) {
        hurt.extend(unwell);
    }
    if hurt.len() > most {
        return Err(format!(
            "of group {group} {} of {} would be unhealthy or acted on; {most} is the most",
            hurt.len(),
            members
        ));
    }
    Ok(())
}

fn within(
    what: &str,
    name: &str,
    budget: Budget,
    ledger: &Ledger,
    flights: &[Flight],
    now_us: i64,
    which: impl Fn(&String, &String) -> bool,
) -> Result<(), String> {
    let name = if name.is_empty() { what.to_owned() } else { format!("{what} {name}") };
    let under_way = flights.iter().filter(|one| which(&one.place.host, &one.group)).count();
    if under_way >= budget.in_flight as usize {
        return Err(format!("{name} has {under_way} actions under way; {} is the most", budget.in_flight));
    }
    let begun = ledger.count(now_us - budget.per_us, |one| which(&one.host, &one.group));
    if begun >= budget.actions as usize {
        let minutes = budget.per_us as f64 / 6e7;
        return Err(format!("{name} had {begun} actions in {minutes} min; {} is the most", budget.actions));
    }
    Ok(())
}

/// Whether one more order may be given by the windows alone: for rolling back, whose place is taken already.
///
/// # Errors
/// One sentence that names the budget that is used up.
pub fn window_allows(
    policy: &Policy,
    ledger: &Ledger,
    place: &Place,
    group: &str,
    now_us: i64,
) -> Result<(), String> {
    let budgets = &policy.budgets;
    let free = |budget: Budget| Budget { in_flight: u32::MAX, ..budget };
    within("host", &place.host, free(budgets.host), ledger, &[], now_us, |host, _| *host == place.host)?;
    if !group.is_empty() {
        within("group", group, free(budgets.group), ledger, &[], now_us, |_, own| own == group)?;
    }
    within("fleet", "", free(budgets.fleet), ledger, &[], now_us, |_, _| true)
}
