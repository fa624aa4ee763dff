//! Where everything that operations hear comes together: findings go to the alerts and to whoever mends,
//! reports make the picture of the fleet and verify what was done. Plain code without I/O: it is told the time,
//! and what it wants done comes out as a [`Turn`], to be carried out once the state is saved.

use std::collections::BTreeMap;

use fettle_alert::handoff::{Finding, Labels, Notification, Standing};
use fettle_alert::manage::{self, Dependencies, Manager};
use fettle_decide::operator::run::Run;
use fettle_decide::operator::{self, Effect, Operator, Page, PageKind, VerifyFacts};
use fettle_decide::planner::HOST_SILENT_US;
use fettle_decide::policy::Policy;
use fettle_decide::world::{ComponentView, HostView, Place, World};
use fettle_shared::command::{Order, Receipt};
use fettle_shared::error_kind::ErrorKind;
use fettle_shared::inventory::Inventory;
use serde::Serialize;

use super::history::History;
use super::receipts::Floods;
use super::report::HostReport;
use super::saved::{Saved, VERSION};
use super::taken::NotTaken;

/// Hosts that are known at most.
const MOST_HOSTS: usize = 20_000;
/// Room is made for a new host at the cost of one not heard of for this long, µs.
const MAY_GO_US: i64 = 3600 * 1_000_000;
/// Pages are said again this often, µs, so that they do not go stale.
const RESAY_US: i64 = 10_000_000;

/// What is to be done once the state is saved.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Orders to be given.
    pub orders: Vec<Order>,
    /// Notifications to be sent.
    pub notifications: Vec<Notification>,
    /// Whether anything changed that must survive.
    pub changed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    pub manager: Manager,
    pub operator: Operator,
    pub policy: Policy,
    pub world: World,
    pub history: History,
    /// The text of the routes and channels in force; empty: those that are built in.
    pub alerting: String,
    /// The operator's files that could not be taken.
    pub not_taken: NotTaken,
    /// Saved states that were refused since this collector took over, by reason.
    pub refused_states: BTreeMap<&'static str, u64>,
    /// Agents that hand in more receipts than are taken.
    pub floods: Floods,
    pages: BTreeMap<String, Page>,
    said_us: i64,
    swept_us: i64,
    inventories: BTreeMap<String, Inventory>,
    seen_version: u64,
    dirty: bool,
    /// Messages that try channels; not saved, as nobody minds their loss.
    trials: Vec<Notification>,
}

impl Desk {
    /// Goes on from what was saved, or begins anew.
    pub(super) fn new(saved: Option<Saved>, config: manage::Config, policy: Policy) -> Self {
        let saved = saved.filter(|saved| saved.version == VERSION).unwrap_or_default();
        let mut desk = Self {
            manager: Manager::restore(config, saved.manager),
            operator: Operator::restore(saved.operator),
            policy,
            world: World::default(),
            history: saved.history,
            alerting: saved.alerting,
            not_taken: NotTaken::default(),
            refused_states: BTreeMap::new(),
            floods: Floods::of(saved.pages.values()),
            pages: saved.pages,
            said_us: 0,
            swept_us: 0,
            inventories: BTreeMap::new(),
            seen_version: 0,
            dirty: false,
            trials: Vec::new(),
        };
        for inventory in saved.inventories.into_values() {
            desk.inventory(inventory);
        }
        for (host, seen_us) in saved.heard {
            if let Some(view) = desk.world.hosts.get_mut(&host) {
                view.seen_us = seen_us;
            }
        }
        desk
    }

    /// What a component's checks last complained of; empty while it is well.
    pub(super) fn complaint_of(&self, host: &str, component: &str) -> &str {
        let declared = self.inventories.get(host).and_then(|inventory| inventory.components.get(component));
        declared.map_or("", |declared| declared.complaint.as_str())
    }

