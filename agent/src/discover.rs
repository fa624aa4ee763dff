//! Proposes a host's file from what runs on this host: programs that listen on a TCP port, with the systemd
//! unit or the container that their control group names. A proposal for a person to read: nothing is allowed
//! in it, and nothing is written.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use procfs::net::TcpState;
use procfs::process::{all_processes, FDTarget};

/// A program that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listening {
    executable: PathBuf,
    addresses: Vec<SocketAddr>,
    /// Its control group in each hierarchy.
    groups: Vec<String>,
}

/// The proposal.
pub fn propose() -> String {
    let mut out = "# Proposed by `fettle-agent components --discover` from what listens on this host now. Read it, name\n\
                   # what matters, allow what may be done, and put it where the agent looks for it.\n"
        .to_owned();
    let found = listening();
    if found.is_empty() {
        out += "# Nothing was found that listens and that this user may look at.\n";
    }
    for (name, one) in found {
        // Writing to a string cannot fail.
        let _ = write!(out, "\n[components.{}]\n{}", serde_json::Value::from(name), entry(&one));
    }
    out
}

fn entry(one: &Listening) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    // Where version 1 and 2 stand side by side, not every hierarchy names it.
    let (unit, container) = (
        one.groups.iter().find_map(|group| unit(group)),
        one.groups.iter().find_map(|group| container(group)),
    );
    let runs = match (unit, container) {
        (_, Some(container)) => format!("container = {}", quoted(&container)),
        (Some(unit), _) => format!("unit = {}", quoted(&unit)),
        _ => format!("executable = {}", quoted(&one.executable.to_string_lossy())),
    };
    let address = one
        .addresses
        .first()
        .map_or_else(String::new, |address| format!("check = {{ tcp = \"{}\" }}\n", reachable(*address)));
    format!("runs = {{ {runs} }}\n{address}")
}

/// An address that listens on all is asked on the loop.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        let ip: std::net::IpAddr =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(ip);
    }
    address
}

/// The systemd service that a control group's path names.
fn unit(group: &str) -> Option<String> {
    group
        .split('/')
        .rev()
        .find(|part| part.ends_with(".service") && !part.starts_with("user@"))
        .map(str::to_owned)
}

/// The Docker container that a control group's path names, by the first 12 digits of its id.
fn container(group: &str) -> Option<String> {
    let last = group.rsplit('/').next()?;
    let id = last.strip_prefix("docker-").and_then(|rest| rest.strip_suffix(".scope"));
    let id = id.or_else(|| group.contains("/docker/").then_some(last))?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id[..12].to_owned())
}

fn listening() -> BTreeMap<String, Listening> {
    let mut sockets: HashMap<u64, SocketAddr> = HashMap::new();
    for table in [procfs::net::tcp(), procfs::net::tcp6()] {
        let entries = table.into_iter().flatten().filter(|entry| entry.state == TcpState::Listen);
        sockets.extend(entries.map(|entry| (entry.inode, entry.local_address)));
    }
    let mut found: BTreeMap<String, Listening> = BTreeMap::new();
    for process in all_processes().into_iter().flatten().flatten() {
        let Ok(descriptors) = process.fd() else { continue };
        let own = descriptors.flatten().filter_map(|fd| match fd.target {
            FDTarget::Socket(inode) => sockets.get(&inode).copied(),
            _ => None,
        });
        let mut addresses: Vec<SocketAddr> = own.collect();
        let Ok(executable) = process.exe() else { continue };
        if addresses.is_empty() {
            continue;
        }
        addresses.sort();
        let groups = process.cgroups().into_iter().flatten().map(|group| group.pathname).collect();
        let called =
            executable.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let called: String = called
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            .take(48)
            .collect();
        let known = found.values().any(|one| one.addresses == addresses);
        if called.is_empty() || known {
            continue; // A worker shares the sockets of the one that listens.
        }
        let name =
            if found.contains_key(&called) { format!("{called}-{}", addresses[0].port()) } else { called };
        found.insert(name, Listening { executable, addresses, groups });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_file::HostFile;

    #[test]
    fn control_groups_name_units_and_containers() {
        assert_eq!(unit("/system.slice/nginx.service").as_deref(), Some("nginx.service"));
        assert_eq!(unit("/user.slice/user-1000.slice/user@1000.service"), None);
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(container(&format!("/docker/{id}")).as_deref(), Some("0123456789ab"));
        assert_eq!(container(&format!("/system.slice/docker-{id}.scope")).as_deref(), Some("0123456789ab"));
        assert_eq!(container("/system.slice/cron.service"), None);
    }

    #[test]
    fn what_listens_here_is_proposed_in_a_file_that_can_be_read() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening().values().any(|one| one.addresses.iter().any(|address| address.port() == port)));
        let text = propose();
        let file =
            HostFile::parse("proposal".as_ref(), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert!(!file.components.is_empty());
        assert!(file.components.values().all(|component| component.allowed.summary().is_empty()));
    }
}
