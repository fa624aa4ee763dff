//! A responder for `/metrics` and nothing else. It reads one request, answers and closes; what
//! Prometheus needs of HTTP fits in a page, and a web framework would be a third of the agent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Longest request that is read.
const REQUEST_BYTES: usize = 4096;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests at once; more wait in the kernel's queue.
const AT_ONCE: usize = 4;

/// Telemetry that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address is taken or not ours.
    #[error("cannot serve /metrics on {address}: {cause}; stop what uses the address, or name another with --metrics (or \"off\")")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// The bound socket.
#[derive(Debug)]
pub struct MetricsListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsListener {
    /// Binds the address.
    pub async fn bind(address: SocketAddr) -> Result<Self, TelemetryError> {
        let fail = |cause| TelemetryError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with `page` for as long as it is polled.
    pub async fn serve(self, page: impl Fn() -> String + Send + Sync + 'static) {
        let page = Arc::new(page);
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let page = page.clone();
                    tokio::spawn(async move {
                        // A client that is slow or gone is no news.
                        let _ = tokio::time::timeout(PATIENCE, answer(stream, &*page)).await;
                        drop(place);
                    });
                }
                // Out of descriptors, most likely: let some come back.
                Err(_) => tokio::time::sleep(PATIENCE).await,
            }
        }
    }
}

async fn answer(mut stream: TcpStream, page: &(impl Fn() -> String + ?Sized)) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(512);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() >= REQUEST_BYTES || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") => ("200 OK", page()),
        (b"GET" | b"HEAD", _) => ("404 Not Found", "the agent serves /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "the agent only answers GET\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if method != b"HEAD" {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_metrics_are_served() {
        let listener = MetricsListener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let taken = MetricsListener::bind(address).await.unwrap_err().to_string();
        assert!(taken.contains("--metrics"), "{taken}");
        tokio::spawn(listener.serve(|| "x 1\n".to_owned()));
        let page = ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("\r\n\r\nx 1\n"), "{page}");
        assert!(ask(address, "HEAD /metrics HTTP/1.1\r\n\r\n").await.ends_with("\r\n\r\n"));
        assert!(ask(address, "GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
        assert!(ask(address, "POST /metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
        // One that never ends is cut off, by a reset if bytes of it are still unread.
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&[b'x'; 2 * REQUEST_BYTES]).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
}
