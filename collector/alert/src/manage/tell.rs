//! Writes notifications: which alerts they show, which they only name, what they are called.

use std::collections::BTreeMap;

use crate::handoff::{AlertView, Labels, Notification, NotificationKind, Severity, Standing};

use super::matchers::word;
use super::outbox::notification_id;
use super::reason::Reason;
use super::state::{Alert, Delivery, Group, Outgoing, OUTBOX_MAX};
use super::{hex, Manager};

/// Alerts a notification shows whole.
const SHOWN_MAX: usize = 50;
/// Lines it names others in, and names a line.
const LINES_MAX: usize = 100;
/// See [`LINES_MAX`].
const NAMES_PER_LINE: usize = 20;
/// Longest name of an alert in such a line, bytes.
const NAME_MAX: usize = 80;
/// Time between two digests of what had no room, µs.
const OVERFLOW_EVERY_US: i64 = 5 * super::config::MINUTE;

impl Manager {
    /// Decides one notification to each channel. `about` are the alerts it is about; a firing one shows what
    /// else of the group was told, and what is over, behind them.
    #[allow(clippy::too_many_arguments)] // one call, one decision: each part is another fact of it
    pub(super) fn tell(
        &mut self,
        key: &str,
        group: &mut Group,
        kind: NotificationKind,
        channels: &[String],
        about: &[u64],
        reason: Reason,
        now_us: i64,
    ) {
        let names = self.in_order(group, kind, about);
        let (held_back, lines) = self.lines(group, kind, &names);
        let shown: Vec<AlertView> = names.iter().take(SHOWN_MAX).filter_map(|id| self.view(*id)).collect();
        let severity =
            names.iter().filter_map(|id| self.state.alerts.get(id)).map(|alert| alert.severity).max();
        let (incident, cause) = self.cause_for(&names);
        let mut notification = Notification {
            id: String::new(),
            group: key.to_owned(),
            labels: self.shared_labels(group, &names),
            kind,
            channel: String::new(),
            severity: severity.unwrap_or(Severity::Low),
            alerts: shown,
            alerts_total: names.len(),
            held_back,
            held_back_list: lines,
            incident,
            cause,
            at_us: now_us,
            reason: reason.name().to_owned(),
        };
        group.count += 1;
        for id in about {
            let channels = channels.join(", ");
            self.note(*id, now_us, reason, key, format!("{} to {channels}", kind_name(kind)));
        }
        for channel in channels {
            group.channels.insert(channel.clone());
            notification.channel.clone_from(channel);
            notification.id = notification_id(key, kind, channel, group.count);
            self.post(notification.clone(), names.clone(), now_us);
        }
        self.version += 1;
    }

    fn post(&mut self, notification: Notification, names: Vec<u64>, now_us: i64) {
        if self.state.outbox.len() >= OUTBOX_MAX {
            // The mildest goes, of those the oldest: it may be the new one.
            let mildest = self.state.outbox.iter().map(|(at, out)| (out.notification.severity, *at)).min();
            if let Some((severity, at)) = mildest.filter(|(severity, _)| *severity <= notification.severity) {
                if let Some(out) = self.state.outbox.remove(&at) {
                    let text = format!("{} by one of severity {}", out.notification.id, word(severity));
                    self.note_delivery(&out, now_us, Reason::OutboxFull, &text);
                }
            } else {
                let out = Outgoing { notification, names, delivery: Delivery::Decided, attempts: 0 };
                self.note_delivery(&out, now_us, Reason::OutboxFull, "not taken");
                return;
            }
        }
        self.fresh.push(notification.clone());
        let out = Outgoing { notification, names, delivery: Delivery::Decided, attempts: 0 };
        self.state.outbox.insert(self.state.next_outgoing, out);
        self.state.next_outgoing += 1;
    }

    /// What was decided from there on is no more than a note.
    pub(super) fn soften(&mut self, from: usize) {
        for notification in &mut self.fresh[from..] {
            notification.severity = Severity::Low;
            let id = notification.id.as_str();
            if let Some(out) = self.state.outbox.values_mut().rev().find(|out| out.notification.id == id) {
                out.notification.severity = Severity::Low;
            }
        }
    }

    /// The alerts of a notification: what it is about, the worst first; then the rest of the group.
    fn in_order(&self, group: &Group, kind: NotificationKind, about: &[u64]) -> Vec<u64> {
        let rank = |id: &u64| {
            let alert = self.state.alerts.get(id);
            let severity = alert.map_or(Severity::Low, |alert| alert.severity);
            (std::cmp::Reverse(severity), alert.map_or(0, |alert| alert.began_us), *id)
        };
        let mut first = about.to_vec();
        first.sort_unstable_by_key(rank);
        if kind != NotificationKind::Firing || group.storm {
            return first;
        }
        let known: std::collections::BTreeSet<u64> = about.iter().copied().collect();
        let mut rest: Vec<u64> =
            group.told.union(&group.gone).filter(|id| !known.contains(id)).copied().collect();
        rest.sort_unstable_by_key(rank);
        first.append(&mut rest);
        // Stable: what fires before what is over, the worst first.
        first.sort_by_key(|id| {
            let alert = self.state.alerts.get(id);
            let over = alert.is_none_or(|alert| !alert.shows());
            (over, std::cmp::Reverse(alert.map_or(Severity::Low, |alert| alert.severity)))
        });
        first
    }

