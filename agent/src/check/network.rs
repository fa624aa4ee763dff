//! Checks over the network: a TCP connection is taken, an HTTP GET gives what it should. Each check makes a
//! connection of its own, as a new client would.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{header, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::outstanding::Outstanding;
use super::verdict::Failure;

/// Most of a service's answer that is looked at.
const MOST_BODY: usize = 64 << 10;
/// Longest part of a server's answer that is repeated in an error.
const MOST_SAID: usize = 120;
/// How long a server that has answered badly is listened to for its reason.
const REASON_PATIENCE: Duration = Duration::from_millis(100);

/// What of a body is wanted, once the status is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing.
    Nothing,
    /// Its beginning, this many bytes of it at most.
    Beginning(usize),
    /// What it says of the status, if it says it at once.
    Reason,
}

/// Names that are being looked up.
pub(super) type Lookup = Outstanding<std::io::Result<Vec<SocketAddr>>>;

pub(super) async fn tcp(address: SocketAddr) -> Result<(), Failure> {
    let connected = TcpStream::connect(address).await;
    connected.map(drop).map_err(|cause| Failure::of_io(&address.to_string(), &cause))
}

pub(super) async fn http(
    url: &str,
    status: u16,
    contains: Option<&str>,
    lookup: &mut Lookup,
) -> Result<(), Failure> {
    let uri: Uri = url.parse().map_err(|error| Failure::new(format!("{url}: {error}")))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let asked = (host.clone(), port);
    let found = lookup.call(move || asked.to_socket_addrs().map(Iterator::collect));
    let addresses: Vec<SocketAddr> =
        found.await.map_err(Failure::new)?.map_err(|cause| Failure::of_io(&host, &cause))?;
    let stream = TcpStream::connect(&addresses[..]).await.map_err(|cause| Failure::of_io(url, &cause))?;
    let wanted = |got| match contains {
        _ if got != status => Wanted::Reason,
        Some(_) => Wanted::Beginning(MOST_BODY),
        None => Wanted::Nothing,
    };
    let (got, body) = get(stream, &uri, wanted).await.map_err(|error| error.with(url))?;
    if got != status {
        // What the service says is wrong with it tells more than the number.
        let said = piece(&body);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        return Err(Failure::new(format!("{url} answered {got} and not {status}{said}")));
    }
    match contains {
        Some(text) if !contains_text(&body, text) => {
            Err(Failure::new(format!("{url} answered {got} without {text:?} in the first 64 KiB")))
        }
        _ => Ok(()),
    }
}

fn contains_text(body: &[u8], text: &str) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text.as_bytes())
}

impl Failure {
    fn with(self, what: &str) -> Self {
        Self { error: format!("{what}: {}", self.error), ..self }
    }
}

/// One GET over a connection: the status and what is wanted of the body.
pub(super) async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    wanted: impl Fn(u16) -> Wanted,
) -> Result<(u16, Vec<u8>), Failure> {
    let broken = |error: hyper::Error| {
        use std::error::Error as _;
        let cause = error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        Failure::new(cause)
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("localhost", |authority| authority.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("fettle-agent/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::new(error.to_string()))?;
    // The connection ends with this call: it is driven here and by nobody else.
    let asked = async {
        let mut response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        match wanted(status) {
            Wanted::Nothing => {}
            Wanted::Beginning(most) => read(&mut response, &mut body, most).await.map_err(broken)?,
            // It has answered badly already: a reason that breaks off or does not come changes nothing.
            Wanted::Reason => {
                drop(tokio::time::timeout(REASON_PATIENCE, read(&mut response, &mut body, MOST_BODY)).await);
            }
        }
        Ok((status, body))
    };
    tokio::pin!(asked, connection);
    tokio::select! {
        biased;
        answer = &mut asked => answer,
        driven = &mut connection => match driven {
            Err(error) => Err(broken(error)),
            // The server has closed; what it sent before is still to be read.
            Ok(()) => asked.await,
        },
    }
}

/// Reads the beginning of a body.
async fn read(
    response: &mut Response<Incoming>,
    body: &mut Vec<u8>,
    most: usize,
) -> Result<(), hyper::Error> {
    while body.len() < most {
        let Some(frame) = response.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            body.extend_from_slice(&data[..data.len().min(most - body.len())]);
        }
    }
    Ok(())
}

/// A short piece of what somebody said, for an error.
pub(super) fn piece(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.trim().lines().next_back().unwrap_or_default();
    line.chars().take(MOST_SAID).collect()
}
