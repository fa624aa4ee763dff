//! Storms: too much alike in a short time becomes a digest.
//!
//! Alike means: one rule and severity on one route. What is counted are notifications, not alerts: eight disks
//! of one host in one message are no storm. Once `similar` were told within the window, further news of the
//! kind move to the route's storm group, for 5 to 60 minutes by severity; so do news of any kind once
//! `total` were told. There,
//!
//! - non-critical ones are named in a digest 10 s after the storm began and in another one when it ends; what is
//!   worse than all that the digests told of gets a digest 10 s later, and waits no longer than its own severity's;
//! - critical ones are never held back: they are told in batches, the first 1 s later, then 2, 4 … 15 s apart,
//!   each naming every alert of it (50 whole, the rest by name, 2,000 a message).
//!
//! A storm that still goes on when its time is up goes on for as long again, with a digest at each turn.

use crate::handoff::{NotificationKind, Severity};

use super::group::Look;
use super::intake::is_critical;
use super::matchers::word;
use super::reason::Reason;
use super::state::{Group, Storm, Transition};
use super::{push_row, Manager};

/// A storm's key holds its route, rule and severity; neither holds this.
const BETWEEN: char = '\u{1f}';
/// The rule of the storm that counts all of a route.
const ALL: &str = "*";

impl Manager {
    /// What of a group's news is still told by itself; the rest moves to the storm group.
    pub(super) fn without_storms(
        &mut self,
        key: &str,
        group: &mut Group,
        news: Vec<u64>,
        now_us: i64,
    ) -> Vec<u64> {
        let mut kept = Vec::new();
        let mut kinds: Vec<(String, Severity)> = Vec::new();
        let mut moved = Vec::new();
        for id in news {
            let Some(alert) = self.state.alerts.get(&id) else { continue };
            let kind = (alert.rule.clone(), alert.severity);
            if self.is_stormy(&group.route, &kind.0, kind.1, now_us) {
                moved.push((id, kind.1));
            } else {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
                kept.push(id);
            }
        }
        if !kept.is_empty() {
            for (rule, severity) in &kinds {
                self.count_telling(&group.route, rule, *severity, now_us);
            }
            let worst = kinds.iter().map(|(_, severity)| *severity).max().unwrap_or(Severity::Low);
            self.count_telling(&group.route, ALL, worst, now_us);
        }
        if !moved.is_empty() {
            self.move_to_storm(key, group, &moved, now_us);
        }
        kept
    }

    fn storm_key(route: &str, rule: &str, severity: Severity) -> String {
        let severity = if rule == ALL { "" } else { word(severity) };
        format!("{route}{BETWEEN}{rule}{BETWEEN}{severity}")
    }

    /// Whether news of this kind meet a storm; begins one if that is where the limit is.
    fn is_stormy(&mut self, route: &str, rule: &str, severity: Severity, now_us: i64) -> bool {
        let settings = self.config.storm.clone();
        let mut stormy = false;
        for (rule, limit) in [(rule, settings.similar), (ALL, settings.total)] {
            let Some(storm) = self.state.storms.get_mut(&Self::storm_key(route, rule, severity)) else {
                continue;
            };
            if storm.since_us.is_some() {
                storm.came(now_us, limit);
                stormy = true;
                continue;
            }
            storm.tellings.retain(|at| now_us - at < settings.window_us);
            if storm.tellings.len() >= limit {
                storm.since_us = Some(now_us);
                storm.until_us = now_us + settings.suppression_us(storm.severity);
                storm.held = 0;
                storm.digested_upto = None;
                storm.came(now_us, limit);
                let storm = storm.clone();
                self.storm_row(&storm, "begins", now_us);
                stormy = true;
            }
        }
        stormy
    }

    fn count_telling(&mut self, route: &str, rule: &str, severity: Severity, now_us: i64) {
        let limit = if rule == ALL { self.config.storm.total } else { self.config.storm.similar };
        let storm = self
            .state
            .storms
            .entry(Self::storm_key(route, rule, severity))
            .or_insert_with(|| Storm::calm(route, rule, severity));
        storm.severity = storm.severity.max(severity);
        storm.tellings.push_back(now_us);
        while storm.tellings.len() > limit {
            storm.tellings.pop_front();
        }
        self.version += 1;
    }

