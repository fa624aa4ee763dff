//! `fettle alerts`, `silences`, `components`, `plans`, `freeze`, `status`, `audit`: what operations know and
//! what people may tell them.

pub(crate) mod arguments;
mod audit;
mod client;
mod fit;
mod health;
mod print;

use std::future::Future;
use std::net::SocketAddr;

use reqwest::Method;
use serde_json::{json, Value};

use arguments::{
    AlertWord, AlertsArguments, AlertsCommand, AuditArguments, AuditCommand, Collector, HealthArguments,
    LookArguments, PlanWord, PlansArguments, PlansCommand, SilencesArguments, SilencesCommand, WordArguments,
};
use client::Operations;
pub(crate) use client::OperationsError;

/// Runs one question on a runtime of its own.
fn run(work: impl Future<Output = Result<(), OperationsError>>) -> Result<(), OperationsError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| OperationsError::Argument(format!("the runtime cannot start: {e}")))?
        .block_on(work)
}

/// Asks a collector for something, for other commands.
pub(crate) async fn ask_collector(http: SocketAddr, what: &str) -> Result<Value, OperationsError> {
    let collector = Collector { http, token_file: None, state_dir: None, author: None, json: false };
    Operations::new(&collector)?.get(what).await
}

/// `fettle alerts`.
pub(crate) fn alerts(arguments: &AlertsArguments) -> Result<(), OperationsError> {
    let collector = &arguments.collector;
    run(async {
        let operations = Operations::new(collector)?;
        match &arguments.command {
            AlertsCommand::List => show(collector, &operations.get("alerts").await?, print::alerts),
            AlertsCommand::Why { id } => {
                show(collector, &operations.get(&format!("alerts/{}", safe(id)?)).await?, print::why);
            }
            AlertsCommand::Ack(word) => tell_alert(&operations, collector, word, "acknowledge").await?,
            AlertsCommand::Unack(word) => tell_alert(&operations, collector, word, "unacknowledge").await?,
            AlertsCommand::Resolve(word) => tell_alert(&operations, collector, word, "resolve").await?,
            AlertsCommand::Incidents => {
                show(collector, &operations.get("incidents").await?, print::incidents);
            }
            AlertsCommand::TestChannel { name } => {
                let path = format!("channels/{}/test", safe(name)?);
                let answer = operations.change(Method::POST, &path, json!({})).await?;
                show(collector, &answer, print::done);
            }
        }
        Ok(())
    })
}

/// A person's word on an alert.
async fn tell_alert(
    operations: &Operations<'_>,
    collector: &Collector,
    AlertWord { id, reason }: &AlertWord,
    verb: &str,
) -> Result<(), OperationsError> {
    let path = format!("alerts/{}/{verb}", safe(id)?);
    let answer = operations.change(Method::POST, &path, json!({ "reason": reason })).await?;
    show(collector, &answer, print::done);
    Ok(())
}

/// `fettle silences`.
pub(crate) fn silences(arguments: &SilencesArguments) -> Result<(), OperationsError> {
    let collector = &arguments.collector;
    run(async {
        let operations = Operations::new(collector)?;
        match &arguments.command {
            SilencesCommand::List => show(collector, &operations.get("silences").await?, print::silences),
            SilencesCommand::Add { matchers, length, reason } => {
                let body =
                    json!({ "matchers": patterns(matchers)?, "seconds": seconds(length)?, "reason": reason });
                let answer = operations.change(Method::POST, "silences", body).await?;
                show(collector, &answer, print::done);
            }
            SilencesCommand::End { id, reason } => {
                let path = format!("silences/{}", safe(id)?);
                let answer = operations.change(Method::DELETE, &path, json!({ "reason": reason })).await?;
                show(collector, &answer, print::done);
            }
        }
        Ok(())
    })
}

