//! Speaks with people: what there is, as JSON that tables are made of, and their words, which change the state
//! and stand in the audit.

use fettle_alert::manage::{hex, unhex, Matchers, Phase as AlertPhase, Request, Silence};
use fettle_decide::operator::run::{Phase, Run};
use serde::Serialize;
use serde_json::{json, Value};

use super::desk::Desk;
use super::history::time;
use super::ids;
use super::tell::Channels;
use crate::handoff::{Ask, AskError, PlanVerb, SilenceOrder, Word};
use crate::orders::Sender;

/// Answers one question.
pub(super) fn answer(
    desk: &mut Desk,
    channels: &Channels,
    sender: Option<&Sender>,
    ask: Ask,
    now_us: i64,
) -> Result<Value, AskError> {
    match ask {
        Ask::Alerts => Ok(alerts(desk)),
        Ask::Alert(id) => alert(desk, &whole_alert(desk, &id, false)?),
        Ask::Acknowledge(id, word) => {
            let id = whole_alert(desk, &id, true)?;
            let Word { author, reason } = word;
            request(desk, &Request::Ack { target: id, author, note: reason }, now_us)
        }
        Ask::Unacknowledge(id, word) => {
            let id = whole_alert(desk, &id, true)?;
            let Word { author, reason } = word;
            request(desk, &Request::Unack { target: id, author, note: reason }, now_us)
        }
        Ask::Resolve(id, word) => {
            let id = whole_alert(desk, &id, true)?;
            let Word { author, reason } = word;
            request(desk, &Request::Resolve { target: id, author, note: reason }, now_us)
        }
        Ask::Silences => Ok(silences(desk)),
        Ask::Silence(order) => silence(desk, order, now_us),
        Ask::Unsilence(id, word) => {
            let id = ids::whole(&id, desk.manager.state().silences.keys().map(String::as_str))?;
            request(desk, &Request::Unsilence { id, author: word.author }, now_us)
        }
        Ask::Incidents => Ok(incidents(desk)),
        Ask::Plans => Ok(plans(desk)),
        Ask::Plan(id) => plan(desk, &whole_plan(desk, &id)?),
        Ask::Change(id, verb, word) => {
            let id = whole_plan(desk, &id)?;
            change(desk, &id, verb, &word, now_us)
        }
        Ask::Explain => Ok(explain(desk, now_us)),
        Ask::Components => Ok(components(desk)),
        Ask::Status => Ok(status(desk, channels, sender, now_us)),
        Ask::Freeze(word) => {
            let refused = |e: fettle_decide::operator::CommandError| AskError::Refused(e.to_string());
            desk.operator.freeze(&word.author, &word.reason, now_us).map_err(refused)?;
            desk.touch();
            Ok(json!({ "done": "frozen: nothing more is begun until fettle unfreeze" }))
        }
        Ask::Unfreeze(word) => {
            let refused = |e: fettle_decide::operator::CommandError| AskError::Refused(e.to_string());
            desk.operator.thaw(&word.author, now_us).map_err(refused)?;
            desk.touch();
            Ok(json!({ "done": "not frozen any more" }))
        }
        Ask::TestChannel(name, word) => {
            let test = channels.test_message(&name, &word.author, now_us).ok_or_else(|| {
                AskError::Unknown(format!("there is no channel {name:?}; fettle status lists them"))
            })?;
            desk.try_channel(test);
            Ok(
                json!({ "done": format!("a test message goes to {name}; fettle status says what became of it") }),
            )
        }
    }
}

/// Whether the answer says that something was changed: then it is given once that is saved.
pub(super) fn changes(ask: &Ask) -> bool {
    match ask {
        Ask::Alerts | Ask::Alert(_) | Ask::Silences | Ask::Incidents | Ask::Plans | Ask::Plan(_) => false,
        Ask::Explain | Ask::Components | Ask::Status | Ask::TestChannel(..) => false,
        Ask::Acknowledge(..) | Ask::Unacknowledge(..) | Ask::Resolve(..) | Ask::Silence(_) => true,
        Ask::Unsilence(..) | Ask::Change(..) | Ask::Freeze(_) | Ask::Unfreeze(_) => true,
    }
}

/// An alert's id that may be shortened; `groups`: or an incident's, or a group's key.
fn whole_alert(desk: &Desk, given: &str, groups: bool) -> Result<String, AskError> {
    let state = desk.manager.state();
    if groups && state.groups.contains_key(given) {
        return Ok(given.to_owned());
    }
    let incidents = state.incidents.keys().filter(|_| groups);
    let ids: Vec<String> = state.alerts.keys().chain(incidents).map(|id| hex(*id)).collect();
    ids::whole(given, ids.iter().map(String::as_str))
}

fn whole_plan(desk: &Desk, given: &str) -> Result<String, AskError> {
    ids::whole(given, desk.operator.state().runs.keys().map(String::as_str))
}

