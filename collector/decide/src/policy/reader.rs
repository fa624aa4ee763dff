//! Reads a policy's text: the whole file and its entries. Every key has a default; every fault is kept with
//! its place.

use fettle_alert::handoff::Severity;
use fettle_shared::error_kind;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::condition::Condition;
use super::quiet::{minute, Quiet};
use super::strategy;
use super::tree::{self, Fields, Node, Reader};
use super::{BreakerLimits, Budget, Budgets, Entry, Match, Policy, PolicyFaults, Repeat, Storm, Target};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;
/// A host that is silent for less may be restarting, and must count as unhealthy meanwhile.
const GONE_LEAST: i64 = 5 * MINUTE;
const KEYS: [&str; 12] = [
    "frozen",
    "entries",
    "budgets",
    "quiet_hours",
    "storm",
    "breaker",
    "repeat",
    "repeat_long",
    "attempt_window",
    "approval_within",
    "refusal_believed",
    "host_gone_after",
];

pub(super) fn read(text: &str) -> Result<Policy, PolicyFaults> {
    let one = |fault| PolicyFaults(vec![fault]);
    let root = tree::read(text).map_err(one)?;
    let mut reader = Reader::default();
    let digest: String =
        Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let policy = reader.map(&root, "a policy", &KEYS).map(|fields| settle(&mut reader, fields, digest));
    match policy {
        Some(policy) if reader.faults.is_empty() => Ok(policy),
        _ => {
            reader.faults.sort();
            Err(PolicyFaults(reader.faults))
        }
    }
}

fn settle(reader: &mut Reader, fields: Fields<'_>, digest: String) -> Policy {
    let read = |reader: &mut Reader, key: &str, default: Repeat| {
        fields.get(key).map_or(default, |node| read_repeat(reader, node, key, default))
    };
    let repeat = read(reader, "repeat", Repeat { max: 5, per_us: 10 * MINUTE });
    let repeat_long = read(reader, "repeat_long", Repeat { max: 12, per_us: 360 * MINUTE });
    let mut entries: Vec<Entry> = Vec::new();
    if let Some(list) = fields.get("entries").and_then(|node| reader.map(node, "`entries`", &[])) {
        for (name, node) in list.pairs() {
            entries.extend(read_entry(reader, name, node, repeat));
        }
    }
    let time = |reader: &mut Reader, key: &str, default: i64| {
        fields.get(key).and_then(|node| reader.duration_us(node, &format!("`{key}`"))).unwrap_or(default)
    };
    let host_gone_us = time(reader, "host_gone_after", 7 * DAY);
    if let Some(node) = fields.get("host_gone_after").filter(|_| host_gone_us < GONE_LEAST) {
        reader.fault(
            node,
            "write `host_gone_after` as at least 5m: a host that restarts has not left the fleet",
        );
    }
    Policy {
        digest,
        frozen: fields.get("frozen").and_then(|node| reader.truth(node, "`frozen`")).unwrap_or(false),
        entries,
        budgets: read_budgets(reader, fields.get("budgets")),
        quiet: fields.get("quiet_hours").map_or_else(Vec::new, |node| read_quiet(reader, node)),
        storm: read_storm(reader, fields.get("storm")),
        breaker: read_breaker(reader, fields.get("breaker")),
        repeat_long,
        attempt_window_us: time(reader, "attempt_window", 60 * MINUTE),
        approval_within_us: time(reader, "approval_within", 30 * MINUTE),
        refusal_believed_us: time(reader, "refusal_believed", 60 * MINUTE),
        host_gone_us,
    }
}

fn read_entry(reader: &mut Reader, name: &str, node: &Node, repeat: Repeat) -> Option<Entry> {
    let fields = reader.map(node, "an entry", &["description", "match", "target", "strategies", "repeat"])?;
    let matches = match fields.get("match") {
        Some(node) => read_match(reader, node),
        None => Match { by_name_only: true, ..Match::default() },
    };
    let target = fields.get("target").map_or(Target::Component, |node| read_target(reader, node));
    let mut strategies = Vec::new();
    match fields.get("strategies") {
        Some(list) => {
            for node in reader.list(list) {
                strategies.extend(strategy::read(reader, node));
            }
            for (at, one) in strategies.iter().enumerate() {
                if strategies[..at].iter().any(|other: &super::Strategy| other.name == one.name) {
                    reader.fault(
                        list,
                        format!("two strategies are named `{}`; give each a `name` of its own", one.name),
                    );
                }
            }
            if strategies.len() > 8 {
                reader.fault(list, "keep to at most 8 strategies in an entry");
            }
        }
        None => reader.fault(node, format!("give `{name}` at least one strategy, under `strategies`")),
    }
    let repeat = reachable(reader, fields.get("repeat"), repeat, &strategies);
    Some(Entry { name: name.to_owned(), matches, target, strategies, repeat })
}

