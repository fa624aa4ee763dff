//! A small service to break: it answers one HTTP request after the other, and on request leaks memory or
//! descriptors, burns CPU, piles up zombies or hangs. Whether it is well depends on real things: a file it
//! must read, a release it must understand, a service it needs.
//!
//! It is deliberately serial: requests that take longer than they come apart make a queue, as in any service
//! that has too few workers.
#![allow(clippy::print_stdout)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// For a service that it needs.
const PATIENCE: Duration = Duration::from_millis(300);

/// What it is told on the command line.
#[derive(Default)]
struct Options {
    listen: String,
    /// Must exist and be readable at each health check.
    data: Option<PathBuf>,
    /// Directory of the release; its `config` must say `ok`, or the program ends at once.
    release: Option<PathBuf>,
    /// Address of a service that must be well at each health check.
    needs: Option<String>,
    /// Link to the address of the primary: a file that holds it.
    primary: Option<PathBuf>,
}

/// What was broken by request.
#[derive(Default)]
struct Broken {
    memory: Vec<Vec<u8>>,
    leak_mib_a_second: usize,
    files: Vec<File>,
    files_a_second: usize,
    burners: usize,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("fettle-test-victim: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(release) = &options.release {
        let text = std::fs::read_to_string(release.join("config")).unwrap_or_default();
        if text.trim() != "ok" {
            eprintln!("fettle-test-victim: the release's config says {text:?}, not ok");
            return ExitCode::FAILURE;
        }
    }
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fettle-test-victim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} wants a value"))?;
        match flag.as_str() {
            "--listen" => options.listen = value,
            "--data" => options.data = Some(value.into()),
            "--release" => options.release = Some(value.into()),
            "--needs" => options.needs = Some(value),
            "--primary" => options.primary = Some(value.into()),
            // Replica N listens on the port of `--listen` + N.
            "--replica" => {
                let (host, port) = options.listen.rsplit_once(':').ok_or("--listen comes first")?;
                let port: u16 = port.parse().map_err(|_| "the port is no number")?;
                let replica: u16 = value.parse().map_err(|_| "--replica wants a number")?;
                options.listen = format!("{host}:{}", port + replica);
            }
            _ => return Err(format!("{flag} is not known")),
        }
    }
    Ok(options)
}

fn serve(options: &Options) -> std::io::Result<()> {
    let listener = TcpListener::bind(&options.listen)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", options.listen);
    let mut broken = Broken::default();
    let mut worsened = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                let _ = answer(stream, options, &mut broken);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(2));
            }
            // Out of descriptors: what a leak leads to. The queue grows, as it would in life.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        if worsened.elapsed() >= Duration::from_millis(100) {
            worsened = Instant::now();
            worsen(&mut broken);
        }
    }
}

/// A tenth of a second of leaking.
fn worsen(broken: &mut Broken) {
    let bytes = (broken.leak_mib_a_second << 20) / 10;
    if bytes > 0 {
        broken.memory.push(vec![0x5a; bytes]);
    }
    for _ in 0..broken.files_a_second / 10 {
        if let Ok(file) = File::open("/dev/null") {
            broken.files.push(file);
        }
    }
}

fn answer(mut stream: TcpStream, options: &Options, broken: &mut Broken) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let (path, number) =
        path.rsplit_once('=').map_or((path.as_str(), 0), |(path, n)| (path, n.parse().unwrap_or(0)));
    let (status, body) = match path {
        "/health" => match health(options) {
            Ok(()) => ("200 OK", "ok".to_owned()),
            Err(reason) => ("503 Service Unavailable", reason),
        },
        "/work?ms" => {
            std::thread::sleep(Duration::from_millis(number as u64));
            ("200 OK", "done".into())
        }
        "/leak?mib" => {
            broken.leak_mib_a_second = number;
            ("200 OK", "leaking memory".into())
        }
        "/descriptors?each_second" => {
            broken.files_a_second = number;
            ("200 OK", "leaking descriptors".into())
        }
        "/burn?threads" => {
            for _ in broken.burners..number {
                std::thread::spawn(|| loop {
                    std::hint::spin_loop();
                });
            }
            broken.burners = number;
            ("200 OK", "burning CPU".into())
        }
        "/zombies?count" => {
            for _ in 0..number {
                // Nobody waits for them.
                let _ = Command::new("/bin/true").spawn();
            }
            ("200 OK", "zombies made".into())
        }
        _ => ("404 Not Found", "no such thing".into()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn health(options: &Options) -> Result<(), String> {
    if let Some(data) = &options.data {
        std::fs::read(data).map_err(|error| format!("{}: {error}", data.display()))?;
    }
    if let Some(needs) = &options.needs {
        reach(needs)?;
    }
    if let Some(primary) = &options.primary {
        let address =
            std::fs::read_to_string(primary).map_err(|error| format!("{}: {error}", primary.display()))?;
        reach(address.trim())?;
    }
    Ok(())
}

/// Asks another service for its health: one that hangs still has its connections taken by the kernel.
fn reach(address: &str) -> Result<(), String> {
    let to = address.parse().map_err(|_| format!("{address:?} is no address"))?;
    let failed = |error: std::io::Error| format!("{address}: {error}");
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: it\r\n\r\n").map_err(failed)?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).map_err(failed)?;
    if line.contains(" 200 ") {
        Ok(())
    } else {
        Err(format!("{address} answered {line:?}"))
    }
}