    /// How many were held back, and the lines that name them (or the alerts past the shown ones).
    fn lines(&self, group: &Group, kind: NotificationKind, names: &[u64]) -> (usize, Vec<String>) {
        let digest = kind == NotificationKind::Digest;
        let named = if digest { names } else { names.get(SHOWN_MAX..).unwrap_or_default() };
        let mut by_rule: BTreeMap<(std::cmp::Reverse<Severity>, &str), Vec<String>> = BTreeMap::new();
        for alert in named.iter().filter_map(|id| self.state.alerts.get(id)) {
            let kind = (std::cmp::Reverse(alert.severity), alert.rule.as_str());
            by_rule.entry(kind).or_default().push(subject(alert));
        }
        let mut lines = Vec::new();
        for ((severity, rule), subjects) in by_rule {
            for part in subjects.chunks(NAMES_PER_LINE) {
                lines.push(format!("{rule} ({}): {}", word(severity.0), part.join(", ")));
            }
        }
        let mut held_back = 0;
        if digest {
            let passed: usize = group.passed.values().sum();
            held_back = group.held.max(named.len() + passed);
            lines.extend(
                group.passed.iter().map(|(rule, count)| format!("{rule}: {count} more, over already")),
            );
        }
        if lines.len() > LINES_MAX {
            let more = lines.len() - (LINES_MAX - 1);
            lines.truncate(LINES_MAX - 1);
            lines.push(format!("and {more} more such lines"));
        }
        (held_back, lines)
    }

    /// Parts alerts so that a notification about each part shows or names every one of its alerts.
    pub(super) fn batches(&self, ids: &[u64]) -> Vec<Vec<u64>> {
        let mut by_rule: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for id in ids {
            if let Some(alert) = self.state.alerts.get(id) {
                by_rule.entry(&alert.rule).or_default().push(*id);
            }
        }
        let mut batches = vec![Vec::new()];
        let mut lines = 0;
        for line in by_rule.values().flat_map(|ids| ids.chunks(NAMES_PER_LINE)) {
            if lines == LINES_MAX {
                batches.push(Vec::new());
                lines = 0;
            }
            lines += 1;
            if let Some(last) = batches.last_mut() {
                last.extend_from_slice(line);
            }
        }
        batches
    }

    fn shared_labels(&self, group: &Group, names: &[u64]) -> Labels {
        let mut alerts = names.iter().filter_map(|id| self.state.alerts.get(id));
        let Some(first) = alerts.next() else { return group.labels.clone() };
        let mut shared = first.labels.clone();
        for alert in alerts {
            shared.retain(|name, value| alert.labels.get(name) == Some(value));
        }
        for (name, value) in &group.labels {
            shared.entry(name.clone()).or_insert_with(|| value.clone());
        }
        shared
    }

    fn view(&self, id: u64) -> Option<AlertView> {
        let alert = self.state.alerts.get(&id)?;
        let summary =
            if alert.flapping { format!("flapping: {}", alert.summary) } else { alert.summary.clone() };
        Some(AlertView {
            id: hex(id),
            rule: alert.rule.clone(),
            labels: alert.labels.clone(),
            severity: alert.severity,
            standing: if alert.shows() { Standing::Firing } else { Standing::Resolved },
            value: alert.value,
            since_us: alert.since_us,
            resolved_us: alert.resolved_us.filter(|_| !alert.shows()),
            summary,
            description: alert.description.clone(),
            runbook: alert.runbook.clone(),
        })
    }

    /// Tells now and then how many findings had no room.
    pub(super) fn tell_overflow(&mut self, now_us: i64) {
        let overflow = &mut self.state.overflow;
        if overflow.fresh == 0 || (overflow.told_us != 0 && now_us - overflow.told_us < OVERFLOW_EVERY_US) {
            return;
        }
        let fresh = usize::try_from(overflow.fresh).unwrap_or(usize::MAX);
        let by_rule = std::mem::take(&mut overflow.by_rule);
        let lines: Vec<String> =
            by_rule.iter().map(|(rule, count)| format!("{rule}: {count} without room")).collect();
        overflow.fresh = 0;
        overflow.told_us = now_us;
        let route = self.config.routes[0].clone();
        for channel in &route.channels {
            let notification = Notification {
                id: notification_id("overflow", NotificationKind::Digest, channel, now_us),
                group: "overflow".to_owned(),
                labels: Labels::new(),
                kind: NotificationKind::Digest,
                channel: channel.clone(),
                severity: Severity::Critical,
                alerts: Vec::new(),
                alerts_total: 0,
                held_back: fresh,
                held_back_list: lines.clone(),
                incident: None,
                cause: None,
                at_us: now_us,
                reason: Reason::OverflowDigest.name().to_owned(),
            };
            self.post(notification, Vec::new(), now_us);
        }
        self.version += 1;
    }
}

/// What an alert is about, short: its host, then its other labels' values.
pub(super) fn subject(alert: &Alert) -> String {
    let host = alert.labels.get("host").map(String::as_str);
    let rest = alert.labels.iter().filter(|(name, _)| !matches!(name.as_str(), "host" | "family" | "metric"));
    let parts: Vec<&str> = host.into_iter().chain(rest.map(|(_, value)| value.as_str())).collect();
    let mut name = parts.join("/");
    if name.is_empty() {
        name = alert.rule.clone();
    }
    if name.len() > NAME_MAX {
        let mut end = NAME_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

/// A kind as it stands in ids and texts.
pub(super) fn kind_name(kind: NotificationKind) -> &'static str {
    match kind {
        NotificationKind::Firing => "firing",
        NotificationKind::Resolved => "resolved",
        NotificationKind::Escalation => "escalation",
        NotificationKind::Reminder => "reminder",
        NotificationKind::Digest => "digest",
        NotificationKind::Acknowledged => "acknowledged",
    }
}