fn read_match(reader: &mut Reader, node: &Node) -> Match {
    let known = ["rules", "labels", "severity", "failure_probability", "pattern", "when"];
    let Some(fields) = reader.map(node, "`match`", &known) else { return Match::default() };
    if fields.pairs().next().is_none() {
        reader.fault(node, "name at least one thing to match, or leave `match` out for an entry by name");
    }
    let severities = [
        ("low", Severity::Low),
        ("medium", Severity::Medium),
        ("high", Severity::High),
        ("critical", Severity::Critical),
    ];
    let mut matches = Match::default();
    if let Some(node) = fields.get("rules") {
        matches.rules = reader.texts(node, "a rule's name");
    }
    if let Some(labels) = fields.get("labels").and_then(|node| reader.map(node, "`labels`", &[])) {
        for (name, node) in labels.pairs() {
            if let Some(value) = reader.text(node, "a label's value") {
                matches.labels.insert(name.to_owned(), value);
            }
        }
    }
    matches.severity = fields.get("severity").and_then(|n| reader.choice(n, "`severity`", &severities));
    matches.failure_probability =
        fields.get("failure_probability").and_then(|n| reader.number(n, "`failure_probability`", 0.0, 1.0));
    matches.pattern = fields.get("pattern").and_then(|n| reader.choice(n, "`pattern`", &error_kind::MATCHED));
    matches.when = fields.get("when").map_or_else(Vec::new, |node| read_conditions(reader, node));
    matches
}

/// A list of conditions.
pub(super) fn read_conditions(reader: &mut Reader, node: &Node) -> Vec<Condition> {
    let mut found = Vec::new();
    for item in reader.list(node) {
        let Some(text) = reader.text(item, "a condition") else { continue };
        match Condition::read(&text) {
            Ok(condition) => found.push(condition),
            Err(what) => reader.fault(item, what),
        }
    }
    found
}

/// `component`, `host`, or a component's name in `{component: NAME}`.
pub(super) fn read_target(reader: &mut Reader, node: &Node) -> Target {
    if let tree::Content::Text(text) = &node.content {
        match text.as_str() {
            "component" => return Target::Component,
            "host" => return Target::Host,
            _ => reader.fault(node, "write `target` as component, host, or {component: NAME}"),
        }
        return Target::Component;
    }
    reader
        .map(node, "`target`", &["component"])
        .and_then(|fields| fields.get("component"))
        .and_then(|name| reader.text(name, "a component's name"))
        .map_or(Target::Component, Target::Fixed)
}

/// An entry's limit of repeats, which its cooldowns must let it reach: what stands in the entry is refused if they never
/// do, and what is taken over counts over as much time as they need.
fn reachable(
    reader: &mut Reader,
    own: Option<&Node>,
    over: Repeat,
    strategies: &[super::Strategy],
) -> Repeat {
    let cooldowns = || strategies.iter().map(|one| one.cooldown_us);
    let Some(node) = own else {
        let longest_us = cooldowns().max().unwrap_or_default();
        return Repeat { per_us: over.per_us.max(super::reach_us(over.max, longest_us)), ..over };
    };
    let own = read_repeat(reader, node, "repeat", over);
    let shortest_us = cooldowns().min().unwrap_or_default();
    if shortest_us.saturating_mul(i64::from(own.max)) > own.per_us {
        let what = format!(
            "{} mends with {} s of cooldown between them never fit into `per`, so this limit is never reached; make \
             `per` longer or `max` smaller",
            own.max,
            shortest_us / SECOND
        );
        reader.fault(node, what);
    }
    own
}

fn read_repeat(reader: &mut Reader, node: &Node, key: &str, default: Repeat) -> Repeat {
    let mut repeat = default;
    if let Some(fields) = reader.map(node, &format!("`{key}`"), &["max", "per"]) {
        if let Some(max) = fields.get("max").and_then(|n| reader.whole(n, "`max`", 1, 1000)) {
            repeat.max = max;
        }
        if let Some(per) = fields.get("per").and_then(|n| reader.duration_us(n, "`per`")) {
            repeat.per_us = per;
        }
    }
    repeat
}

