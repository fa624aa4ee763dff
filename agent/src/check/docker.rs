//! What Docker says of a container, over its socket: whether it runs, whether its own health check is
//! content, its process. As in the Engine API, `GET /containers/{id}/json`.

use std::path::Path;

use fettle_shared::error_kind::ErrorKind;
use hyper::Uri;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::network::{get, piece, Wanted};
use super::verdict::Failure;

/// Most of Docker's answer that is read: what a container was made with stands in it, each variable and label.
const MOST_ANSWER: usize = 1 << 20;
/// Longest part of an error that is repeated, in bytes.
const MOST_WHY: usize = 120;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
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
    /// Whether it is well.
    pub(super) well: Result<(), Failure>,
    /// Times Docker itself has started it again.
    pub(super) restarts: u64,
}

/// Asks for a container.
pub(super) async fn container(name: &str, socket: &Path) -> Result<Container, Failure> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|cause| Failure::of_io(&socket.display().to_string(), &cause))?;
    let uri: Uri = format!("/containers/{name}/json")
        .parse()
        .map_err(|error| Failure::new(format!("{name}: {error}")))?;
    let (status, body) = get(stream, &uri, |_| Wanted::Beginning(MOST_ANSWER)).await?;
    if status != 200 {
        return Err(Failure::new(format!("Docker answered {status} about {name}: {}", piece(&body))));
    }
    let inspected: Inspected = serde_json::from_slice(&body)
        .map_err(|error| Failure::new(format!("what Docker says about {name} cannot be read: {error}")))?;
    Ok(judge(name, &inspected))
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
    Container { pid: state.pid, well, restarts: inspected.restart_count }
}

/// The end of an error: Docker writes who has failed first, and why last.
fn end(error: &str) -> &str {
    let from = error.len().saturating_sub(MOST_WHY);
    let from = (from..error.len()).find(|at| error.is_char_boundary(*at)).unwrap_or(error.len());
    error[from..].trim()
}
