//! One request to Docker over its socket (the Engine API, in the form every version since 1.24 takes), answered when
//! it is done.

use std::path::Path;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// Longest answer that is read, but for listings.
const ANSWER_MAX: usize = 1 << 20;

/// Docker did not do it.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its answer's status, where it answered.
    pub(super) status: Option<StatusCode>,
    /// One sentence.
    pub(super) said: String,
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        refused.said
    }
}

/// Where something of a container is asked for: `/json`, `/start`, or nothing for itself, each with its query.
pub(super) fn path(container: &str, what: &str) -> Result<String, Refused> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if container.is_empty() || container.starts_with('.') || !container.bytes().all(is_name) {
        let said = format!("{container:?} is no container's name; correct the host's file");
        return Err(Refused { status: None, said });
    }
    Ok(format!("/containers/{container}{what}"))
}

/// What Docker knows of a container.
pub(super) async fn inspect(socket: &Path, container: &str) -> Result<Value, Refused> {
    ask(socket, Method::GET, &path(container, "/json")?, None).await.map(|(_, answer)| answer)
}

/// Has something done.
pub(super) async fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Value), Refused> {
    let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    let (status, bytes) = talk(socket, method, path, body, ANSWER_MAX).await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
}

/// Asks for a listing, which is read to this many bytes.
pub(super) async fn list(socket: &Path, path: &str, most: usize) -> Result<Bytes, Refused> {
    talk(socket, Method::GET, path, Vec::new(), most).await.map(|(_, bytes)| bytes)
}

async fn talk(
    socket: &Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
    most: usize,
) -> Result<(StatusCode, Bytes), Refused> {
    let away = |error: String| Refused {
        status: None,
        said: format!("Docker does not answer at {}: {error}", socket.display()),
    };
    let stream = UnixStream::connect(socket).await.map_err(|error| away(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| away(error.to_string()))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "docker")
        .header("Content-Type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| away(error.to_string()))?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let bytes =
            Limited::new(answer.into_body(), most).collect().await.map_err(|error| error.to_string())?;
        Ok::<_, String>((status, bytes.to_bytes()))
    };
    tokio::pin!(talk, connection);
    let (status, bytes) = tokio::select! {
        said = &mut talk => said.map_err(away)?,
        // The answer may have been read whole before the connection ended.
        ended = &mut connection => match ended {
            Ok(()) => talk.await.map_err(away)?,
            Err(error) => return Err(away(error.to_string())),
        },
    };
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok((status, bytes));
    }
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let message = answer.get("message").and_then(Value::as_str).unwrap_or("it gave no reason");
    Err(Refused { status: Some(status), said: format!("Docker would not: {message} ({status})") })
}