fn read_budgets(reader: &mut Reader, node: Option<&Node>) -> Budgets {
    let mut budgets = Budgets {
        host: Budget { actions: 20, per_us: 10 * MINUTE, in_flight: 2 },
        group: Budget { actions: 40, per_us: 10 * MINUTE, in_flight: 5 },
        fleet: Budget { actions: 120, per_us: 10 * MINUTE, in_flight: 20 },
        group_label: "component".to_owned(),
        max_unhealthy_percent: 34,
    };
    let Some(fields) = node.and_then(|n| reader.map(n, "`budgets`", &["host", "group", "fleet"])) else {
        return budgets;
    };
    if let Some(node) = fields.get("host") {
        read_budget(reader, node, &mut budgets.host, &[]);
    }
    if let Some(node) = fields.get("fleet") {
        read_budget(reader, node, &mut budgets.fleet, &[]);
    }
    if let Some(node) = fields.get("group") {
        let own = ["label", "max_unhealthy_percent"];
        if let Some(fields) = read_budget(reader, node, &mut budgets.group, &own) {
            if let Some(label) = fields.get("label").and_then(|n| reader.text(n, "`label`")) {
                budgets.group_label = label;
            }
            let percent = fields.get("max_unhealthy_percent");
            if let Some(percent) = percent.and_then(|n| reader.whole(n, "`max_unhealthy_percent`", 0, 100)) {
                budgets.max_unhealthy_percent = percent;
            }
        }
    }
    budgets
}

fn read_budget<'a>(
    reader: &mut Reader,
    node: &'a Node,
    budget: &mut Budget,
    own: &[&str],
) -> Option<Fields<'a>> {
    let known: Vec<&str> = ["actions", "per", "in_flight"].iter().chain(own).copied().collect();
    let fields = reader.map(node, "a budget", &known)?;
    if let Some(actions) = fields.get("actions").and_then(|n| reader.whole(n, "`actions`", 0, 100_000)) {
        budget.actions = actions;
    }
    if let Some(per) = fields.get("per").and_then(|n| reader.duration_us(n, "`per`")) {
        if per > DAY {
            reader.fault(node, "count actions over at most one day");
        }
        budget.per_us = per;
    }
    if let Some(most) = fields.get("in_flight").and_then(|n| reader.whole(n, "`in_flight`", 0, 1_000)) {
        budget.in_flight = most;
    }
    Some(fields)
}

fn read_storm(reader: &mut Reader, node: Option<&Node>) -> Storm {
    let mut storm = Storm { alerts: 50, per_us: MINUTE, freeze_us: 5 * MINUTE };
    let known = ["alerts", "per", "freeze"];
    if let Some(fields) = node.and_then(|n| reader.map(n, "`storm`", &known)) {
        if let Some(alerts) = fields.get("alerts").and_then(|n| reader.whole(n, "`alerts`", 1, 1_000_000)) {
            storm.alerts = alerts;
        }
        if let Some(per) = fields.get("per").and_then(|n| reader.duration_us(n, "`per`")) {
            storm.per_us = per;
        }
        if let Some(freeze) = fields.get("freeze").and_then(|n| reader.duration_us(n, "`freeze`")) {
            storm.freeze_us = freeze;
        }
    }
    storm
}

fn read_breaker(reader: &mut Reader, node: Option<&Node>) -> BreakerLimits {
    let mut limits = BreakerLimits { failures: 3, open_us: 10 * MINUTE };
    if let Some(fields) = node.and_then(|n| reader.map(n, "`breaker`", &["failures", "open"])) {
        if let Some(failures) = fields.get("failures").and_then(|n| reader.whole(n, "`failures`", 1, 100)) {
            limits.failures = failures;
        }
        if let Some(open) = fields.get("open").and_then(|n| reader.duration_us(n, "`open`")) {
            limits.open_us = open;
        }
    }
    limits
}

fn read_quiet(reader: &mut Reader, node: &Node) -> Vec<Quiet> {
    reader.list(node).into_iter().filter_map(|item| read_window(reader, item)).collect()
}

fn read_window(reader: &mut Reader, item: &Node) -> Option<Quiet> {
    const DAYS: [(&str, usize); 7] =
        [("mon", 0), ("tue", 1), ("wed", 2), ("thu", 3), ("fri", 4), ("sat", 5), ("sun", 6)];
    let fields = reader.map(item, "quiet hours", &["from", "to", "days", "timezone"])?;
    let mut side = |key: &str| {
        let node = fields.get(key);
        let read = node.and_then(|n| reader.text(n, key)).and_then(|text| minute(&text));
        if read.is_none() {
            reader.fault(node.unwrap_or(item), format!("write `{key}` as a time of day such as \"22:00\""));
        }
        read
    };
    let (from, to) = (side("from"), side("to"));
    let mut days = [true; 7];
    if let Some(node) = fields.get("days") {
        days = [false; 7];
        for item in reader.list(node) {
            if let Some(day) = reader.choice(item, "a day", &DAYS) {
                days[day] = true;
            }
        }
    }
    let zone = match fields.get("timezone") {
        None => TimeZone::UTC,
        Some(node) => {
            let name = reader.text(node, "`timezone`")?;
            match TimeZone::get(&name) {
                Ok(zone) => zone,
                Err(_) => {
                    reader.fault(node, format!("`{name}` is no time zone; write one such as Europe/Berlin"));
                    return None;
                }
            }
        }
    };
    Some(Quiet { days, from_minute: from?, to_minute: to?, zone })
}
