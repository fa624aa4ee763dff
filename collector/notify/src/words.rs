//! A notification in words: one line, and some more.

use fettle_alert::handoff::{AlertView, Notification, NotificationKind, Severity, Standing};
use fettle_alert::manage::word;

/// Alerts told one by one; the others are named.
const ALERTS_MAX: usize = 20;
/// Names in a line.
const NAMES_PER_LINE: usize = 10;
/// Lines of what was held back. Those that name what fires are all told: nobody may miss a critical one.
const HELD_MAX: usize = 30;

/// One line, without line breaks.
pub fn title(notification: &Notification) -> String {
    let state = match notification.kind {
        NotificationKind::Firing => word(notification.severity).to_uppercase(),
        NotificationKind::Resolved => "RESOLVED".to_owned(),
        NotificationKind::Escalation => format!("ESCALATED {}", word(notification.severity)),
        NotificationKind::Reminder => format!("STILL {}", word(notification.severity)),
        NotificationKind::Digest => "DIGEST".to_owned(),
        NotificationKind::Acknowledged => "ACKNOWLEDGED".to_owned(),
    };
    let what = match (notification.kind, notification.alerts.first()) {
        (NotificationKind::Digest, _) => format!("{} held back", notification.held_back),
        (_, None) => notification.reason.clone(),
        (_, Some(first)) if notification.alerts_total <= 1 => first.summary.clone(),
        (_, Some(first)) => format!("{} and {} more", first.summary, notification.alerts_total - 1),
    };
    one_line(&format!("[{state}] {}: {what}", notification.group))
}

/// The rest, line by line, for people.
pub fn body(notification: &Notification) -> String {
    let mut lines = Vec::new();
    if let Some(cause) = &notification.cause {
        lines.push(format!("Probable cause: {cause}"));
    }
    for alert in notification.alerts.iter().take(ALERTS_MAX) {
        lines.push(line(alert));
        let more = alert.description.trim();
        if !more.is_empty() {
            lines.extend(more.lines().map(|line| format!("    {line}")));
        }
        if let Some(runbook) = &alert.runbook {
            lines.push(format!("    runbook: {runbook}"));
        }
    }
    let others = notification.alerts.get(ALERTS_MAX..).unwrap_or_default();
    for part in others.chunks(NAMES_PER_LINE) {
        lines.push(format!("also {}", part.iter().map(name).collect::<Vec<_>>().join(", ")));
    }
    if notification.alerts_total > notification.alerts.len() {
        lines.push(format!("… and {} more", notification.alerts_total - notification.alerts.len()));
    }
    if notification.held_back > 0 {
        lines.push(format!("{} were held back by storm protection:", notification.held_back));
    }
    let held = &notification.held_back_list;
    let shown =
        if notification.kind == NotificationKind::Digest { held.len().min(HELD_MAX) } else { held.len() };
    lines.extend(held[..shown].iter().cloned());
    if held.len() > shown {
        lines.push(format!("… and {} more lines", held.len() - shown));
    }
    if let Some(incident) = &notification.incident {
        lines.push(format!("Incident {incident}"));
    }
    lines.push(format!("Sent because: {} (notification {})", notification.reason, notification.id));
    lines.join("\n")
}

fn line(alert: &AlertView) -> String {
    let state = match alert.standing {
        Standing::Resolved => "resolved",
        _ => word(alert.severity),
    };
    let labels: Vec<String> = alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    one_line(&format!("[{state}] {}: {} ({}) id {}", alert.rule, alert.summary, labels.join(" "), alert.id))
}

/// An alert's rule and place.
fn name(alert: &AlertView) -> String {
    let label = |name: &str| alert.labels.get(name).map(String::as_str);
    let place: Vec<&str> = ["host", "component"].into_iter().filter_map(label).collect();
    one_line(&format!("{} {}", alert.rule, place.join("/")))
}

/// The same with every run of white space as one blank: a header's value must not hold a line break.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most so many bytes, cut between characters.
pub fn cut(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A colour that says how bad it is; green when it is over.
pub fn colour(notification: &Notification) -> &'static str {
    match (notification.kind, notification.severity) {
        (NotificationKind::Resolved, _) => "#2eb67d",
        (_, Severity::Critical) => "#c0392b",
        (_, Severity::High) => "#e67e22",
        (_, Severity::Medium) => "#f1c40f",
        (_, Severity::Low) => "#3498db",
    }
}

/// A time in µs since 1970 as RFC 3339.
pub fn rfc3339(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn view(number: usize) -> AlertView {
        AlertView {
            id: format!("{number:016x}"),
            rule: "component_down_critical".into(),
            labels: BTreeMap::from([
                ("host".into(), format!("h{number}")),
                ("component".into(), "app".into()),
            ]),
            severity: Severity::Critical,
            standing: Standing::Firing,
            value: 1.0,
            since_us: 0,
            resolved_us: None,
            summary: "it is down".into(),
            description: String::new(),
            runbook: None,
        }
    }

    #[test]
    fn every_alert_of_a_storm_is_named_and_a_digest_is_cut() {
        let line = |from: usize| {
            let names: Vec<String> = (from..from + 20).map(|number| format!("h{number}/app")).collect();
            format!("component_down_critical (critical): {}", names.join(", "))
        };
        let storm = Notification {
            id: "0123456789abcdef".into(),
            group: "storm:root".into(),
            labels: BTreeMap::new(),
            kind: NotificationKind::Firing,
            channel: "mail".into(),
            severity: Severity::Critical,
            alerts: (0..50).map(view).collect(),
            alerts_total: 2_050,
            held_back: 0,
            held_back_list: (0..100).map(|at| line(50 + 20 * at)).collect(),
            incident: None,
            cause: None,
            at_us: 0,
            reason: "storm_critical".into(),
        };
        let text = body(&storm);
        let is_end = |c: char| !c.is_ascii_alphanumeric();
        let words: std::collections::BTreeSet<&str> = text.split(is_end).collect();
        let missing: Vec<usize> = (0..2_050).filter(|n| !words.contains(format!("h{n}").as_str())).collect();
        assert!(missing.is_empty(), "{missing:?} are not named");
        assert!(text.contains("… and 2000 more"), "{text}");
        let digest = Notification { kind: NotificationKind::Digest, held_back: 2_050, ..storm };
        assert!(body(&digest).contains("… and 70 more lines"));
    }
}