    fn move_to_storm(&mut self, key: &str, group: &mut Group, moved: &[(u64, Severity)], now_us: i64) {
        let settings = &self.config.storm;
        let (digest_wait_us, first_wait_us) = (settings.digest_wait_us, settings.batch_wait_us.0);
        let storm_key = format!("storm:{}", group.route);
        let mut storm = self.state.groups.remove(&storm_key).unwrap_or_else(|| Group {
            route: group.route.clone(),
            storm: true,
            count: now_us,
            batch_wait_us: first_wait_us,
            ..Group::default()
        });
        for (id, severity) in moved {
            let mut undigested = false;
            group.members.remove(id);
            storm.members.insert(*id);
            if let Some(alert) = self.state.alerts.get_mut(id) {
                alert.groups.retain(|own| own != key && *own != storm_key);
                alert.groups.push(storm_key.clone());
                let (rule, severity) = (alert.rule.clone(), alert.severity);
                undigested |= self.hold_back(&group.route, &rule, severity, now_us);
            }
            if is_critical(*severity) {
                storm.batch_due_us.get_or_insert(now_us + storm.batch_wait_us);
                self.note(*id, now_us, Reason::StormBatched, &storm_key, String::new());
            } else {
                storm.held += 1;
                if undigested {
                    storm.digest_due_us.get_or_insert(now_us + digest_wait_us);
                }
                self.note(*id, now_us, Reason::StormHeld, &storm_key, String::new());
            }
        }
        self.state.groups.insert(storm_key, storm);
        self.version += 1;
    }

    /// Counts an alert with the storms that hold it back; true if no digest of one of them has told of anything as
    /// bad yet. A storm that began with milder ones holds it no longer than its own severity allows.
    fn hold_back(&mut self, route: &str, rule: &str, severity: Severity, now_us: i64) -> bool {
        let mut undigested = false;
        let longest_us = self.config.storm.suppression_us(severity);
        for rule in [rule, ALL] {
            let storm = self.state.storms.get_mut(&Self::storm_key(route, rule, severity));
            if let Some(storm) = storm.filter(|storm| storm.since_us.is_some()) {
                storm.held += usize::from(!is_critical(severity));
                undigested |= storm.digested_upto.is_none_or(|upto| upto < severity);
                if !is_critical(severity) {
                    storm.until_us = storm.until_us.min(now_us + longest_us);
                    storm.severity = storm.severity.max(severity);
                }
            }
        }
        undigested
    }

    /// Ends storms whose time is up, or lets them go on.
    pub(super) fn end_storms(&mut self, now_us: i64) {
        let settings = self.config.storm.clone();
        let mut rows: Vec<(Storm, &str)> = Vec::new();
        let mut ended: Vec<String> = Vec::new();
        for storm in self.state.storms.values_mut() {
            if storm.since_us.is_none() || now_us < storm.until_us {
                continue;
            }
            let limit = if storm.rule == ALL { settings.total } else { settings.similar };
            storm.arrivals.retain(|at| now_us - at < settings.window_us);
            if storm.arrivals.len() >= limit {
                storm.until_us = now_us + settings.suppression_us(storm.severity);
                rows.push((storm.clone(), "goes on"));
            } else {
                rows.push((storm.clone(), "is over"));
                storm.since_us = None;
                storm.tellings.clear();
                storm.arrivals.clear();
            }
            ended.push(storm.route.clone());
        }
        self.state.storms.retain(|_, storm| {
            storm.since_us.is_some()
                || storm.tellings.back().is_some_and(|at| now_us - at < settings.window_us)
        });
        for (storm, what) in rows {
            self.storm_row(&storm, what, now_us);
        }
        for route in ended {
            let lasts =
                self.state.storms.values().any(|storm| storm.route == route && storm.since_us.is_some());
            if let Some(group) = self.state.groups.get_mut(&format!("storm:{route}")) {
                if group.held > 0 || !group.passed.is_empty() {
                    group.digest_due_us = Some(now_us);
                }
                if !lasts {
                    group.batch_wait_us = settings.batch_wait_us.0;
                }
            }
        }
    }

