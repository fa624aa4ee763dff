//! The configuration files of the nats-server that `fettle up` runs: the server's own, and beside it who may log
//! in, which can change while it runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::logins::{write_private, LoginError, Logins};

/// The largest message. A frame is one second of one host; this leaves room for the greatest.
const MESSAGE_BYTES_MAX: u64 = 8 << 20;
/// The file of those who may log in, beside the server's own.
const USERS: &str = "users.conf";

/// The server's file in a state directory.
pub(crate) fn path(root: &Path) -> PathBuf {
    root.join("run/nats.conf")
}

/// Writes both. They are made new on every start: what may be changed is a flag of `fettle up`.
pub(crate) fn write(root: &Path, address: SocketAddr, agent: &str) -> Result<(), LoginError> {
    write_users(root, agent)?;
    write_private(&path(root), &text(address, &root.join("nats")))
}

/// Writes who may log in.
pub(crate) fn write_users(root: &Path, agent: &str) -> Result<(), LoginError> {
    write_private(&path(root).with_file_name(USERS), &Logins::below(root).users(agent)?)
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
         jetstream {{\n    store_dir: {store}\n}}\n\
         include \"{USERS}\"\n",
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
