//! What Docker says of a container, over its socket: whether it runs, whether its own health check is
//! content, its process. As in the Engine API, `GET /containers/{id}/json`. Where copies of it may be made, they are looked at too,
//! all with one listing, and it is well when each of them is.

use std::path::Path;

use fettle_shared::error_kind::ErrorKind;
use hyper::Uri;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::network::{get, piece, Wanted};
use super::verdict::Failure;
use crate::replicas::{family, listing, Replica, LISTING_MAX};

/// Most of Docker's answer that is read: what a container was made with stands in it, each variable and label.
const MOST_ANSWER: usize = 1 << 20;
/// Longest part of an error that is repeated, in bytes.
const MOST_WHY: usize = 120;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
    /// Its own name, after a slash.
    #[serde(default)]
    name: String,
    #[serde(default)]
    restart_count: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    status: String,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    restarting: bool,
    #[serde(default)]
    pid: i32,
    #[serde(default)]
    exit_code: i64,
    /// Why it could not be started.
    #[serde(default)]
    error: String,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default)]
    health: Option<Health>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    #[serde(default)]
    status: String,
    /// Its last checks, the newest at the end.
    #[serde(default)]
    log: Option<Vec<HealthCheck>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthCheck {
    #[serde(default)]
    output: String,
}

/// A container as Docker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// Its first process in the host's numbers; 0: none.
    pub(super) pid: i32,
    /// Whether it is well, and each copy of it.
    pub(super) well: Result<(), Failure>,
    /// Whether it is well itself.
    pub(super) runs: bool,
    /// Times Docker itself has started it again.
    pub(super) restarts: u64,
    /// Copies of it: how many there are, and how many of those run.
    pub(super) copies: (u32, u32),
}

/// Asks for a container, and for the copies of it where there may be some.
pub(super) async fn container(name: &str, socket: &Path, is_scaled: bool) -> Result<Container, Failure> {
    let body = ask(name, socket, &format!("/containers/{name}/json"), MOST_ANSWER).await?;
    let inspected: Inspected = serde_json::from_slice(&body)
        .map_err(|error| Failure::new(format!("what Docker says about {name} cannot be read: {error}")))?;
    let mut container = judge(name, &inspected);
    if is_scaled {
        let own = inspected.name.trim_start_matches('/');
        let listed = ask(own, socket, &listing(own), LISTING_MAX).await?;
        let family = family(own, &listed).map_err(Failure::new)?;
        add(&mut container, family.replicas.values());
    }
    Ok(container)
}

async fn ask(name: &str, socket: &Path, path: &str, most: usize) -> Result<Vec<u8>, Failure> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|cause| Failure::of_io(&socket.display().to_string(), &cause))?;
    let uri: Uri = path.parse().map_err(|error| Failure::new(format!("{name}: {error}")))?;
    let (status, body) = get(stream, &uri, |_| Wanted::Beginning(most)).await?;
    if status != 200 {
        return Err(Failure::new(format!("Docker answered {status} about {name}: {}", piece(&body))));
    }
    Ok(body)
}

/// Adds what is known of its copies that have begun: one that is being made is not down.
fn add<'a>(container: &mut Container, copies: impl Iterator<Item = &'a Replica>) {
    for copy in copies.filter(|copy| copy.has_begun()) {
        container.copies.0 += 1;
        match copy.complaint() {
            None => container.copies.1 += 1,
            Some(complaint) if container.well.is_ok() => {
                container.well = Err(Failure::of(ErrorKind::Other, complaint));
            }
            Some(_) => {}
        }
    }
}

fn judge(name: &str, inspected: &Inspected) -> Container {
    let state = &inspected.state;
    let health = state.health.as_ref().filter(|health| health.status == "unhealthy");
    // Docker says of a container that waits to be started again that it runs.
    let runs = state.running && !state.restarting;
    let well = if state.oom_killed && !runs {
        Err(Failure::of(ErrorKind::Memory, format!("{name} was killed for want of memory")))
    } else if !runs && !state.error.is_empty() {
        Err(Failure::new(format!("{name} is {}: {}", state.status, end(&state.error))))
    } else if !runs {
        let (status, code) = (&state.status, state.exit_code);
        Err(Failure::of(ErrorKind::Other, format!("{name} is {status}, it ended with {code}")))
    } else if state.paused {
        Err(Failure::of(ErrorKind::Other, format!("{name} is paused")))
    } else if let Some(health) = health {
        let last = health.log.as_ref().and_then(|log| log.last());
        let said = last.map(|check| piece(check.output.as_bytes())).unwrap_or_default();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Err(Failure::new(format!("{name} runs and calls itself unhealthy{said}")))
    } else {
        Ok(())
    };
    Container { pid: state.pid, runs: well.is_ok(), well, restarts: inspected.restart_count, copies: (0, 0) }
}

/// The end of an error: Docker writes who has failed first, and why last.
fn end(error: &str) -> &str {
    let from = error.len().saturating_sub(MOST_WHY);
    let from = (from..error.len()).find(|at| error.is_char_boundary(*at)).unwrap_or(error.len());
    error[from..].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_as_well_as_each_of_its_copies() {
        let listed = |number: u32, state: &str, status: &str| {
            serde_json::json!({
                "Id": "x", "Names": [format!("/web-{number}")], "State": state, "Status": status,
                "Labels": { "fettle.replica_of": "web", "fettle.replica": number.to_string() },
            })
        };
        let of = |listed: &[serde_json::Value]| {
            let family = family("web", &serde_json::to_vec(listed).unwrap()).unwrap();
            let mut container = Container { pid: 7, well: Ok(()), runs: true, restarts: 0, copies: (0, 0) };
            add(&mut container, family.replicas.values());
            assert!(container.runs, "what becomes of a copy says nothing of the declared one");
            (container.copies, container.well.map_err(|failure| failure.error))
        };
        let well = listed(2, "running", "Up 3 minutes");
        assert_eq!(of(&[]), ((0, 0), Ok(())));
        assert_eq!(of(std::slice::from_ref(&well)), ((1, 1), Ok(())));
        assert_eq!(of(&[well.clone(), listed(3, "created", "Created")]), ((1, 1), Ok(())));
        let ended = listed(3, "exited", "Exited (3) 5 seconds ago");
        let said = "web-3 is exited: Exited (3) 5 seconds ago".to_owned();
        assert_eq!(of(&[well.clone(), ended]), ((2, 1), Err(said)));
        let ill = listed(4, "running", "Up 3 minutes (unhealthy)");
        assert_eq!(of(&[well, ill]), ((2, 1), Err("web-4 runs and calls itself unhealthy".to_owned())));
    }
}
