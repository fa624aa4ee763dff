//! Whether an address is free to listen on, and if not, who has it.
//!
//! The kernel lists listening sockets by inode in `/proc/net/tcp` and `tcp6`; the process that holds
//! one has a descriptor `socket:[inode]` (proc(5)). Another user's descriptors cannot be read, so the
//! holder is named when it can be and left out when not.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its id.
    pub(crate) pid: u32,
    /// Its name, as `ps` shows it.
    pub(crate) name: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Tries to listen; gives the address with its port filled in if 0 was asked for.
pub(crate) fn try_listen(address: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}

/// Who listens on this port, if it can be seen.
pub(crate) fn holder(port: u16) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).find_map(|table| {
        table.lines().skip(1).find_map(|line| listening_inode(line, port)).map(str::to_owned)
    })?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let descriptors = fs::read_dir(entry.path().join("fd")).ok()?;
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        });
        let name = || fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
        holds.then(|| Holder { pid, name: name() })
    })
}

/// The inode of a line of `/proc/net/tcp` if it is a socket that listens (state 0A) on the port.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let (_, local_port) = local.rsplit_once(':')?;
    let same = u16::from_str_radix(local_port, 16).ok()? == port;
    (same && state == "0A").then_some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(holder(address.port()).map(|holder| holder.pid), Some(std::process::id()));
        assert_eq!(try_listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert_eq!(try_listen(address).unwrap(), address);
    }

    #[test]
    fn only_listening_sockets_count() {
        let line =
            "   0: 0100007F:1FBB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 12345 1 0 100";
        assert_eq!(listening_inode(line, 8123), Some("12345"));
        assert_eq!(listening_inode(line, 8124), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 8123), None);
        assert_eq!(listening_inode("nonsense", 8123), None);
    }
}
