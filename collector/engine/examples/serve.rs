//! The engine alone: `serve --path DIR --listen ADDR`, for tests and trials without the `fettle` binary.

use std::net::SocketAddr;
use std::path::PathBuf;

use fettle_engine::{serve, ServeSettings};
use tokio::signal::unix::{signal, SignalKind};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some("clickhouse") {
        arguments.drain(..2.min(arguments.len()));
    }
    let mut path = None;
    let mut listen: SocketAddr = "127.0.0.1:0".parse()?;
    let mut password_file = None;
    let mut pairs = arguments.chunks_exact(2);
    for pair in pairs.by_ref() {
        match pair[0].as_str() {
            "--path" => path = Some(PathBuf::from(&pair[1])),
            "--listen" => listen = pair[1].parse()?,
            "--password-file" => password_file = Some(PathBuf::from(&pair[1])),
            other => {
                return Err(format!("unknown option {other}; use --path, --listen, --password-file").into())
            }
        }
    }
    let mut settings = ServeSettings::new(path.ok_or("give --path DIR")?, listen);
    if let Some(file) = password_file {
        settings.writer_password_file = file;
    }
    let (ready, told) = tokio::sync::oneshot::channel::<fettle_engine::Ready>();
    tokio::spawn(async move {
        if let Ok(ready) = told.await {
            eprintln!("ready http://{} version {}", ready.address, ready.version);
        }
    });
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    };
    serve(settings, ready, shutdown).await.map_err(|error| error.to_string().into())
}
