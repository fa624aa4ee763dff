//! Reads one strategy of an entry. What is not written follows from the action: its risk, how it is
//! verified, and what takes it back.

use fettle_shared::command::Action;

use super::condition::Verify;
use super::reader::{read_conditions, read_target};
use super::tree::{Content, Fields, Node, Reader};
use super::{Approval, Named, Risk, Rollback, Strategy, Template};

const KEYS: [&str; 12] = [
    "name",
    "action",
    "target",
    "requires",
    "risk",
    "approval",
    "verify",
    "rollback",
    "max_attempts",
    "cooldown",
    "timeout",
    "expires",
];
const ACTIONS: &str = "restart, start, stop, drop_caches, {signal: NAME}, {renice: NICE}, \
    {limit: {resource: R, value: N}}, {clean_up: NAME}, {fix_permissions: NAME}, {roll_back: NAME}, \
    {fail_over: NAME}, {scale: {by: N}}, {scale: {to: N}} or {run: NAME}, where NAME may be any";

pub(super) fn read(reader: &mut Reader, node: &Node) -> Option<Strategy> {
    let fields = reader.map(node, "a strategy", &KEYS)?;
    let Some(place) = fields.get("action") else {
        reader.fault(node, format!("give the strategy an `action`: {ACTIONS}"));
        return None;
    };
    let action = read_action(reader, place)?;
    let risks = [("low", Risk::Low), ("medium", Risk::Medium), ("high", Risk::High)];
    let words = [("auto", Approval::Auto), ("ask", Approval::Ask), ("never", Approval::Never)];
    let risk =
        fields.get("risk").and_then(|n| reader.choice(n, "`risk`", &risks)).unwrap_or(usual_risk(&action));
    let approval = fields
        .get("approval")
        .and_then(|n| reader.choice(n, "`approval`", &words))
        .unwrap_or(Approval::by_risk(risk));
    let verify = fields.get("verify").map_or_else(Verify::alert_gone, |node| read_verify(reader, node));
    let rollback =
        fields.get("rollback").map_or_else(|| usual_rollback(&action), |node| read_rollback(reader, node));
    let time = |reader: &mut Reader, key: &str, default_s: i64, most_s: i64| {
        let read = fields.get(key).and_then(|node| {
            let us = reader.duration_us(node, &format!("`{key}`"))?;
            if us > most_s * 1_000_000 {
                reader.fault(node, format!("give `{key}` at most {most_s}s"));
            }
            Some(us)
        });
        read.unwrap_or(default_s * 1_000_000)
    };
    Some(Strategy {
        name: fields
            .get("name")
            .and_then(|n| reader.text(n, "`name`"))
            .unwrap_or_else(|| action.name().to_owned()),
        target: fields.get("target").map(|node| read_target(reader, node)),
        requires: fields.get("requires").map_or_else(Vec::new, |node| read_conditions(reader, node)),
        risk,
        approval,
        verify,
        rollback,
        max_attempts: fields
            .get("max_attempts")
            .and_then(|n| reader.whole(n, "`max_attempts`", 1, 100))
            .unwrap_or(3),
        cooldown_us: time(reader, "cooldown", 15, 86_400),
        timeout_s: (time(reader, "timeout", 60, 3_600) / 1_000_000).max(1) as u32,
        expires_us: time(reader, "expires", 30, 600).max(1_000_000),
        action,
    })
}

fn read_verify(reader: &mut Reader, node: &Node) -> Verify {
    let Some(text) = reader.text(node, "`verify`") else { return Verify::alert_gone() };
    match Verify::read(&text) {
        Ok(verify) => verify,
        Err(what) => {
            reader.fault(node, what);
            Verify::alert_gone()
        }
    }
}

/// Low: what is done to something that is down anyway, or frees what nobody needs.
fn usual_risk(action: &Template) -> Risk {
    match action.name() {
        "restart" | "start" | "drop_caches" | "renice" | "clean_up" | "fix_permissions" => Risk::Low,
        "scale" | "signal" | "limit" | "roll_back" => Risk::Medium,
        _ => Risk::High,
    }
}

fn usual_rollback(action: &Template) -> Rollback {
    match action.name() {
        "scale" | "renice" | "limit" | "fail_over" => Rollback::Inverse,
        _ => Rollback::None,
    }
}

fn read_rollback(reader: &mut Reader, node: &Node) -> Rollback {
    if let Content::Text(text) = &node.content {
        match text.as_str() {
            "none" => return Rollback::None,
            "inverse" => return Rollback::Inverse,
            _ => {}
        }
    }
    match read_action(reader, node) {
        Some(Template::Exact(action)) => Rollback::Do(action),
        Some(_) => {
            reader.fault(node, "name the entry exactly in `rollback`, or write inverse or none");
            Rollback::None
        }
        None => Rollback::None,
    }
}