    /// What is to be saved, as JSON.
    pub(super) fn save(&self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            version: u32,
            manager: &'a manage::State,
            operator: &'a operator::State,
            history: &'a History,
            pages: &'a BTreeMap<String, Page>,
            inventories: &'a BTreeMap<String, Inventory>,
            alerting: &'a str,
            heard: BTreeMap<&'a str, i64>,
        }
        serde_json::to_vec(&View {
            version: VERSION,
            manager: self.manager.state(),
            operator: self.operator.state(),
            history: &self.history,
            pages: &self.pages,
            inventories: &self.inventories,
            alerting: &self.alerting,
            heard: self.world.hosts.iter().map(|(host, view)| (host.as_str(), view.seen_us)).collect(),
        })
    }

    /// Takes what the owner of a partition tells of a host.
    pub(super) fn report(&mut self, report: &HostReport, now_us: i64) {
        // What checks complain of first: what is done about an alert depends on it.
        for (name, seen) in report.components.iter().filter(|(_, seen)| !seen.up) {
            if let Some(kind) = ErrorKind::of_number(seen.error_kind) {
                self.operator.complains(&Place::new(&report.host, name), kind, now_us);
            }
        }
        if report.at_us != 0 {
            self.manager.heard(&report.host, report.at_us, now_us);
        }
        if !report.findings.is_empty() {
            self.manager.findings(&report.findings, now_us);
            for finding in &report.findings {
                self.operator.alert(finding, &self.policy, now_us);
            }
        }
        if report.at_us == 0 || !self.room_for(&report.host) {
            return;
        }
        let view = self.world.hosts.entry(report.host.clone()).or_default();
        view.seen_us = now_us;
        view.values.clone_from(&report.values);
        for (name, seen) in &report.components {
            let known = view.components.entry(name.clone()).or_default();
            if known.up != Some(false) && !seen.up {
                known.down_since_us = report.at_us;
            }
            known.up = Some(seen.up);
            known.kind.clone_from(&seen.kind);
            known.critical = seen.critical;
            known.replicas = Some(seen.replicas);
        }
        self.observe(report);
    }

    /// Shows whoever verifies what was seen. Only a second that began after an action ended is fresh.
    fn observe(&mut self, report: &HostReport) {
        let at_us = report.at_us - 1_000_000;
        let Some(view) = self.world.hosts.get(&report.host) else { return };
        let others_up: BTreeMap<String, bool> =
            report.components.iter().map(|(name, seen)| (name.clone(), seen.up)).collect();
        for (name, seen) in &report.components {
            let known = view.components.get(name);
            let needs = known.map_or(&[][..], |known| known.depends_on.as_slice());
            let facts = VerifyFacts {
                up: Some(seen.up),
                dependencies_up: Some(needs.iter().all(|need| others_up.get(need).copied().unwrap_or(true))),
                others_up: others_up.clone(),
                replicas: Some(seen.replicas),
                replica_bounds: known.and_then(|known| known.replica_bounds),
                values: report.values.clone(),
            };
            self.operator.observe(&report.host, name, &facts, at_us);
        }
        let facts = VerifyFacts { others_up, values: report.values.clone(), ..VerifyFacts::default() };
        self.operator.observe(&report.host, "", &facts, at_us);
    }

    /// Takes what an agent tells of its host's file.
    pub(super) fn inventory(&mut self, inventory: Inventory) {
        if !self.room_for(&inventory.host) {
            return;
        }
        let view: &mut HostView = self.world.hosts.entry(inventory.host.clone()).or_default();
        view.offers = Some(inventory.offers.clone());
        view.components.retain(|name, _| inventory.components.contains_key(name));
        for (name, declared) in &inventory.components {
            let known: &mut ComponentView = view.components.entry(name.clone()).or_default();
            known.kind.clone_from(&declared.kind);
            known.depends_on.clone_from(&declared.depends_on);
            known.critical = declared.critical;
            known.replica_bounds = declared.replica_bounds;
            known.release_changed_us = declared.release_changed_us;
            known.offers = Some(declared.offers.clone());
        }
        let changed = self.inventories.get(&inventory.host) != Some(&inventory);
        if changed {
            self.inventories.insert(inventory.host.clone(), inventory);
            self.dirty = true;
            self.tell_dependencies();
        }
    }

    fn tell_dependencies(&mut self) {
        let needs = |inventory: &Inventory| {
            let one = |(name, declared): (&String, &fettle_shared::inventory::Declared)| {
                (name.clone(), declared.depends_on.clone())
            };
            inventory.components.iter().map(one).collect()
        };
        let all: Dependencies =
            self.inventories.iter().map(|(host, inventory)| (host.clone(), needs(inventory))).collect();
        self.manager.set_dependencies(all);
    }

    /// What the newest inventory says a component complains of.
    pub(super) fn complaints(&mut self, inventory: &Inventory, now_us: i64) {
        for (name, declared) in inventory.components.iter().filter(|(_, one)| !one.complaint.is_empty()) {
            let place = Place::new(&inventory.host, name);
            self.operator.output(&place, &declared.complaint, now_us);
        }
    }

    /// Takes an agent's word on an action.
    pub(super) fn receipt(&mut self, receipt: &Receipt, now_us: i64) {
        self.operator.receipt(receipt, &self.policy, &self.world, now_us);
        self.history.action(receipt, now_us);
        self.dirty = true;
    }

    /// Decides. What it gives may be carried out once the state is saved, if it says that it changed.
    pub(super) fn turn(&mut self, now_us: i64) -> Turn {
        let mut turn = Turn::default();
        self.forget(now_us);
        for numbered in self.operator.tick(&self.policy, &self.world, now_us.unsigned_abs(), now_us) {
            match numbered.effect {
                Effect::Audit(record) => self.history.audit(&record),
                Effect::Send(order) => turn.orders.push(order),
                Effect::Page(page) => {
                    self.pages.insert(page.id.clone(), page);
                    self.said_us = 0;
                }
                Effect::Changed { plan, state } => {
                    tracing::info!(plan, state, "a plan has changed");
                }
            }
            // It stands in what is saved next; an order in flight is sent again after a restart.
            self.operator.confirm(numbered.number);
            self.dirty = true;
        }
        self.say_pages(now_us);
        let mended = self.operator.being_mended(now_us).filter_map(manage::unhex).collect();
        self.manager.set_being_mended(mended);
        let set_back = self.manager.state().set_back;
        for change in self.manager.tick(now_us).transitions {
            self.history.alert(&change);
            self.dirty = true;
        }
        if self.manager.state().set_back > set_back {
            tracing::warn!(
                "alerts were ahead of this host's clock for a minute and follow it back; see that all collectors' clocks agree"
            );
        }
        turn.notifications = self.manager.due(now_us);
        self.manager.sending(turn.notifications.iter().map(|one| one.id.as_str()));
        turn.notifications.append(&mut self.trials);
        turn.changed = std::mem::take(&mut self.dirty) || self.manager.version() != self.seen_version;
        self.seen_version = self.manager.version();
        turn
    }

    /// The state was not saved: it must be tried again.
    pub(super) fn still_unsaved(&mut self) {
        self.dirty = true;
    }

    /// Sends a message that tries a channel with the next turn.
    pub(super) fn try_channel(&mut self, message: Notification) {
        self.trials.push(message);
    }

    /// Notes a change that must be saved.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Calls for a person are alerts of their own, as long as their reason lasts.
    fn say_pages(&mut self, now_us: i64) {
        if now_us - self.said_us < RESAY_US {
            return;
        }
        self.said_us = now_us;
        let state = self.operator.state();
        let fires = |page: &Page| state.incidents.get(&page.incident).is_some_and(|one| one.incident.firing);
        let seen_us = |page: &Page| self.world.hosts.get(&page.place.host).map_or(0, |host| host.seen_us);
        let lasts = |page: &Page| match page.kind {
            PageKind::Storm => state.storm_until_us > now_us,
            PageKind::LocalTooMany => {
                state.local_words.get(&page.place.host).is_some_and(|said| said.too_many)
            }
            PageKind::ReceiptsTooMany => self.floods.lasts(&page.place.host),
            PageKind::Approval => state.runs.get(&page.plan).is_some_and(Run::live),
            PageKind::GaveUp | PageKind::Distrusted | PageKind::NotTakenBack => fires(page),
            // In the dark the alert's last word says little: it takes data of the host to end it.
            PageKind::Unverified => fires(page) || seen_us(page) <= page.at_us,
        };
        let (on, over): (Vec<&Page>, Vec<&Page>) = self.pages.values().partition(|page| lasts(page));
        let mut findings: Vec<Finding> =
            on.into_iter().map(|page| page_finding(page, Standing::Firing, now_us)).collect();
        let ended: Vec<String> = over.iter().map(|page| page.id.clone()).collect();
        findings.extend(over.into_iter().map(|page| page_finding(page, Standing::Resolved, now_us)));
        for id in &ended {
            self.pages.remove(id);
            self.dirty = true;
        }
        if !findings.is_empty() {
            self.manager.findings(&findings, now_us);
        }
    }

    /// Makes room for a host, at the cost of the one that has been silent the longest, if that is long.
    fn room_for(&mut self, host: &str) -> bool {
        let hosts = &mut self.world.hosts;
        if hosts.len() < MOST_HOSTS || hosts.contains_key(host) {
            return true;
        }
        let newest_us = hosts.values().map(|view| view.seen_us).max().unwrap_or_default();
        let oldest = hosts.iter().min_by_key(|(_, view)| view.seen_us);
        let gone =
            oldest.filter(|(_, view)| newest_us - view.seen_us > MAY_GO_US).map(|(name, _)| name.clone());
        let Some(gone) = gone else { return false };
        hosts.remove(&gone);
        self.inventories.remove(&gone);
        true
    }

    /// Forgets hosts that have left the fleet, with their inventories. One that was never heard of, but has an
    /// inventory, is silent from now on.
    fn forget(&mut self, now_us: i64) {
        for view in self.world.hosts.values_mut().filter(|view| view.seen_us == 0) {
            view.seen_us = now_us - HOST_SILENT_US - 1;
        }
        if now_us - self.swept_us < RESAY_US {
            return;
        }
        self.swept_us = now_us;
        self.floods.forget(now_us);
        let (hosts, gone_us) = (&mut self.world.hosts, self.policy.host_gone_us);
        hosts.retain(|_, view| now_us - view.seen_us < gone_us);
        let known = self.inventories.len();
        self.inventories.retain(|host, _| hosts.contains_key(host));
        if self.inventories.len() < known {
            self.dirty = true;
            self.tell_dependencies();
        }
    }
}

