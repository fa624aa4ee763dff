//! The door of both HTTP interfaces: takes connections and gives their requests to a service. Connections are
//! bounded, and when all places are taken a newcomer gets the place of whoever has sat there longest without a
//! request in hand; so silent connections, and those with half a head, never shut out anybody who asks. Requests in
//! hand are never broken off for a newcomer: when every place has one, newcomers wait in the kernel's queue.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{watch, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Most bytes of a request's head.
const HEAD_BYTES: usize = 1 << 20;
/// Between two looks whether one of the guests has become idle.
const LOOK: Duration = Duration::from_millis(20);

/// What the door allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// How long a request's head may take, and so the life of an idle connection.
    pub head: Duration,
}

/// How long a guest sits at least: the last bytes of an answer may still be on their way.
const SETTLE: Duration = Duration::from_millis(100);

/// An error of a response's body.
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Takes connections until `stop` turns true; then lets requests in hand end and returns.
pub async fn serve<S, F, B>(
    listener: TcpListener,
    limits: Limits,
    service: S,
    mut stop: watch::Receiver<bool>,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Broken>,
{
    let most = limits.connections.clamp(1, Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(most));
    let guests = Guests::default();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, for example: it passes, and spinning would not help.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            place = guests.place(&places) => place,
        };
        let Some(place) = place else { break };
        let guest = guests.enter();
        tokio::spawn(connection(stream, limits.head, service.clone(), guest, place, stop.clone()));
    }
    drop(listener);
    // Every connection holds a place until it ends.
    let _ = places.acquire_many(u32::try_from(most).unwrap_or(u32::MAX)).await;
}

async fn connection<S, F, B>(
    stream: TcpStream,
    head: Duration,
    service: S,
    guest: Guest,
    place: OwnedSemaphorePermit,
    mut stop: watch::Receiver<bool>,
) where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Broken>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended early");
        return;
    }
    let service = hyper::service::service_fn(|request| {
        let in_hand = InHand::of(&guest);
        let answer = service(request);
        async move {
            let (parts, body) = answer.await.into_parts();
            // Held by the body until its last byte is on its way.
            let body = body.map_frame(move |frame| {
                let _ = &in_hand;
                frame
            });
            Ok::<_, Infallible>(Response::from_parts(parts, body))
        }
    });
    let mut connection = std::pin::pin!(hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service));
    let mut stopping = false;
    let ended = loop {
        let stopped = async {
            if stopping || stop.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = guest.seat.leave.notified() => {}
            () = stopped => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
        // What is in hand goes on; with nothing in hand there is nothing to wait for.
        if guest.is_idle() {
            break Ok(());
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    drop(place);
}

/// Who is there.
#[derive(Debug, Clone, Default)]
struct Guests(Arc<Mutex<Seats>>);

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    seats: BTreeMap<u64, Arc<Seat>>,
}

/// One connection, as the door sees it.
#[derive(Debug)]
struct Seat {
    state: Mutex<State>,
    /// Told to go: somebody else needs the place.
    leave: Notify,
}

#[derive(Debug)]
struct State {
    in_hand: usize,
    idle_since: Instant,
    leaving: bool,
}

/// Keeps the seat until it is dropped.
#[derive(Debug)]
struct Guest {
    number: u64,
    seat: Arc<Seat>,
    guests: Guests,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guests {
    /// A place, if need be that of the longest idle; none when the door is closed.
    async fn place(&self, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            if places.available_permits() == 0 {
                self.send_one_away();
            }
            match tokio::time::timeout(LOOK, Arc::clone(places).acquire_owned()).await {
                Ok(place) => return place.ok(),
                Err(_) => continue,
            }
        }
    }

    fn enter(&self) -> Guest {
        let state = State { in_hand: 0, idle_since: Instant::now(), leaving: false };
        let seat = Arc::new(Seat { state: Mutex::new(state), leave: Notify::new() });
        let mut seats = lock(&self.0);
        let number = seats.next;
        seats.next += 1;
        seats.seats.insert(number, Arc::clone(&seat));
        Guest { number, seat, guests: self.clone() }
    }

    /// Tells whoever has been idle longest to go, unless somebody is going already.
    fn send_one_away(&self) {
        let (seats, now) = (lock(&self.0), Instant::now());
        let mut oldest: Option<(Instant, &Seat)> = None;
        for seat in seats.seats.values() {
            let state = lock(&seat.state);
            if state.leaving {
                return;
            }
            let is_idle = state.in_hand == 0 && now - state.idle_since >= SETTLE;
            if is_idle && oldest.is_none_or(|(since, _)| state.idle_since < since) {
                oldest = Some((state.idle_since, seat));
            }
        }
        if let Some((_, seat)) = oldest {
            let mut state = lock(&seat.state);
            // A request may have come meanwhile.
            if state.in_hand == 0 {
                state.leaving = true;
                seat.leave.notify_one();
            }
        }
    }
}

impl Guest {
    /// Whether nothing is in hand; if there is, it is not leaving after all.
    fn is_idle(&self) -> bool {
        let mut state = lock(&self.seat.state);
        state.leaving &= state.in_hand == 0;
        state.in_hand == 0
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        lock(&self.guests.0).seats.remove(&self.number);
    }
}

/// A request that is answered, up to the last byte of its answer.
#[derive(Debug)]
struct InHand(Arc<Seat>);

impl InHand {
    fn of(guest: &Guest) -> Self {
        lock(&guest.seat.state).in_hand += 1;
        Self(Arc::clone(&guest.seat))
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.in_hand = state.in_hand.saturating_sub(1);
        state.idle_since = Instant::now();
    }
}
