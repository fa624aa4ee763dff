//! The number of a container's replicas: copies of it are made and started, or stopped and removed, until there are
//! as many as wanted. Saying it again changes nothing. What fails leaves nothing half made: what this action made
//! is removed again, what was there before stays.

use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::super::{Failure, Ran, Report};
use super::copy::copy;
use super::engine::{ask, path, Refused};
use super::{run_one, Declared, STOP_SECONDS};
use crate::act::admission::Verb;
use crate::replicas::{name_of, Plan};

/// Has so many replicas of a container, itself among them; takes no longer than this but for cleaning up.
pub(in crate::act::run) async fn scale(
    declared: Declared<'_>,
    wanted: u32,
    time: Duration,
    dry: bool,
) -> Ran {
    let mut done = Vec::new();
    let begun = tokio::time::Instant::now();
    let late = |done: &[String]| Failure {
        error: String::new(),
        report: Report::says(format!(
            "not done within {}; before that: {}",
            crate::config::show_duration(time),
            said(done)
        )),
        timed_out: true,
    };
    let Ok(family) = tokio::time::timeout(time, declared.family()).await else { return Err(late(&done)) };
    let (known, name, family) = family.map_err(|refused| Failure::from(refused.said))?;
    let (now, plan) = (family.count(), family.plan(wanted));
    if dry {
        let report = format!("would scale {name} from {now} to {wanted} replicas: {}", words(&name, &plan));
        return Ok(Report::says(report));
    }
    let left = time.saturating_sub(begun.elapsed());
    let work = carry_out(declared.socket, &name, &known, &plan, &mut done);
    let mut failure = match tokio::time::timeout(left, work).await {
        Ok(Ok(())) => {
            let report = format!("scaled {name} from {now} to {wanted} replicas: {}", said(&done));
            return Ok(Report::says(report).with("replicas", now.to_string()));
        }
        Ok(Err(error)) => Failure { error, report: Report::says(said(&done)), timed_out: false },
        Err(_) => late(&done),
    };
    let cleaned = take_back(declared, &plan).await;
    failure.report.output = format!("{}; {cleaned}", failure.report.output);
    failure.report = failure.report.with("replicas", now.to_string());
    Err(failure)
}

fn said(done: &[String]) -> String {
    if done.is_empty() {
        "nothing was done".to_owned()
    } else {
        done.join(", ")
    }
}

/// What a plan comes to, for people.
fn words(name: &str, plan: &Plan) -> String {
    let remove = plan.remove.iter().map(|replica| format!("remove {}", replica.name));
    let start = plan.start.iter().map(|replica| format!("start {}", replica.name));
    let create = plan.create.iter().map(|number| format!("make {}", name_of(name, *number)));
    let all: Vec<String> = remove.chain(start).chain(create).collect();
    if all.is_empty() {
        "nothing is to be done".to_owned()
    } else {
        all.join(", ")
    }
}

async fn carry_out(
    socket: &Path,
    name: &str,
    known: &Value,
    plan: &Plan,
    done: &mut Vec<String>,
) -> Result<(), String> {
    for replica in &plan.remove {
        let about = |refused: Refused| format!("{}: {}", replica.name, refused.said);
        remove(socket, &replica.id, true).await.map_err(about)?;
        done.push(format!("removed {}", replica.name));
    }
    for replica in &plan.start {
        let started = run_one(socket, &replica.name, &replica.id, &Verb::Start).await;
        done.push(started.map_err(|refused| format!("{}: {}", replica.name, refused.said))?);
    }
    for number in &plan.create {
        let own = name_of(name, *number);
        make(socket, name, known, *number).await.map_err(|error| format!("{own}: {error}"))?;
        done.push(format!("made {own}"));
    }
    Ok(())
}

/// Makes one, connects and starts it.
async fn make(socket: &Path, name: &str, known: &Value, number: u32) -> Result<(), String> {
    let copy = copy(name, known, number)?;
    let created = format!("/containers/create?name={}", name_of(name, number));
    let (_, answer) = ask(socket, Method::POST, &created, Some(copy.body)).await?;
    let id = answer.get("Id").and_then(Value::as_str).ok_or("Docker made it and did not say its id")?;
    for (network, endpoint) in copy.networks {
        // Ids and names of networks are made of the same letters as those of containers.
        path(&network, "")?;
        let body = serde_json::json!({ "Container": id, "EndpointConfig": endpoint });
        ask(socket, Method::POST, &format!("/networks/{network}/connect"), Some(body)).await?;
    }
    ask(socket, Method::POST, &path(id, "/start")?, None).await?;
    Ok(())
}

/// Removes one, with the volumes that were made for it alone; that it has gone already is as good.
async fn remove(socket: &Path, id: &str, gently: bool) -> Result<(), Refused> {
    let stopped = if gently {
        ask(socket, Method::POST, &path(id, &format!("/stop?t={STOP_SECONDS}"))?, None).await.map(|_| ())
    } else {
        Ok(())
    };
    let removed = match stopped {
        Ok(()) => ask(socket, Method::DELETE, &path(id, "?force=true&v=true")?, None).await.map(|_| ()),
        failed => failed,
    };
    match removed {
        // Also one that Docker itself removes as soon as it has ended.
        Err(Refused { status: Some(StatusCode::NOT_FOUND | StatusCode::CONFLICT), .. })
            if gone(socket, id).await =>
        {
            Ok(())
        }
        said => said,
    }
}

/// Whether Docker knows it no more, or removes it already.
async fn gone(socket: &Path, id: &str) -> bool {
    match super::inspect(socket, id).await {
        Ok(known) => known.pointer("/State/Status").and_then(Value::as_str) == Some("removing"),
        Err(refused) => refused.status == Some(StatusCode::NOT_FOUND),
    }
}

/// Removes what this action made. Their numbers were free before, so a replica that has one of them is of its making.
async fn take_back(declared: Declared<'_>, plan: &Plan) -> String {
    if plan.create.is_empty() {
        return "nothing was made".to_owned();
    }
    let family = match declared.family().await {
        Ok((_, _, family)) => family,
        Err(refused) => return format!("what was made could not be looked for: {}", refused.said),
    };
    let mut words = Vec::new();
    for replica in plan.create.iter().filter_map(|number| family.replicas.get(number)) {
        words.push(match remove(declared.socket, &replica.id, false).await {
            Ok(()) => format!("removed {} again", replica.name),
            Err(refused) => format!("{} could not be removed again: {}", replica.name, refused.said),
        });
    }
    if words.is_empty() {
        "nothing was left of it".to_owned()
    } else {
        words.join(", ")
    }
}