    /// Decides what is told about a route's storm now.
    pub(super) fn flush_storm(&mut self, key: &str, now_us: i64) {
        let Some(mut group) = self.state.groups.remove(key) else { return };
        let Look { news, .. } = self.look(key, &mut group, now_us);
        let severity = |id: &u64| self.state.alerts.get(id).map(|alert| alert.severity);
        let (critical, held): (Vec<u64>, Vec<u64>) =
            news.iter().partition(|id| severity(id).is_some_and(is_critical));
        self.tell_batch(key, &mut group, &critical, now_us);
        self.tell_digest(key, &mut group, &held, now_us);
        if critical.is_empty() && held.is_empty() {
            self.close_if_over(key, &mut group, now_us);
        }
        self.follow_up(key, &mut group, now_us);
        self.put_back(key, group);
    }

    fn tell_batch(&mut self, key: &str, group: &mut Group, critical: &[u64], now_us: i64) {
        if critical.is_empty() {
            group.batch_due_us = None;
            return;
        }
        let due_us = *group.batch_due_us.get_or_insert(now_us + group.batch_wait_us);
        if now_us < due_us {
            return;
        }
        for batch in self.batches(critical) {
            self.tell_firing(key, group, &batch, Reason::StormCritical, now_us);
        }
        group.batch_due_us = None;
        group.batch_wait_us = (group.batch_wait_us * 2).min(self.config.storm.batch_wait_us.1);
    }

    fn tell_digest(&mut self, key: &str, group: &mut Group, held: &[u64], now_us: i64) {
        if held.is_empty() && group.passed.is_empty() {
            group.digest_due_us = None;
            group.held = 0;
            return;
        }
        // Without a time: a storm lasts (its end sets one), or it is over and something came back from a silence.
        let lasts =
            self.state.storms.values().any(|storm| storm.route == group.route && storm.since_us.is_some());
        if group.digest_due_us.is_none() && !lasts {
            group.digest_due_us = Some(now_us + self.config.storm.digest_wait_us);
        }
        if group.digest_due_us.is_none_or(|due_us| now_us < due_us) {
            return;
        }
        let channels = self.route(&group.route).channels.clone();
        let worst = held.iter().filter_map(|id| self.state.alerts.get(id)).map(|alert| alert.severity).max();
        group.told.extend(held);
        group.held = group.held.max(held.len());
        self.tell(key, group, NotificationKind::Digest, &channels, held, Reason::StormDigest, now_us);
        for storm in self.state.storms.values_mut().filter(|storm| storm.route == group.route) {
            if storm.since_us.is_some() {
                storm.digested_upto = storm.digested_upto.max(worst);
            }
        }
        group.digest_due_us = None;
        group.held = 0;
        group.passed.clear();
        if !group.told.is_empty() {
            group.open_us.get_or_insert(now_us);
        }
        group.told_us = now_us;
    }

    fn storm_row(&mut self, storm: &Storm, what: &str, now_us: i64) {
        let row = Transition {
            at_us: now_us,
            alert: String::new(),
            rule: storm.rule.clone(),
            labels: crate::handoff::Labels::new(),
            severity: word(storm.severity).to_owned(),
            value: 0.0,
            from: String::new(),
            to: String::new(),
            reason: Reason::StormHeld.name().to_owned(),
            group: format!("storm:{}", storm.route),
            incident: String::new(),
            text: format!("storm {what}; {} held back", storm.held),
        };
        push_row(&mut self.state.rows, &mut self.state.rows_dropped, row);
        self.version += 1;
    }
}

impl Storm {
    fn calm(route: &str, rule: &str, severity: Severity) -> Self {
        Self {
            route: route.to_owned(),
            rule: rule.to_owned(),
            severity,
            tellings: std::collections::VecDeque::new(),
            arrivals: std::collections::VecDeque::new(),
            since_us: None,
            until_us: 0,
            held: 0,
            digested_upto: None,
        }
    }

    fn came(&mut self, now_us: i64, limit: usize) {
        self.arrivals.push_back(now_us);
        while self.arrivals.len() > limit {
            self.arrivals.pop_front();
        }
    }
}
