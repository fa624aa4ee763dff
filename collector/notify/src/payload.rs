//! What each kind of channel is sent: JSON made from a notification. Pure.

use std::collections::BTreeMap;

use fettle_alert::handoff::{AlertView, Notification, NotificationKind, Severity, Standing};
use fettle_alert::manage::word;
use serde_json::{json, Value};

use crate::words::{body, colour, cut, one_line, rfc3339, title};

/// How long Alertmanager shows an alert that nothing more is said about, µs: a reminder renews it.
const SHOWN_US: i64 = 24 * 3_600 * 1_000_000;

/// Slack's incoming webhook (api.slack.com/messaging/webhooks).
pub fn slack(notification: &Notification) -> Value {
    json!({
        "text": format!("*{}*", escaped(&cut(&title(notification), 1_000))),
        "attachments": [{
            "color": colour(notification),
            "text": escaped(&cut(&body(notification), 7_000)),
            "footer": format!("fettle {}", notification.id),
            "ts": notification.at_us / 1_000_000,
        }],
    })
}

/// Slack reads `&`, `<` and `>` as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A webhook without a template of its own: the notification as it is, with its title.
pub fn plain(notification: &Notification) -> Value {
    let mut value = serde_json::to_value(notification).unwrap_or_default();
    value["version"] = json!(1);
    value["title"] = json!(title(notification));
    value
}

/// PagerDuty Events API v2 (developer.pagerduty.com, "Send an Alert Event").
pub fn pagerduty(notification: &Notification, key: &str) -> Value {
    let action = match notification.kind {
        NotificationKind::Resolved => "resolve",
        NotificationKind::Acknowledged => "acknowledge",
        _ => "trigger",
    };
    let mut event = json!({
        "routing_key": key,
        "event_action": action,
        "dedup_key": dedup_key(&notification.group),
    });
    if action != "trigger" {
        return event;
    }
    let first = notification.alerts.first();
    event["client"] = json!("fettle");
    event["payload"] = json!({
        "summary": cut(&title(notification), 1_024),
        "source": notification.labels.get("host").map_or("fettle", String::as_str),
        "severity": match notification.severity {
            Severity::Critical => "critical",
            Severity::High => "error",
            Severity::Medium => "warning",
            Severity::Low => "info",
        },
        "timestamp": rfc3339(notification.at_us),
        "component": notification.labels.get("component"),
        "group": notification.group,
        "class": first.map(|alert| alert.rule.clone()),
        "custom_details": {
            "reason": notification.reason,
            "notification": notification.id,
            "incident": notification.incident,
            "probable_cause": notification.cause,
            "alerts_total": notification.alerts_total,
            "details": cut(&body(notification), 50_000),
        },
    });
    let runbooks = notification.alerts.iter().filter_map(|alert| alert.runbook.as_ref()).take(5);
    event["links"] = runbooks.map(|href| json!({ "href": href, "text": "runbook" })).collect();
    event
}

/// A group's name at PagerDuty, at most 255 bytes: the same for as long as the group is.
fn dedup_key(group: &str) -> String {
    let key = format!("fettle:{group}");
    if key.len() <= 255 {
        return key;
    }
    format!("{}:{:016x}", cut(&key, 200), fettle_alert::handoff::fingerprint(group, &BTreeMap::new()))
}

/// Alertmanager's `POST /api/v2/alerts` (its openapi.yaml). `None`: there is nothing it should hear.
pub fn alertmanager(notification: &Notification) -> Option<Value> {
    if notification.kind == NotificationKind::Acknowledged {
        return None;
    }
    let mut alerts: Vec<Value> = notification.alerts.iter().map(|view| posted(view, notification)).collect();
    if alerts.is_empty() {
        alerts.push(json!({
            "labels": {
                "alertname": "fettle_digest",
                "severity": word(notification.severity),
                "group": notification.group,
            },
            "annotations": { "summary": title(notification), "description": cut(&body(notification), 8_000) },
            "startsAt": rfc3339(notification.at_us),
        }));
    }
    Some(Value::Array(alerts))
}

fn posted(view: &AlertView, notification: &Notification) -> Value {
    let mut labels: BTreeMap<String, String> =
        view.labels.iter().map(|(name, value)| (label_name(name), one_line(value))).collect();
    labels.retain(|_, value| !value.is_empty());
    labels.insert("alertname".to_owned(), view.rule.clone());
    labels.insert("severity".to_owned(), word(view.severity).to_owned());
    let mut annotations = BTreeMap::from([("summary".to_owned(), view.summary.clone())]);
    for (name, text) in [("description", Some(&view.description)), ("runbook_url", view.runbook.as_ref())] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            annotations.insert(name.to_owned(), text.clone());
        }
    }
    if let Some(cause) = &notification.cause {
        annotations.insert("probable_cause".to_owned(), cause.clone());
    }
    let over = view.standing == Standing::Resolved;
    let ends_us =
        if over { view.resolved_us.unwrap_or(notification.at_us) } else { notification.at_us + SHOWN_US };
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(view.since_us.min(ends_us)),
        "endsAt": rfc3339(ends_us),
    })
}

/// Alertmanager takes letters, digits and `_` in a label's name, no digit first.
fn label_name(name: &str) -> String {
    let mut clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if clean.is_empty() || clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}