fn page_finding(page: &Page, standing: Standing, now_us: i64) -> Finding {
    let kind = serde_json::to_value(page.kind).ok().and_then(|v| v.as_str().map(str::to_owned));
    let mut labels = Labels::new();
    for (name, value) in [
        ("host", &page.place.host),
        ("component", &page.place.component),
        ("incident", &page.incident),
        ("plan", &page.plan),
    ] {
        if !value.is_empty() {
            labels.insert(name.into(), value.clone());
        }
    }
    Finding {
        rule: format!("mending_{}", kind.unwrap_or_default()),
        labels,
        severity: page.severity,
        standing,
        value: 1.0,
        at_us: now_us,
        since_us: page.at_us,
        summary: page.summary.clone(),
        description: page.summary.clone(),
        runbook: None,
        action: None,
    }
}

#[cfg(test)]
mod tests {
    use fettle_alert::handoff::NotificationKind::{Firing, Resolved};

    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;
    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_host_of_a_saved_inventory_is_silent_and_goes_with_it_when_the_policy_says() {
        const WEEK_US: i64 = 7 * 24 * 3600 * SECOND;
        assert_eq!(Policy::built_in().host_gone_us, WEEK_US);
        goes_after(&Policy::built_in(), WEEK_US);
        goes_after(&Policy::read("host_gone_after: 2h\n").unwrap(), 2 * 3600 * SECOND);
    }

