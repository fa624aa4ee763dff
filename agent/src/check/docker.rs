//! What Docker says of a container, over its socket: whether it runs, whether its own health check is
//! content, its process. As in the Engine API, `GET /containers/{id}/json`.

use std::path::Path;

use fettle_shared::error_kind::ErrorKind;
use hyper::Uri;
use serde::Deserialize;
use tokio::net::UnixStream;

use super::network::{get, piece, Wanted};
use super::verdict::Failure;

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
    pid: i32,
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
    let (status, body) = get(stream, &uri, |_| Wanted::Beginning).await?;
    if status != 200 {
        return Err(Failure::new(format!("Docker answered {status} about {name}: {}", piece(&body))));
    }
    let inspected: Inspected = serde_json::from_slice(&body)
        .map_err(|error| Failure::new(format!("what Docker says about {name} cannot be read: {error}")))?;
    Ok(judge(name, &inspected))
}

fn judge(name: &str, inspected: &Inspected) -> Container {
    let state = &inspected.state;
    let health = state.health.as_ref().map_or("", |health| health.status.as_str());
    let well = if state.oom_killed && !state.running {
        Err(Failure::of(ErrorKind::Memory, format!("{name} was killed for want of memory")))
    } else if !state.running || state.paused {
        Err(Failure::of(ErrorKind::Other, format!("{name} is {}", state.status)))
    } else if health == "unhealthy" {
        Err(Failure::of(ErrorKind::Other, format!("{name} runs and calls itself unhealthy")))
    } else {
        Ok(())
    };
    Container { pid: state.pid, well, restarts: inspected.restart_count }
}
