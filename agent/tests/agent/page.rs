//! The agent's `/metrics` page, as a scraper sees it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The page, if the agent answers.
fn page(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Some(page)
}

/// One number of it.
fn number(address: &str, name: &str) -> Option<f64> {
    let start = format!("fettle_agent_{name} ");
    page(address)?.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

/// A number as it is now: a busy agent may have no time for the first request.
pub(crate) async fn now(address: &str, name: &str) -> f64 {
    until(address, name, |_| true).await
}

/// Waits until a number is as it should be.
pub(crate) async fn until(address: &str, name: &str, done: impl Fn(f64) -> bool) -> f64 {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match number(address, name) {
            Some(value) if done(value) => return value,
            seen => assert!(Instant::now() < deadline, "{name} is {seen:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
