//! Connections of the HTTP interface: bounded, and so is the time for a request's head and for its answer, so that
//! half a request holds up nobody.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::Router;
use fettle_door::Limits;
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper::Request;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Answers until the task ends. A request whose answer has not begun after `patience` is refused with 408.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits, patience: Duration) {
    // Health is told until the very end: nothing but the task's end stops it.
    let (_open, stop) = watch::channel(false);
    let routes = TowerToHyperService::new(routes);
    let answer = move |request: Request<Incoming>| {
        let answering = routes.call(request);
        async move {
            match tokio::time::timeout(patience, answering).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(impossible)) => never(impossible),
                Err(_) => {
                    (StatusCode::REQUEST_TIMEOUT, "the request did not come, or was not answered, in time\n")
                        .into_response()
                }
            }
        }
    };
    fettle_door::serve(listener, limits, answer, stop).await;
}

fn never(impossible: Infallible) -> Response<Body> {
    match impossible {}
}

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn half_requests_of_either_kind_end_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/echo", post(|body: String| async { body }));
        let short = Duration::from_millis(200);
        let limits = Limits { connections: 100, head: short };
        let served = tokio::spawn(serve(listener, routes, limits, short));
        let say = |words: &'static str| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(words.as_bytes()).await.unwrap();
            let mut said = String::new();
            let all = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut said)).await;
            let _ = all.expect("it is closed in time");
            said
        };
        assert_eq!(say("").await, "");
        say("POST /echo HT").await;
        let half = say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf").await;
        assert!(half.starts_with("HTTP/1.1 408"), "{half}");
        let whole = say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nwhole").await;
        assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("whole"), "{whole}");
        served.abort();
    }
}
