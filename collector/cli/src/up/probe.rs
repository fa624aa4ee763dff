//! Whether a part answers: asked over the network, as its users would.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::http::{client, reachable};

/// A part that does not answer in this time does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a part is asked.
#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// NATS greets whoever connects with an INFO line.
    Nats(SocketAddr),
    /// A page that answers 200.
    Page(Client, Url),
    /// The collector's health answer, in which its own parts are all ready.
    Collector(Client, Url),
}

impl Probe {
    /// Asks for a page on an address of this machine.
    pub(crate) fn page(address: SocketAddr, path: &str) -> Self {
        let (client, url) = target(address, path);
        Self::Page(client, url)
    }

    /// Asks for the collector's health.
    pub(crate) fn collector(address: SocketAddr) -> Self {
        let (client, url) = target(address, "/api/v3/health");
        Self::Collector(client, url)
    }

    /// True if the part answers as it should.
    pub(crate) async fn answers(&self) -> bool {
        let asked = async {
            match self {
                Self::Nats(address) => greets(reachable(*address)).await,
                Self::Page(client, url) => status(client, url).await == Some(200),
                Self::Collector(client, url) => {
                    health(client, url).await.is_some_and(|(_, answer)| own_parts_ready(&answer))
                }
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(false)
    }
}

/// The health answer's status and body.
pub(crate) async fn health(client: &Client, url: &Url) -> Option<(u16, Value)> {
    let response = client.get(url.clone()).timeout(PATIENCE).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.json().await.ok()?))
}

async fn status(client: &Client, url: &Url) -> Option<u16> {
    client.get(url.clone()).timeout(PATIENCE).send().await.ok().map(|response| response.status().as_u16())
}

/// The client and address of a page on this machine. Both are made of parts that cannot fail.
pub(crate) fn target(address: SocketAddr, path: &str) -> (Client, Url) {
    let url: Url = format!("http://{}{path}", reachable(address)).parse().expect("an address makes a URL");
    (client(&url).expect("a client without TLS roots of its own can be made"), url)
}

async fn greets(address: SocketAddr) -> bool {
    let mut word = [0; 5];
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    stream.read_exact(&mut word).await.is_ok() && &word == b"INFO "
}

/// What the supervisor wrote stands in the same answer as `process_…`; the collector's own is the rest.
fn own_parts_ready(answer: &Value) -> bool {
    let Some(parts) = answer["parts"].as_object() else { return false };
    let mut own = parts.iter().filter(|(name, _)| !name.starts_with("process_")).peekable();
    own.peek().is_some() && own.all(|(_, part)| part["state"] == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_collector_is_judged_by_its_own_parts() {
        let ready = json!({"state": "ready"});
        let not = json!({"state": "not ready"});
        assert!(own_parts_ready(&json!({"parts": {"nats": ready, "process_agent": not}})));
        assert!(!own_parts_ready(&json!({"parts": {"nats": not, "process_agent": ready}})));
        assert!(!own_parts_ready(&json!({"parts": {"process_agent": ready}})));
        assert!(!own_parts_ready(&json!({})));
    }
}
