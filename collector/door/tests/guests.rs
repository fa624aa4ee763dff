//! Guests with bad manners, on real sockets.
// A panic in a test is the report.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fettle_door::{serve, Limits};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(3600);

struct Door {
    address: SocketAddr,
    /// Requests whose head was taken: they are in hand.
    taken: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

/// Answers with the request's own body once it has all of it.
async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = request.into_body().collect().await.map_or(Bytes::new(), |body| body.to_bytes());
    Response::new(Full::new(body))
}

async fn open(connections: usize, head: Duration) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let (take, taken) = watch::channel(0);
    let service = move |request| {
        take.send_modify(|taken| *taken += 1);
        echo(request)
    };
    let served = tokio::spawn(serve(listener, Limits { connections, head }, service, stopped));
    Door { address, taken, stop, served }
}

impl Door {
    async fn connect(&self, words: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        stream
    }

    /// Waits until so many requests were taken in all.
    async fn has_taken(&mut self, count: usize) {
        let taken = self.taken.wait_for(|taken| *taken >= count);
        timeout(PATIENCE, taken).await.expect("they are taken in time").unwrap();
    }

    /// Asks on a connection of its own and waits for the answer.
    async fn is_answered(&self) {
        let mut stream = self.connect("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        says(&mut stream, "HTTP/1.1 200").await;
    }
}

async fn says(stream: &mut TcpStream, words: &str) {
    let mut said = vec![0; words.len()];
    timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("an answer in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&said), words);
}

/// Waits until the other side has closed it.
async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // Closed over unread bytes, it is reset: closed all the same.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is closed in time");
}

#[tokio::test]
async fn silent_guests_and_half_heads_shut_out_nobody() {
    let door = open(8, LONG).await;
    let mut guests = Vec::new();
    for words in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX: ", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        for _ in 0..25 {
            guests.push(door.connect(words).await);
        }
        for _ in 0..20 {
            door.is_answered().await;
        }
    }
    // Whoever sat there longest had to go.
    is_closed(&mut guests[0]).await;
}

#[tokio::test]
async fn a_request_in_hand_is_never_broken_off_for_a_newcomer() {
    let mut door = open(2, LONG).await;
    let begin = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab";
    let mut busy = [door.connect(begin).await, door.connect(begin).await];
    door.has_taken(2).await;
    let mut waits = door.connect("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let early = timeout(Duration::from_millis(300), waits.read_u8()).await;
    assert!(early.is_err(), "both places are taken by requests: {early:?}");
    for stream in &mut busy {
        stream.write_all(b"cd").await.unwrap();
        says(stream, "HTTP/1.1 200").await;
    }
    // One of the two is idle now and makes room.
    says(&mut waits, "HTTP/1.1 200").await;
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let door = open(100, Duration::from_millis(200)).await;
    for words in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = door.connect(words).await;
        is_closed(&mut stream).await;
    }
    door.is_answered().await;
}

#[tokio::test]
async fn a_stop_ends_what_is_in_hand_and_waits_for_nobody_who_sits_there() {
    let mut door = open(100, LONG).await;
    let mut silent = door.connect("").await;
    let mut half = door.connect("GET / HT").await;
    let mut busy = door.connect("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na").await;
    door.is_answered().await;
    door.has_taken(2).await;
    door.stop.send(true).unwrap();
    is_closed(&mut silent).await;
    is_closed(&mut half).await;
    busy.write_all(b"b").await.unwrap();
    says(&mut busy, "HTTP/1.1 200").await;
    timeout(PATIENCE, door.served).await.expect("it ends in time").unwrap();
}