fn read_action(reader: &mut Reader, node: &Node) -> Option<Template> {
    if let Content::Text(text) = &node.content {
        let exact = match text.as_str() {
            "restart" => Action::Restart,
            "start" => Action::Start,
            "stop" => Action::Stop,
            "drop_caches" => Action::DropCaches,
            _ => {
                reader.fault(node, format!("`{text}` is no action; write one of: {ACTIONS}"));
                return None;
            }
        };
        return Some(Template::Exact(exact));
    }
    let fields = reader.map(
        node,
        "an action",
        &[
            "signal",
            "renice",
            "limit",
            "clean_up",
            "fix_permissions",
            "roll_back",
            "fail_over",
            "scale",
            "run",
        ],
    )?;
    let mut pairs = fields.pairs();
    let (Some((kind, value)), None) = (pairs.next(), pairs.next()) else {
        reader.fault(node, format!("write exactly one action: {ACTIONS}"));
        return None;
    };
    match kind {
        "signal" => {
            let signal = reader.text(value, "a signal's name")?;
            let signal = signal.strip_prefix("SIG").unwrap_or(&signal).to_owned();
            Some(Template::Exact(Action::Signal { signal }))
        }
        "renice" => {
            let nice = reader.number(value, "a nice value", -20.0, 19.0)? as i8;
            Some(Template::Exact(Action::Renice { nice }))
        }
        "limit" => read_limit(reader, value),
        "scale" => read_scale(reader, value),
        "clean_up" => read_named(reader, value, Named::CleanUp),
        "fix_permissions" => read_named(reader, value, Named::FixPermissions),
        "roll_back" => read_named(reader, value, Named::RollBack),
        "fail_over" => read_fail_over(reader, value),
        "run" => read_named(reader, value, Named::Run),
        _ => None, // The map has said so already.
    }
}

fn read_named(reader: &mut Reader, value: &Node, kind: Named) -> Option<Template> {
    let name = reader.text(value, "the name of an entry of the host's file")?;
    Some(if name == "any" { Template::Any(kind) } else { Template::Exact(kind.with(name)) })
}

fn read_fail_over(reader: &mut Reader, value: &Node) -> Option<Template> {
    if !matches!(value.content, Content::Map(_)) {
        return read_named(reader, value, Named::FailOver);
    }
    let fields = reader.map(value, "`fail_over`", &["entry", "to"])?;
    let entry = required(reader, fields, value, "entry")?;
    let to = fields.get("to").and_then(|n| reader.text(n, "`to`")).unwrap_or_default();
    Some(Template::Exact(Action::FailOver { entry, to }))
}

fn read_limit(reader: &mut Reader, value: &Node) -> Option<Template> {
    let fields = reader.map(value, "`limit`", &["resource", "value"])?;
    let resource = required(reader, fields, value, "resource")?;
    let Some(number) = fields.get("value") else {
        reader.fault(value, "give `limit` a `value`");
        return None;
    };
    let limit = reader.number(number, "`value`", 0.0, 9e15)? as u64;
    Some(Template::Exact(Action::Limit { resource, value: limit }))
}

fn read_scale(reader: &mut Reader, value: &Node) -> Option<Template> {
    let fields = reader.map(value, "`scale`", &["by", "to"])?;
    match (fields.get("by"), fields.get("to")) {
        (Some(by), None) => {
            let number = reader.number(by, "`by`", -100.0, 100.0)?;
            if number == 0.0 || number.fract() != 0.0 {
                reader.fault(by, "write `by` as a whole number other than 0");
                return None;
            }
            Some(Template::ScaleBy(number as i32))
        }
        (None, Some(to)) => {
            let replicas = reader.whole(to, "`to`", 0, 10_000)?;
            Some(Template::Exact(Action::Scale { replicas }))
        }
        _ => {
            reader.fault(value, "write `scale` as {by: N} or {to: N}");
            None
        }
    }
}

fn required(reader: &mut Reader, fields: Fields<'_>, node: &Node, key: &str) -> Option<String> {
    match fields.get(key) {
        Some(value) => reader.text(value, &format!("`{key}`")),
        None => {
            reader.fault(node, format!("it needs `{key}`"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;

    #[test]
    fn all_faults_are_found_at_once_each_with_its_place() {
        let text = "entries:\n  a:\n    match: {rules: x, colour: red}\n    strategies:\n      - action: reboot\n      \
                    - action: restart\n        risk: tiny\n        verify: component.up\n  b:\n    match: {}\n\
                    budgets: {host: {in_flight: -1}}\n";
        let faults = Policy::read(text).unwrap_err().0;
        let found: Vec<(u32, &str)> =
            faults.iter().map(|f| (f.line, f.what.split(';').next().unwrap())).collect();
        assert_eq!(faults.len(), 7, "{found:?}");
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [3, 5, 7, 8, 10, 10, 11]);
        assert_eq!(faults[0].column, 23);
        assert!(faults[0].what.contains("`colour` is unknown"));
    }

    #[test]
    fn quiet_hours_name_the_zone_that_is_none() {
        let text = "quiet_hours:\n  - {from: \"22:00\", to: \"25:00\"}\n  - {from: \"1:00\", to: \"2:00\", timezone: Mars}\n";
        let faults = Policy::read(text).unwrap_err().0;
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[1].what.contains("`Mars` is no time zone"));
    }
}