fn word<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn request(desk: &mut Desk, request: &Request, now_us: i64) -> Result<Value, AskError> {
    let done = desk.manager.ask(request, now_us).map_err(|e| AskError::Refused(e.to_string()))?;
    desk.touch();
    Ok(json!({ "done": format!("done: {done}") }))
}

fn silence(desk: &mut Desk, order: SilenceOrder, now_us: i64) -> Result<Value, AskError> {
    let length_us = i64::try_from(order.seconds).unwrap_or(i64::MAX / 2_000_000).saturating_mul(1_000_000);
    let matchers = Matchers(order.matchers);
    let matches = desk.manager.matching(&matchers);
    let silence = Request::Silence {
        matchers,
        author: order.author,
        reason: order.reason,
        begins_us: None,
        expires_us: now_us.saturating_add(length_us),
    };
    let mut done = request(desk, &silence, now_us)?;
    done["matches"] = matches.into();
    Ok(done)
}

fn alerts(desk: &Desk) -> Value {
    let state = desk.manager.state();
    let mut rows: Vec<_> = state.alerts.iter().collect();
    rows.sort_by_key(|(_, alert)| {
        (alert.phase == AlertPhase::Resolved, std::cmp::Reverse((alert.severity, alert.since_us)))
    });
    let row = |(id, alert): (&u64, &fettle_alert::manage::Alert)| {
        let taken = alert.acknowledged.as_ref().map(|one| format!("taken by {}", one.author));
        let told = taken.or_else(|| alert.why.back().map(|why| why.reason.name().to_owned()));
        json!({
            "id": hex(*id), "state": alert.phase.name(), "severity": word(&alert.severity), "rule": alert.rule,
            "host": alert.labels.get("host"), "labels": alert.labels, "value": alert.value,
            "since": time(alert.since_us), "summary": alert.summary, "told": told,
            "incident": alert.incident.map(hex), "flapping": alert.flapping,
        })
    };
    rows.into_iter().map(row).collect()
}

fn alert(desk: &Desk, id: &str) -> Result<Value, AskError> {
    let none =
        || AskError::Unknown(format!("there is no alert {id}; fettle alerts list shows those there are"));
    let number = unhex(id).ok_or_else(none)?;
    let alert = desk.manager.state().alerts.get(&number).ok_or_else(none)?;
    let decisions: Vec<Value> = alert
        .why
        .iter()
        .map(|why| {
            let text = if why.group.is_empty() {
                why.detail.clone()
            } else {
                format!("{} [{}]", why.detail, why.group).trim_start().to_owned()
            };
            json!({ "at": time(why.at_us), "reason": why.reason.name(), "text": text })
        })
        .collect();
    Ok(json!({
        "alert": {
            "id": id, "rule": alert.rule, "state": alert.phase.name(), "severity": word(&alert.severity),
            "since": time(alert.since_us), "value": alert.value, "summary": alert.summary,
            "description": alert.description, "runbook": alert.runbook, "labels": alert.labels,
            "incident": alert.incident.map(hex), "flapping": alert.flapping, "acknowledged": alert.acknowledged,
        },
        "decisions": decisions,
    }))
}

fn silences(desk: &Desk) -> Value {
    let row = |(id, silence): (&String, &Silence)| {
        json!({
            "id": id, "matchers": silence.matchers, "author": silence.author, "reason": silence.reason,
            "from": time(silence.begins_us), "until": time(silence.expires_us),
        })
    };
    desk.manager.state().silences.iter().map(row).collect()
}

fn incidents(desk: &Desk) -> Value {
    desk.manager
        .incidents()
        .into_iter()
        .map(|one| {
            json!({
                "id": one.id, "state": if one.over_us.is_some() { "over" } else { "open" }, "host": one.host,
                "since": time(one.began_us), "alerts": one.alerts_total, "ids": one.alerts,
                "cause": one.causes.first().map(|cause| cause.text.clone()), "causes": one.causes,
            })
        })
        .collect()
}

fn plan_row(run: &Run) -> Value {
    let step = run.plan.steps.get(run.step);
    let over = match &run.phase {
        Phase::Ended { end, .. } => word(end),
        _ => Value::Null,
    };
    json!({
        "id": run.plan.id, "state": run.state(), "host": run.plan.place.host, "component": run.plan.place.component,
        "rule": run.plan.rule, "incident": run.plan.incident, "severity": word(&run.plan.severity),
        "policy": step.map(|step| step.strategy.clone()),
        "doing": step.map(|step| step.action.name()), "since": time(run.plan.created_us),
        "changed": time(run.changed_us), "because": run.plan.because,
        "text": run.log.last().map(|one| one.note.clone()), "end": over, "approved_by": run.approved_by,
    })
}

fn plans(desk: &Desk) -> Value {
    let mut runs: Vec<&Run> = desk.operator.state().runs.values().collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.plan.created_us));
    runs.into_iter().map(plan_row).collect()
}

