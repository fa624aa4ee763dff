//! The configuration file of the nats-server that `fettle up` runs.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::errors::UpError;
use super::state_dir::StateDir;

/// The largest message. A frame is one second of one host; this leaves room for the greatest.
const MESSAGE_BYTES_MAX: u64 = 8 << 20;

/// Writes the file. It is made new on every start: what may be changed is a flag of `fettle up`.
pub(crate) fn write(state: &StateDir, address: SocketAddr) -> Result<(), UpError> {
    let path = state.join("run/nats.conf");
    let text = text(address, &state.join("nats"));
    fs::write(&path, text).map_err(|source| UpError::Unwritable { path, source })
}

fn text(address: SocketAddr, store: &Path) -> String {
    // No http port: monitoring is off. Its state is on the board and in the collector's metrics.
    format!(
        "# Written by `fettle up` on every start; changes here are lost.\n\
         server_name: fettle\n\
         host: {host}\n\
         port: {port}\n\
         max_payload: {MESSAGE_BYTES_MAX}\n\
         max_pending: {pending}\n\
         logtime_utc: true\n\
         jetstream {{\n    store_dir: {store}\n}}\n",
        host = quoted(&address.ip().to_string()),
        port = address.port(),
        pending = MESSAGE_BYTES_MAX * 8,
        store = quoted(&store.to_string_lossy()),
    )
}

/// A string of the NATS configuration format, in which only `"` and `\` are special.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_address_and_store_and_opens_no_monitoring_port() {
        let text = text("127.0.0.1:4222".parse().unwrap(), Path::new("/srv/my \"state\"/nats"));
        assert!(text.contains("host: \"127.0.0.1\"\nport: 4222\n"), "{text}");
        assert!(text.contains(r#"store_dir: "/srv/my \"state\"/nats""#), "{text}");
        assert!(!text.contains("http"), "{text}");
    }
}
