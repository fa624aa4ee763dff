//! systemd over D-Bus (org.freedesktop.systemd1(5)): a job is asked for and waited for; what the job's end says
//! is what happened. The connection is made for each action: they are rare, and a bus that was restarted
//! between two of them is no trouble.

use std::num::NonZeroUsize;

use futures_util::StreamExt;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use super::{Report, LIMIT_BEFORE};
use crate::act::admission::Verb;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// What the bus and polkit call a caller without the right.
const FORBIDDEN: [&str; 2] = [
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
];
/// Ends of jobs that may wait to be looked at.
const ENDS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// Microseconds of CPU in each second that are a percent.
const US_OF_PERCENT: u64 = 10_000;

fn failed(what: &str) -> impl FnOnce(zbus::Error) -> String + '_ {
    move |error| {
        let said = error.to_string();
        // Errors that the bus itself knows do not come as those of a method.
        if FORBIDDEN.iter().any(|name| said.contains(name)) {
            return format!(
                "systemd would not {what}: {}; run the agent as root or give its user the right, see docs/agent.md",
                said.trim_end_matches('.')
            );
        }
        match error {
            zbus::Error::MethodError(_, Some(text), _) => format!("systemd would not {what}: {text}"),
            _ => format!("systemd cannot be asked to {what}: {said}; see that the system bus runs"),
        }
    }
}

async fn manager<B>(bus: &Connection, method: &str, body: &B) -> zbus::Result<zbus::Message>
where
    B: serde::Serialize + zbus::DynamicType,
{
    bus.call_method(Some(NAME), PATH, Some(MANAGER), method, body).await
}

/// Restart, start, stop, or signal a unit.
pub(super) async fn run(unit: &str, verb: &Verb) -> Result<String, String> {
    let (method, what) = match verb {
        Verb::Restart => ("RestartUnit", "restart"),
        Verb::Start => ("StartUnit", "start"),
        Verb::Stop => ("StopUnit", "stop"),
        Verb::Signal { name, number, all } => {
            let bus = Connection::system().await.map_err(failed("signal a unit"))?;
            let whom = if *all { "all" } else { "main" };
            manager(&bus, "KillUnit", &(unit, whom, *number)).await.map_err(failed("signal the unit"))?;
            return Ok(format!("sent {name} to {whom} of {unit}"));
        }
    };
    let bus = Connection::system().await.map_err(failed(what))?;
    if !matches!(verb, Verb::Stop) {
        // A unit that crashed too often, or is about to, is refused a start until its count is set back. Where
        // even that is refused, the job's own answer says why.
        let _ = manager(&bus, "ResetFailedUnit", &(unit,)).await;
    }
    let result = job(&bus, unit, method).await.map_err(failed(what))?;
    if result == "done" {
        let state = state(&bus, unit, "ActiveState").await;
        return Ok(format!("{what} of {unit} is done; it is {state}"));
    }
    let state = state(&bus, unit, "SubState").await;
    Err(format!("the job to {what} {unit} ended as {result}, and the unit is {state}; see its journal"))
}

/// Asks for a job and waits for its end; gives how it ended.
async fn job(bus: &Connection, unit: &str, method: &str) -> zbus::Result<String> {
    let rule = MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender(NAME)
        .interface(MANAGER)
        .member("JobRemoved")
        .build()?;
    // Listening comes first: a job may end before its name is known here.
    let mut ends = MessageStream::for_match_rule(rule, bus, Some(ENDS)).await?;
    manager(bus, "Subscribe", &()).await?;
    let reply = manager(bus, method, &(unit, "replace")).await?;
    let job: OwnedObjectPath = reply.body().deserialize()?;
    while let Some(end) = ends.next().await {
        let end = end?;
        let (_, ended, _, result): (u32, OwnedObjectPath, String, String) = end.body().deserialize()?;
        if ended == job {
            return Ok(result);
        }
    }
    Ok("unknown: the bus has closed".to_owned())
}

/// A word of a unit's; empty when systemd does not say it.
async fn state(bus: &Connection, unit: &str, name: &str) -> String {
    let value = property(bus, unit, UNIT, name).await;
    value.and_then(|value| String::try_from(value).ok()).unwrap_or_default()
}

async fn property(bus: &Connection, unit: &str, interface: &str, name: &str) -> Option<OwnedVariant> {
    let path: OwnedObjectPath = manager(bus, "LoadUnit", &(unit,)).await.ok()?.body().deserialize().ok()?;
    let reply = bus.call_method(Some(NAME), path, Some(PROPERTIES), "Get", &(interface, name)).await.ok()?;
    reply.body().deserialize().ok()
}

/// The processes of a unit.
pub(super) async fn processes(unit: &str) -> Result<Vec<i32>, String> {
    let what = "list a unit's processes";
    let bus = Connection::system().await.map_err(failed(what))?;
    let reply = manager(&bus, "GetUnitProcesses", &(unit,)).await.map_err(failed(what))?;
    let listed: Vec<(String, u32, String)> = reply.body().deserialize().map_err(failed(what))?;
    Ok(listed.into_iter().filter_map(|(_, pid, _)| i32::try_from(pid).ok()).collect())
}

/// Sets a limit until the next boot (systemd.resource-control(5)).
pub(super) async fn limit(unit: &str, resource: &str, value: u64) -> Result<Report, String> {
    let (name, scale) = match resource {
        "cpu_percent" => ("CPUQuotaPerSecUSec", US_OF_PERCENT),
        "memory_bytes" => ("MemoryMax", 1),
        _ => ("TasksMax", 1),
    };
    let what = "set a limit";
    let bus = Connection::system().await.map_err(failed(what))?;
    let before = property(&bus, unit, &interface(unit), name).await;
    let before = before.and_then(|before| u64::try_from(before).ok());
    let properties = vec![(name, Variant::from(value.saturating_mul(scale)))];
    manager(&bus, "SetUnitProperties", &(unit, true, properties)).await.map_err(failed(what))?;
    let report = Report::says(format!("set {name} of {unit} for {resource} {value} until the next boot"));
    Ok(match before {
        // The highest number stands for no limit.
        Some(before) if before != u64::MAX => report.with(LIMIT_BEFORE, (before / scale).to_string()),
        _ => report,
    })
}

/// The interface that tells about units of this kind: a service's, a scope's, a slice's.
fn interface(unit: &str) -> String {
    let kind = unit.rsplit('.').next().unwrap_or_default();
    let mut letters = kind.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{NAME}.{}", first.into_iter().chain(letters).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_unit_has_its_interface() {
        assert_eq!(interface("web.service"), "org.freedesktop.systemd1.Service");
        assert_eq!(interface("user-1000.slice"), "org.freedesktop.systemd1.Slice");
    }
}