fn plan(desk: &Desk, id: &str) -> Result<Value, AskError> {
    let run = desk.operator.run(id).ok_or_else(|| {
        AskError::Unknown(format!("there is no plan {id}; fettle plans list shows those there are"))
    })?;
    let steps: Vec<Value> = run
        .plan
        .steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            let ended = run.log.iter().rev().find(|one| one.strategy == step.strategy);
            let state = match ended {
                Some(one) => one.ended.map_or(json!("left out"), |ended| word(&ended)),
                None if at == run.step => json!(run.state()),
                None => json!("waits"),
            };
            json!({
                "step": at + 1, "strategy": step.strategy, "action": word(&step.action), "risk": word(&step.risk),
                "approval": word(&step.approval), "state": state, "expects": step.expects,
                "text": ended.map_or(step.expects.clone(), |one| one.note.clone()),
            })
        })
        .collect();
    let mut value = plan_row(run);
    value["steps"] = steps.into();
    value["left_out"] = word(&run.plan.left_out);
    value["plan"] = word(&run.plan);
    Ok(value)
}

fn change(desk: &mut Desk, id: &str, verb: PlanVerb, said: &Word, now_us: i64) -> Result<Value, AskError> {
    let who = said.author.as_str();
    let operator = &mut desk.operator;
    let (result, done) = match verb {
        PlanVerb::Approve => (operator.approve(id, who, now_us), "approved"),
        PlanVerb::Deny => (operator.deny(id, who, now_us), "denied"),
        PlanVerb::Cancel => (operator.cancel(id, who, now_us), "cancelled"),
        PlanVerb::RollBack => (operator.roll_back(id, who, now_us), "being taken back"),
        PlanVerb::Retry => (operator.retry_plan(id, who, now_us), "thought about again"),
    };
    result.map_err(|e| AskError::Refused(e.to_string()))?;
    desk.operator.give_reason(id, who, &said.reason, now_us);
    desk.touch();
    Ok(json!({ "done": format!("plan {id} is {done}") }))
}

fn explain(desk: &Desk, now_us: i64) -> Value {
    let all = desk.operator.explain(&desk.policy, &desk.world, now_us);
    let row = |one: &fettle_decide::operator::Explanation| {
        let would = one.would.as_ref().or(one.run.as_ref().map(|run| &run.plan));
        let step = would.and_then(|plan| plan.steps.first());
        json!({
            "incident": one.incident, "rule": one.rule, "host": one.place.host, "component": one.place.component,
            "policy": step.map(|step| step.strategy.clone()), "action": step.map(|step| step.action.name()),
            "approval": step.map(|step| word(&step.approval)), "text": one.what, "reason": one.what,
        })
    };
    let (would, would_not): (Vec<_>, Vec<_>) =
        all.iter().partition(|one| one.run.is_some() || one.would.is_some());
    json!({
        "would": would.into_iter().map(row).collect::<Vec<_>>(),
        "would_not": would_not.into_iter().map(row).collect::<Vec<_>>(),
    })
}

fn components(desk: &Desk) -> Value {
    let mut rows = Vec::new();
    for (host, view) in &desk.world.hosts {
        for (name, one) in &view.components {
            rows.push(json!({
                "host": host, "component": name, "kind": one.kind, "up": one.up, "critical": one.critical,
                "replicas": one.replicas, "depends_on": one.depends_on, "offers": one.offers,
                "host_offers": view.offers, "replica_bounds": one.replica_bounds,
                "release_changed_us": one.release_changed_us, "complaint": desk.complaint_of(host, name), "seen": time(view.seen_us),
            }));
        }
    }
    rows.into()
}

fn status(desk: &Desk, channels: &Channels, sender: Option<&Sender>, now_us: i64) -> Value {
    let (counts, state) = (desk.manager.counts(), desk.operator.state());
    let breakers: Vec<Value> = state
        .memory
        .breakers
        .iter()
        .filter(|(_, breaker)| breaker.open_until_us > now_us)
        .map(|(key, breaker)| {
            let (action, target) = key.split_once(' ').unwrap_or((key, ""));
            json!({ "target": target, "action": action, "state": format!("open until {}", time(breaker.open_until_us)) })
        })
        .collect();
    json!({
        "frozen": state.freeze, "storm": (state.storm_until_us > now_us).then(|| time(state.storm_until_us)),
        "alerts": {
            "pending": counts.pending, "firing": counts.firing, "storms": counts.storms,
            "silences": counts.silences, "incidents": counts.incidents, "overflow": counts.overflow,
            "clock_set_back": desk.manager.state().set_back,
        },
        "plans": state.runs.values().filter(|run| run.live()).count(),
        "in_flight": state.runs.values().filter(|run| run.in_flight()).count(),
        "public_key": sender.map(Sender::public_key),
        "audit": { "seq": state.head.seq, "hash": state.head.hash },
        "policies": desk.policy.digest, "not_taken": desk.not_taken.all(),
        "states_refused": desk.refused_states, "receipts_refused": desk.floods.refused(),
        "waiting_for_clickhouse": desk.history.waiting(),
        "channels": word(&channels.states()),
        "breakers": breakers,
    })
}
