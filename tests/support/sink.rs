//! An HTTP server that takes whatever is posted to it, with the time it came: where notifications end in
//! tests. It can be told to fail, as sinks do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use axum::Router;

/// One message.
#[derive(Debug, Clone)]
pub struct Posted {
    /// When it came, µs since 1970.
    pub at_us: i64,
    /// Path it was posted to.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

#[derive(Debug, Clone)]
struct Shared {
    posted: Arc<Mutex<Vec<Posted>>>,
    status: Arc<AtomicU16>,
}

/// A running sink; it ends with the runtime.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    shared: Shared,
}

impl Sink {
    /// Listens on a free loopback port.
    pub async fn start() -> Self {
        let shared = Shared { posted: Arc::default(), status: Arc::new(AtomicU16::new(200)) };
        let app = Router::new().fallback(post(take)).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a listener has an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, shared }
    }

    /// URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came so far.
    pub fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on every message is answered with this status; those not answered 200 are not kept.
    pub fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::Relaxed);
    }
}

async fn take(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: String) -> StatusCode {
    let at_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
    let status = shared.status.load(Ordering::Relaxed);
    if status == 200 {
        let posted = Posted { at_us, path: uri.path().to_owned(), headers, body };
        shared.posted.lock().unwrap_or_else(PoisonError::into_inner).push(posted);
    }
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