    fn goes_after(policy: &Policy, gone_us: i64) {
        let desk_of = |saved| Desk::new(saved, manage::Config::default(), policy.clone());
        let mut desk = desk_of(None);
        for number in 0..3 {
            let host = format!("web-{number}");
            desk.inventory(Inventory { host, ..Inventory::default() });
        }
        let again = |desk: &Desk| desk_of(Some(serde_json::from_slice(&desk.save().unwrap()).unwrap()));
        desk.turn(NOW);
        let silent = |desk: &Desk, now_us| {
            desk.world.hosts.values().filter(|view| now_us - view.seen_us > HOST_SILENT_US).count()
        };
        assert_eq!(silent(&desk, NOW), 3);
        // A restart does not make them younger, and one of them lives.
        let mut desk = again(&desk);
        let later_us = NOW + gone_us;
        desk.turn(later_us - 60 * SECOND);
        assert_eq!(desk.world.hosts.len(), 3);
        let report = HostReport { host: "web-1".to_owned(), at_us: later_us, ..HostReport::default() };
        desk.report(&report, later_us);
        let turn = desk.turn(later_us);
        assert!(turn.changed);
        assert_eq!(desk.world.hosts.keys().collect::<Vec<_>>(), ["web-1"]);
        assert_eq!(again(&desk).inventories.keys().collect::<Vec<_>>(), ["web-1"]);
    }

    #[test]
    fn a_plan_that_ended_in_the_dark_is_an_alert_until_its_host_is_seen() {
        let mut desk = Desk::new(None, manage::Config::default(), Policy::built_in());
        let page = Page {
            id: "unverified-p1-0".to_owned(),
            kind: PageKind::Unverified,
            severity: fettle_alert::handoff::Severity::High,
            place: Place::new("web-1", "app"),
            summary: "restart of web-1/app was done, and nobody knows whether it helped".to_owned(),
            incident: "i".to_owned(),
            plan: "p1".to_owned(),
            at_us: NOW,
        };
        desk.pages.insert(page.id.clone(), page);
        let mut told = Vec::new();
        for second in 0..60 {
            let now_us = NOW + second * SECOND;
            if second >= 40 {
                let report = HostReport { host: "web-1".to_owned(), at_us: now_us, ..HostReport::default() };
                desk.report(&report, now_us);
            }
            let turn = desk.turn(now_us);
            for one in turn.notifications {
                told.push((second, one.kind, one.alerts[0].rule.clone()));
                desk.manager.sent(&one.id, &manage::Outcome::Sent { by: one.channel.clone() }, now_us);
            }
        }
        let kinds: Vec<_> = told.iter().map(|(_, kind, rule)| (*kind, rule.as_str())).collect();
        assert_eq!(kinds, [(Firing, "mending_unverified"), (Resolved, "mending_unverified")], "{told:?}");
        assert!(told[0].0 <= 2 && (40..=51).contains(&told[1].0), "{told:?}");
    }
}
