//! The HTTP side: connections, routes, and the way of a query from its request to its response.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request as HttpRequest, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch, Semaphore};

use crate::auth::{authenticate, User};
use crate::engine::Engine;
use crate::exception::{code, Exception};
use crate::form;
use crate::input::{Input, Pieces};
use crate::output::{Ends, Output};
use crate::request::Request;
use crate::response::{self, Answer};
use crate::session::Sessions;
use crate::statement::Statement;
use crate::workers::Workers;

/// Pieces of a body that wait between the socket and the engine.
const PIECES_AHEAD: usize = 4;
/// Longest wait for a request's head, and so the life of an idle connection.
const IDLE: Duration = Duration::from_secs(90);
/// Longest pause within a request's body: its statement keeps a place meanwhile.
const BODY_PAUSE: Duration = Duration::from_secs(60);
/// Most that is read of a refused request, and for how long.
const MAX_DRAIN: usize = 256 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What every request needs.
pub(crate) struct Server {
    /// The open engine.
    pub(crate) engine: Arc<Engine>,
    /// Sessions kept between requests.
    pub(crate) sessions: Arc<Sessions>,
    /// The writer's password.
    pub(crate) writer_password: String,
    /// The threads that wait on the engine.
    pub(crate) workers: Workers,
    /// Places for readers' statements.
    pub(crate) readers: Arc<Semaphore>,
    /// Places for the writer's, apart, so that slow readers never hold up what is being stored.
    pub(crate) writers: Arc<Semaphore>,
}

/// Answers until `stop` turns true; then lets what is in hand end.
pub(crate) async fn run(
    server: Arc<Server>,
    listener: TcpListener,
    max_connections: usize,
    stop: watch::Receiver<bool>,
) {
    let limits = fettle_door::Limits { connections: max_connections, head: IDLE };
    fettle_door::serve(listener, limits, move |request| Arc::clone(&server).handle(request), stop).await;
}

impl Server {
    async fn handle(self: Arc<Self>, request: HttpRequest<Incoming>) -> Response<Answer> {
        match (request.method(), request.uri().path()) {
            (_, "/ping") | (_, "/replicas_status") => response::text(StatusCode::OK, "Ok.\n"),
            (&Method::GET | &Method::HEAD, "/") if request.uri().query().is_none() => {
                response::text(StatusCode::OK, "Ok.\n")
            }
            (&Method::GET | &Method::HEAD | &Method::POST | &Method::PUT, "/" | "/query") => self.query(request).await,
            (_, path) => response::text(
                StatusCode::NOT_FOUND,
                format!("There is no handle {path}\n\nUse / or /ping for health checks.\nUse POST / for queries.\n"),
            ),
        }
    }

    async fn query(self: Arc<Self>, http: HttpRequest<Incoming>) -> Response<Answer> {
        let (head, body) = http.into_parts();
        let mut request = Request::read(&head.method, &head.uri, &head.headers);
        let query_id = request.query_id.take().unwrap_or_else(new_query_id);
        // A form may be read before its sender is known, so it is small unless the head already says who.
        let (mut body, read) = match form::boundary(&head.headers) {
            Some(boundary) => match authenticate(&request.credentials, &self.writer_password) {
                Ok(user) => (None, form::read(&mut request, body, &boundary, user).await),
                Err(exception) => (Some(body), Err(exception)),
            },
            None => (Some(body), Ok(())),
        };
        let answered = match read {
            Ok(()) => self.run(request, &mut body, &query_id).await,
            Err(exception) => Err(exception),
        };
        match answered {
            Ok(response) => response,
            Err(exception) => {
                drain(body).await;
                response::error(&self.engine, &query_id, &exception)
            }
        }
    }

