//! A notification in words: one line, and some more.

use fettle_alert::handoff::{AlertView, Notification, NotificationKind, Severity, Standing};
use fettle_alert::manage::word;

/// Alerts told one by one.
const ALERTS_MAX: usize = 20;
/// Lines of what was held back.
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
    let told = notification.alerts.len().min(ALERTS_MAX);
    if notification.alerts_total > told {
        lines.push(format!("… and {} more", notification.alerts_total - told));
    }
    if notification.held_back > 0 {
        lines.push(format!("{} were held back by storm protection:", notification.held_back));
    }
    lines.extend(notification.held_back_list.iter().take(HELD_MAX).cloned());
    if notification.held_back_list.len() > HELD_MAX {
        lines.push(format!("… and {} more lines", notification.held_back_list.len() - HELD_MAX));
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