/// `fettle plans`.
pub(crate) fn plans(arguments: &PlansArguments) -> Result<(), OperationsError> {
    let collector = &arguments.collector;
    run(async {
        let operations = Operations::new(collector)?;
        let (word, verb) = match &arguments.command {
            PlansCommand::List => {
                show(collector, &operations.get("plans").await?, print::plans);
                return Ok(());
            }
            PlansCommand::Show { id } => {
                show(collector, &operations.get(&format!("plans/{}", safe(id)?)).await?, print::plan);
                return Ok(());
            }
            PlansCommand::Now => {
                show(collector, &operations.get("plan").await?, print::explanation);
                return Ok(());
            }
            PlansCommand::Approve(word) => (word, "approve"),
            PlansCommand::Deny(word) => (word, "deny"),
            PlansCommand::Cancel(word) => (word, "cancel"),
            PlansCommand::RollBack(word) => (word, "roll_back"),
            PlansCommand::Retry(word) => (word, "retry"),
        };
        let PlanWord { id, reason } = word;
        let path = format!("plans/{}/{verb}", safe(id)?);
        let answer = operations.change(Method::POST, &path, json!({ "reason": reason })).await?;
        show(collector, &answer, print::done);
        Ok(())
    })
}

/// `fettle freeze` and `fettle unfreeze`.
pub(crate) fn freeze(arguments: &WordArguments, frozen: bool) -> Result<(), OperationsError> {
    run(async {
        let operations = Operations::new(&arguments.collector)?;
        let path = if frozen { "operations/freeze" } else { "operations/unfreeze" };
        let answer = operations.change(Method::POST, path, json!({ "reason": arguments.reason })).await?;
        show(&arguments.collector, &answer, print::done);
        Ok(())
    })
}

/// `fettle components` and `fettle status`.
pub(crate) fn look(arguments: &LookArguments, what: &str) -> Result<(), OperationsError> {
    run(async {
        let operations = Operations::new(&arguments.collector)?;
        let answer = operations.get(what).await?;
        let printer = if what == "components" { print::components } else { print::status };
        show(&arguments.collector, &answer, printer);
        Ok(())
    })
}

/// `fettle audit`.
pub(crate) fn audit(arguments: &AuditArguments) -> Result<(), OperationsError> {
    match &arguments.command {
        AuditCommand::List(arguments) => run(audit::list(arguments)),
        AuditCommand::Verify { server, collector } => run(audit::verify(server, collector)),
    }
}

/// `fettle health`.
pub(crate) fn health(arguments: &HealthArguments) -> Result<(), OperationsError> {
    let collector = &arguments.collector;
    run(async {
        let host = arguments.host.as_deref().map(safe).transpose()?;
        let asked = host.map(|host| format!("?host={host}")).unwrap_or_default();
        let path = format!("analytics/performance-score{asked}");
        let answer = Operations::new(collector)?.get(&path).await?;
        show(collector, &answer, if host.is_some() { health::host } else { health::fleet });
        Ok(())
    })
}

fn show(collector: &Collector, answer: &Value, print: fn(&Value)) {
    if collector.json {
        crate::output::line(&serde_json::to_string_pretty(answer).unwrap_or_default());
    } else {
        print(answer);
    }
}

/// `label=pattern` each, as a JSON object.
fn patterns(matchers: &[String]) -> Result<Value, OperationsError> {
    let mut object = serde_json::Map::new();
    for matcher in matchers {
        let (label, pattern) =
            matcher.split_once('=').filter(|(label, _)| !label.is_empty()).ok_or_else(|| {
                OperationsError::Argument(format!(
                    "{matcher:?} is no matcher; write label=pattern, such as host=web-*"
                ))
            })?;
        object.insert(
            label.trim_end_matches('!').to_owned(),
            if label.ends_with('!') { format!("!{pattern}").into() } else { pattern.into() },
        );
    }
    Ok(object.into())
}

/// An id as it may stand in a path.
fn safe(id: &str) -> Result<&str, OperationsError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if !id.is_empty() && id.chars().all(fits) && !id.contains("..") {
        Ok(id)
    } else {
        Err(OperationsError::Argument(format!("{id:?} cannot be an id; take one from the list")))
    }
}

/// `90m`, `2h`, `1d`, `30s` in seconds.
fn seconds(text: &str) -> Result<u64, OperationsError> {
    let wrong = || OperationsError::Argument(format!("{text:?} is no length of time; write 90m, 2h or 1d"));
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_and_ids_are_checked() {
        assert_eq!(seconds("90m").unwrap(), 5400);
        for wrong in ["", "m", "5", "-1h", "0s", "5é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(safe("3f0c-a.b").is_ok());
        for wrong in ["", "a/b", "..", "a?b", "a b"] {
            assert!(safe(wrong).is_err(), "{wrong}");
        }
    }
}
