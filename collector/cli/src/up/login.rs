//! `fettle login NAME`: a login for an agent beside the one that `fettle up` runs, on this host or another. A
//! nats-server that runs is told to read anew who may log in.

use std::path::Path;

use rustix::process::{kill_process, Pid, Signal};
use serde_json::Value;

use super::logins::{LoginError, Logins};
use super::nats_config;
use crate::arguments::LoginArguments;
use crate::{locate, output};

/// Makes the login and says what to do with it.
pub(crate) fn run(arguments: &LoginArguments) -> Result<(), LoginError> {
    let root = arguments.state_dir.clone().unwrap_or_else(locate::default_state_dir);
    let (name, logins) = (arguments.name.as_str(), Logins::below(&root));
    let path = logins.add(name)?;
    match (logins.own_name(), server(&root)) {
        (Some(own), Some(pid)) => {
            nats_config::write_users(&root, &own)?;
            // One that has gone meanwhile reads it when it is started again.
            let _ = kill_process(pid, Signal::HUP);
            output::line(&format!("{name} may log in now with the key in {}", path.display()));
        }
        _ => output::line(&format!(
            "{name} may log in with the key in {} from the next `fettle up` on",
            path.display()
        )),
    }
    output::line(&format!(
        "give that file to the agent: fettle-agent run --agent {name} --nats-nkey-file {}",
        path.display()
    ));
    Ok(())
}

/// The nats-server that runs on this state directory.
fn server(root: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(root.join("run/parts.json")).ok()?;
    let page: Value = serde_json::from_str(&text).ok()?;
    let part = page["parts"].as_array()?.iter().find(|part| part["name"] == "nats")?.clone();
    let pid = i32::try_from(part["pid"].as_u64()?).ok()?;
    // The board of one that was killed names a process that may be anything by now.
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let config = std::path::absolute(nats_config::path(root)).ok()?;
    let own = words.split(|byte| *byte == 0).any(|word| word == config.as_os_str().as_encoded_bytes());
    Pid::from_raw(pid).filter(|_| own)
}
