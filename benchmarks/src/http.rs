//! The HTTP that benchmarks speak: HTTP/1.0 requests over a fresh connection, so that no answer is
//! chunked, and one long chunked upload. Small on purpose: what the client does must not count.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{bail, Context as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(600);

/// Asks for a page; its text if the status is 2xx.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    text(address, path, request(address, "GET", path, &[], b"").await?)
}

/// Asks for a page that is not text.
pub(crate) async fn get_bytes(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    request(address, "GET", path, &[], b"").await
}

/// Posts a body; the answer's text if the status is 2xx.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<String> {
    text(address, path, request(address, "POST", path, headers, body).await?)
}

fn text(address: SocketAddr, path: &str, body: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(body).with_context(|| format!("{address}{path} did not answer with text"))
}

async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let mut answer = tokio::time::timeout(PATIENCE, exchange)
        .await
        .with_context(|| format!("{address}{path} did not answer within {PATIENCE:?}"))??;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let body = answer.split_off(end);
    let head = String::from_utf8_lossy(&answer);
    let status = head.split_ascii_whitespace().nth(1).unwrap_or("no status");
    if !status.starts_with('2') {
        let why = String::from_utf8_lossy(&body);
        bail!("{address}{path} answered {status}: {}", why.chars().take(400).collect::<String>());
    }
    Ok(body)
}

/// One upload over one connection, piece by piece.
#[derive(Debug)]
pub(crate) struct Upload {
    stream: TcpStream,
    address: SocketAddr,
}

impl Upload {
    /// Begins a chunked POST.
    pub(crate) async fn begin(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        Ok(Self { stream, address })
    }

    /// Sends a piece; an empty one is left out, as it would end the upload.
    pub(crate) async fn send(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        self.stream.write_all(piece).await?;
        self.stream.write_all(b"\r\n").await?;
        Ok(())
    }

    /// Ends the upload and checks the answer.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        self.stream.write_all(b"0\r\n\r\n").await?;
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut answer))
            .await
            .with_context(|| format!("{} did not answer within {PATIENCE:?}", self.address))??;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split_ascii_whitespace().nth(1).unwrap_or("no status");
        if !status.starts_with('2') {
            bail!("{} refused the upload: {}", self.address, answer.chars().take(400).collect::<String>());
        }
        Ok(())
    }
}
