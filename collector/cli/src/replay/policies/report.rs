//! What a rehearsal says: a table for eyes, one JSON object for programs.

use std::collections::BTreeMap;

use fettle_decide::rehearsal::{Assume, Done, Fate, Rehearsal, Row, Totals};
use serde_json::{json, Value};

use super::past::Past;
use crate::moment;
use crate::output;
use crate::sql::{terminal_width, Rows};

/// Tells.
pub(super) fn show(rehearsal: &Rehearsal, past: &Past, as_json: bool) {
    if as_json {
        output::line(&whole(rehearsal, past).to_string());
        return;
    }
    let rows: Vec<&Row> = rehearsal.rows.iter().filter(|row| is_shown(row)).collect();
    if !rows.is_empty() {
        output::line(&table(&rows));
    }
    for line in sums(rehearsal, past) {
        output::line(&line);
    }
}

/// Alerts that no entry is for are only counted.
fn is_shown(row: &Row) -> bool {
    row.refused().as_deref() != Some("no_entry")
}

fn table(rows: &[&Row]) -> String {
    let names =
        ["when (UTC)", "host", "component", "alert → strategy", "action", "would it", "then", "really"];
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut table = Rows::new(&names, &[], terminal_width());
    for row in rows {
        let strategy = if row.entry.is_empty() {
            row.rule.clone()
        } else {
            format!("{} → {}/{}", row.rule, row.entry, row.strategy)
        };
        table.push(&[
            moment::show(row.at_us),
            row.place.host.clone(),
            row.place.component.clone(),
            strategy,
            row.action.as_ref().map_or(String::new(), |action| action.name().to_owned()),
            row.words(),
            row.verdict.map(|verdict| word(&verdict)).unwrap_or_default(),
            really(row),
        ]);
    }
    table.render()
}

fn really(row: &Row) -> String {
    let one = |done: &Done| {
        let by = if done.local { " by the agent itself" } else { "" };
        let apart = (done.at_us - row.at_us) as f64 / 1e6;
        let action = done.action.name();
        match row.fate {
            Fate::OnlyReally => format!("{action} {}{by}", done.outcome),
            _ => format!("{action} {}{by} {apart:+.1} s", done.outcome),
        }
    };
    row.really.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The name that a value of an enum without content has in JSON, in words.
fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().replace('_', " ")
}

fn counts(counts: &BTreeMap<String, usize>) -> String {
    let one = |(name, count): (&String, &usize)| format!("{} {count}", name.replace('_', " "));
    let list: Vec<String> = counts.iter().map(one).collect();
    if list.is_empty() {
        "none".to_owned()
    } else {
        list.join(", ")
    }
}

fn sums(rehearsal: &Rehearsal, past: &Past) -> Vec<String> {
    let totals = &rehearsal.totals;
    let history = &past.history;
    let without: usize = totals.without_entry.values().sum();
    let mut lines = vec![
        format!(
            "{} to {}, policy {}: alerts fired {} times, {without} without an entry; {} plans, {} orders ({})",
            moment::rfc3339(history.from_us),
            moment::rfc3339(history.until_us),
            rehearsal.policy,
            totals.alerts,
            totals.plans,
            totals.orders,
            counts(&totals.by_action)
        ),
        format!("verified, {}: {}", assumption(rehearsal.assumed), counts(&totals.verdicts)),
        format!(
            "not done, by reason: {}; done later for: {}",
            counts(&totals.refused),
            counts(&totals.delayed)
        ),
        format!(
            "a person would have been called {} times; storms {}",
            totals.people_called, totals.storms
        ),
    ];
    lines.extend(bounds(totals));
    lines.push(format!(
        "really done then: {}; {} of the orders were given then too, {} actions the policy would not have ordered",
        counts(&totals.really),
        totals.same,
        totals.only_really
    ));
    if without > 0 {
        lines.push(format!("rules without an entry: {}", counts(&totals.without_entry)));
    }
    lines.extend(past.notes.iter().cloned());
    lines
}

fn assumption(assumed: Assume) -> &'static str {
    match assumed {
        Assume::AsItWas => "if no action had changed anything (the most orders there could be)",
        Assume::Helps => "if each action had ended its alert (the fewest orders there could be)",
    }
}

fn bounds(totals: &Totals) -> Option<String> {
    let most = totals.most_of_a_group.as_ref()?;
    Some(format!(
        "most in an hour: {} orders from {}; most of a group at once: {} of {} of {} ({:.0} %) at {}",
        totals.most_in_an_hour,
        moment::rfc3339(totals.that_hour_us),
        most.acted,
        most.members,
        most.group,
        100.0 * most.acted as f64 / most.members.max(1) as f64,
        moment::rfc3339(most.at_us)
    ))
}

fn whole(rehearsal: &Rehearsal, past: &Past) -> Value {
    let mut totals = serde_json::to_value(&rehearsal.totals).unwrap_or_default();
    if let Some(most) = &rehearsal.totals.most_of_a_group {
        totals["most_of_a_group"]["at"] = moment::rfc3339(most.at_us).into();
    }
    if rehearsal.totals.that_hour_us > 0 {
        totals["that_hour"] = moment::rfc3339(rehearsal.totals.that_hour_us).into();
    }
    json!({
        "from": moment::rfc3339(past.history.from_us),
        "to": moment::rfc3339(past.history.until_us),
        "policy": rehearsal.policy,
        "assumed": rehearsal.assumed,
        "rows": rehearsal.rows.iter().map(line).collect::<Vec<_>>(),
        "totals": totals,
        "notes": past.notes,
    })
}

fn line(row: &Row) -> Value {
    let fate = serde_json::to_value(&row.fate).unwrap_or_default();
    let done = |done: &Done| {
        json!({
            "at": moment::rfc3339(done.at_us), "id": done.id, "action": done.action.name(),
            "outcome": done.outcome, "local": done.local,
        })
    };
    json!({
        "at": moment::rfc3339(row.at_us), "host": row.place.host, "component": row.place.component,
        "alert": row.alert, "rule": row.rule, "opened": moment::rfc3339(row.opened_us),
        "closed": row.closed_us.map(moment::rfc3339), "entry": row.entry, "strategy": row.strategy,
        "action": row.action.as_ref().map(|action| action.name()), "parameters": row.action,
        "fate": fate["fate"], "allowed": matches!(row.fate, Fate::Ordered { .. } | Fate::TookBack { .. }),
        "refused": row.refused(), "text": row.words(), "held": row.held, "verdict": row.verdict,
        "really": row.really.iter().map(done).collect::<Vec<_>>(),
    })
}
