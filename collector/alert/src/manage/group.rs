//! One group at a tick: who is news, who must wait, whether all is over, who has not been acknowledged.

use crate::handoff::NotificationKind;

use super::config::Outside;
use super::intake::is_critical;
use super::reason::Reason;
use super::state::{Alert, Group};
use super::Manager;

/// What a look at a group's alerts found.
#[derive(Default)]
pub(super) struct Look {
    /// Alerts that show, are not told and are not held by anyone.
    pub news: Vec<u64>,
    /// Whether one of them has waited for long enough.
    pub due: bool,
}

impl Manager {
    /// Decides what is told about a group now.
    pub(super) fn flush(&mut self, key: &str, now_us: i64) {
        let Some(mut group) = self.state.groups.remove(key) else { return };
        let look = self.look(key, &mut group, now_us);
        if look.due {
            let news = self.without_storms(key, &mut group, look.news, now_us);
            if !news.is_empty() {
                let reason = self.reason_for(&news);
                self.tell_firing(key, &mut group, &news, reason, now_us);
            }
        } else if look.news.is_empty() {
            self.close_if_over(key, &mut group, now_us);
        }
        self.follow_up(key, &mut group, now_us);
        self.put_back(key, group);
    }

    /// Keeps a group that has something to remember.
    pub(super) fn put_back(&mut self, key: &str, group: Group) {
        let storm = group.storm && (group.digest_due_us.is_some() || !group.passed.is_empty());
        if !group.members.is_empty() || group.open_us.is_some() || storm {
            self.state.groups.insert(key.to_owned(), group);
        } else {
            self.version += 1;
        }
    }

    /// Sorts a group's alerts: over, told, held, waiting, news.
    pub(super) fn look(&mut self, key: &str, group: &mut Group, now_us: i64) -> Look {
        let mut look = Look::default();
        for id in group.members.clone() {
            let Some(alert) = self.state.alerts.get(&id) else {
                group.members.remove(&id);
                group.told.remove(&id);
                group.gone.remove(&id);
                continue;
            };
            if !alert.shows() {
                self.leave(key, group, id, now_us);
                continue;
            }
            group.gone.remove(&id);
            if group.told.contains(&id) {
                continue;
            }
            if let Some((reason, detail)) = self.held(id, alert, group, now_us) {
                self.note(id, now_us, reason, key, detail);
                continue;
            }
            let due_us = self.due_us(alert, group);
            if now_us >= due_us {
                look.due = true;
            } else if !group.storm {
                let waits = group.open_us.map_or(Reason::GroupWait, |_| Reason::GroupInterval);
                self.note(id, now_us, waits, key, String::new());
            }
            look.news.push(id);
        }
        look
    }

    /// An alert of the group is over.
    fn leave(&mut self, key: &str, group: &mut Group, id: u64, now_us: i64) {
        if group.told.remove(&id) {
            group.gone.insert(id);
            if let Some(alert) = self.state.alerts.get_mut(&id) {
                alert.cooled_us = Some(now_us);
            }
            self.version += 1;
        } else if !group.gone.contains(&id) {
            group.members.remove(&id);
            if group.storm {
                let rule = self.state.alerts.get(&id).map(|alert| alert.rule.clone()).unwrap_or_default();
                *group.passed.entry(rule).or_insert(0) += 1;
            }
            if let Some(alert) = self.state.alerts.get_mut(&id) {
                alert.groups.retain(|own| own != key);
            }
            self.note_mended(key, group, id, now_us);
            self.note(id, now_us, Reason::ResolvedUntold, key, String::new());
        }
    }

    /// What was held back because it was being mended, and is over: a note to those who want to know.
    fn note_mended(&mut self, key: &str, group: &mut Group, id: u64, now_us: i64) {
        let channels = self.route(&group.route).mended.clone();
        let last = |alert: &Alert| alert.why.iter().rev().find(|why| why.group == key).map(|why| why.reason);
        let waited = self.state.alerts.get(&id).and_then(last) == Some(Reason::AfterMending);
        if !waited || channels.is_empty() {
            return;
        }
        // Who gets notes is not told the end of what others were told.
        let told = group.channels.clone();
        let from = self.fresh.len();
        self.tell(key, group, NotificationKind::Resolved, &channels, &[id], Reason::Mended, now_us);
        group.channels = told;
        self.soften(from);
    }