    async fn run(
        &self,
        request: Request,
        body: &mut Option<Incoming>,
        query_id: &str,
    ) -> Result<Response<Answer>, Exception> {
        let user = authenticate(&request.credentials, &self.writer_password)?;
        let places = if user == User::Writer { &self.writers } else { &self.readers };
        let place = Arc::clone(places).acquire_owned().await.map_err(|_| shutting_down())?;
        let (head_sender, head) = oneshot::channel();
        let (piece_sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let (body_sender, body_pieces) = mpsc::channel(PIECES_AHEAD);
        let marker = self.engine.marker();
        let tag = new_tag();
        let watch = Watch::new(&self.engine, &marker);
        let done = Arc::clone(&watch.done);
        let encoding = request.encoding;
        let pieces_in = Pieces::new(Handle::current(), body_pieces);
        let ends = Ends {
            runtime: Handle::current(),
            head: head_sender,
            pieces: piece_sender,
            tag: tag.clone(),
            version: self.engine.version.clone(),
        };
        let output = Output::new(ends, encoding, request.wait_end);
        let (engine, sessions) = (Arc::clone(&self.engine), Arc::clone(&self.sessions));
        self.workers.submit(move || {
            // Here, because decoders read ahead when they are made.
            match Input::new(pieces_in, &request.content_encoding, request.decompress) {
                Ok(input) => {
                    Statement { engine, sessions, user, request, input, marker, done }.run(output);
                }
                Err(exception) => {
                    done.store(true, Ordering::Release);
                    output.fail(exception);
                }
            }
            drop(place);
        });
        match body {
            Some(body) => forward(body, body_sender).await,
            None => drop(body_sender),
        }
        let head = head.await.map_err(|_| shutting_down())??;
        let body = Answer::Streamed { pieces, _watch: Box::new(watch), broken: None };
        Ok(response::result(&self.engine, query_id, &head, encoding.header(), &tag, body))
    }
}

/// Sends a request's body to the statement; ends early when the statement wants no more of it.
async fn forward(body: &mut Incoming, sender: mpsc::Sender<io::Result<Bytes>>) {
    if body.is_end_stream() {
        return;
    }
    let broke_off = |why: &dyn std::fmt::Display| {
        Err(io::Error::other(Exception::new(
            code::NETWORK_ERROR,
            "NETWORK_ERROR",
            format_args!("The request's body broke off: {why}"),
        )))
    };
    loop {
        let piece = match tokio::time::timeout(BODY_PAUSE, body.frame()).await {
            Err(_) => broke_off(&format_args!("nothing came for {} s", BODY_PAUSE.as_secs())),
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => broke_off(&error),
        };
        let broken = piece.is_err();
        if sender.send(piece).await.is_err() || broken {
            return;
        }
    }
}

/// Reads the rest of a refused request's body, within reason: a connection that is closed over unread
/// data is reset, and the client might lose the refusal.
async fn drain(body: Option<Incoming>) {
    let Some(mut body) = body else { return };
    let rest = async {
        let mut left = MAX_DRAIN;
        while let (1.., Some(Ok(frame))) = (left, body.frame().await) {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}

/// Cancels its statement when it is dropped before the statement has ended.
struct Watch {
    engine: Arc<Engine>,
    marker: String,
    done: Arc<AtomicBool>,
}

impl Watch {
    fn new(engine: &Arc<Engine>, marker: &str) -> Self {
        Self { engine: Arc::clone(engine), marker: marker.to_owned(), done: Arc::default() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.done.load(Ordering::Acquire) {
            return;
        }
        let (engine, marker, done) = (Arc::clone(&self.engine), self.marker.clone(), Arc::clone(&self.done));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(cancel(engine, marker, done));
        }
    }
}

/// Asks again and again, because the statement may not have reached the engine yet.
async fn cancel(engine: Arc<Engine>, marker: String, done: Arc<AtomicBool>) {
    for pause_ms in [0, 10, 50, 200, 1000, 5000] {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        if done.load(Ordering::Acquire) {
            return;
        }
        let (engine, marker) = (Arc::clone(&engine), marker.clone());
        let _ = tokio::task::spawn_blocking(move || engine.kill(&marker)).await;
    }
}

fn shutting_down() -> Exception {
    Exception::new(236, "ABORTED", "The server is shutting down")
}

/// An id in the shape of ClickHouse's own.
fn new_query_id() -> String {
    let (high, low) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}

/// Sixteen letters that mark an error in a body.
fn new_tag() -> String {
    let mut bits = u128::from(random()) << 64 | u128::from(random());
    (0..16)
        .map(|_| {
            let letter = b'a' + (bits % 26) as u8;
            bits /= 26;
            char::from(letter)
        })
        .collect()
}

/// Unpredictable enough for ids: the standard library's hash keys are random for each call.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
