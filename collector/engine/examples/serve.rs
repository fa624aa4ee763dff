//! The engine alone, for tests and trials without the `fettle` binary:
//! `serve --path DIR [--listen ADDR] [--password-file FILE]`.
//!
//! Says `ready URL version V` on standard error once it answers.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use fettle_engine::{serve, Ready, ServeSettings};
use tokio::signal::unix::{signal, SignalKind};

fn arguments() -> Result<ServeSettings, Box<dyn Error>> {
    let mut path = None;
    let mut listen: SocketAddr = "127.0.0.1:0".parse()?;
    let mut password_file = None;
    let mut rest = std::env::args().skip(1);
    while let Some(option) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{option} wants a value"));
        match option.as_str() {
            // So that it can stand in for the fettle binary.
            "clickhouse" | "serve" => {}
            "--path" => path = Some(PathBuf::from(value()?)),
            "--listen" => listen = value()?.parse()?,
            "--password-file" => password_file = Some(PathBuf::from(value()?)),
            other => {
                return Err(format!("unknown option {other}; use --path, --listen, --password-file").into())
            }
        }
    }
    let mut settings = ServeSettings::new(path.ok_or("give --path DIR")?, listen);
    if let Some(file) = password_file {
        settings.writer_password_file = file;
    }
    Ok(settings)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = arguments()?;
    let (ready, told) = tokio::sync::oneshot::channel::<Ready>();
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