    /// Why an alert may not be told now.
    fn held(&self, id: u64, alert: &Alert, group: &Group, now_us: i64) -> Option<(Reason, String)> {
        if let Some(found) = self.suppressed(id, alert, now_us) {
            return Some(found);
        }
        if is_critical(alert.severity) {
            return None;
        }
        let route = self.route(&group.route);
        if route.outside == Outside::Hold && !self.inside_hours(route, now_us) {
            return Some((Reason::OutsideHours, route.hours.clone().unwrap_or_default()));
        }
        if let Some(wait_us) = route.after_mending_us {
            if self.being_mended.contains(&id) && now_us - alert.began_us < wait_us {
                return Some((Reason::AfterMending, String::new()));
            }
        }
        let cooled = alert.cooled_us.is_some_and(|at| now_us - at < self.config.cooldown_us);
        (cooled && !alert.flapping).then(|| (Reason::Cooldown, String::new()))
    }

    fn due_us(&self, alert: &Alert, group: &Group) -> i64 {
        let route = self.route(&group.route);
        let waited = alert.began_us + route.wait_us(alert.severity);
        if group.open_us.is_none() || is_critical(alert.severity) {
            return waited;
        }
        waited.max(group.told_us + route.group_interval_us)
    }

    fn reason_for(&self, news: &[u64]) -> Reason {
        let flaps = |id: &u64| self.state.alerts.get(id).is_some_and(|alert| alert.flapping);
        if news.iter().all(flaps) {
            Reason::Flapping
        } else {
            Reason::New
        }
    }

    /// Says that news fire, and opens the group.
    pub(super) fn tell_firing(
        &mut self,
        key: &str,
        group: &mut Group,
        news: &[u64],
        reason: Reason,
        now_us: i64,
    ) {
        let channels = self.route(&group.route).channels.clone();
        if channels.is_empty() {
            for id in news {
                self.note(*id, now_us, Reason::NoChannel, key, group.route.clone());
            }
        }
        group.told.extend(news);
        self.tell(key, group, NotificationKind::Firing, &channels, news, reason, now_us);
        for id in std::mem::take(&mut group.gone) {
            group.members.remove(&id);
            self.unlink(id, key);
        }
        group.open_us.get_or_insert(now_us);
        group.told_us = now_us;
    }

    /// Says that all is over, to everyone who was told, also under a silence: a pager must close.
    pub(super) fn close_if_over(&mut self, key: &str, group: &mut Group, now_us: i64) {
        if group.open_us.is_none() || !group.told.is_empty() {
            return;
        }
        let gone: Vec<u64> = group.gone.iter().copied().collect();
        let channels: Vec<String> = group.channels.iter().cloned().collect();
        if !gone.is_empty() {
            self.tell(key, group, NotificationKind::Resolved, &channels, &gone, Reason::AllResolved, now_us);
        }
        for id in std::mem::take(&mut group.gone) {
            group.members.remove(&id);
            self.unlink(id, key);
        }
        group.open_us = None;
        group.step = 0;
        group.channels.clear();
        self.version += 1;
    }

    fn unlink(&mut self, id: u64, key: &str) {
        if let Some(alert) = self.state.alerts.get_mut(&id) {
            alert.groups.retain(|own| own != key);
        }
    }

    /// Escalates and reminds, as long as somebody should act who has not said so.
    pub(super) fn follow_up(&mut self, key: &str, group: &mut Group, now_us: i64) {
        let Some(opened_us) = group.open_us else { return };
        let route = self.route(&group.route);
        let steps = route.escalation.as_ref().and_then(|name| self.config.escalations.get(name));
        let step = steps.and_then(|steps| steps.get(group.step)).cloned();
        let step = step.filter(|step| now_us - opened_us >= step.after_us);
        let remind = now_us - group.told_us >= route.repeat_us;
        if step.is_none() && !remind {
            return;
        }
        let channels = route.channels.clone();
        let hold = route.outside == Outside::Hold && !self.inside_hours(route, now_us);
        let live = self.live(key, group, hold, now_us);
        if live.is_empty() {
            return;
        }
        if let Some(step) = step {
            group.step += 1;
            let reason = Reason::Escalated;
            self.tell(key, group, NotificationKind::Escalation, &step.channels, &live, reason, now_us);
            group.told_us = now_us;
        } else {
            self.tell(key, group, NotificationKind::Reminder, &channels, &live, Reason::Reminded, now_us);
            group.told_us = now_us;
        }
    }

    /// Told alerts that somebody should act on: neither acknowledged nor suppressed nor out of hours.
    fn live(&mut self, key: &str, group: &Group, hold: bool, now_us: i64) -> Vec<u64> {
        let mut live = Vec::new();
        for id in &group.told {
            let Some(alert) = self.state.alerts.get(id) else { continue };
            let why = if let Some(taken) = &alert.acknowledged {
                Some((Reason::Acknowledged, format!("by {}", taken.author)))
            } else if hold && !is_critical(alert.severity) {
                Some((Reason::OutsideHours, String::new()))
            } else {
                self.suppressed(*id, alert, now_us)
            };
            match why {
                Some((reason, detail)) => self.note(*id, now_us, reason, key, detail),
                None => live.push(*id),
            }
        }
        live
    }
}
