//! `fettle part`: becomes another program that dies when `fettle up` does, however that ends.
//!
//! A supervisor that is killed with SIGKILL cannot stop its parts, and parts that live on would hold
//! their ports and files against the next start. `PR_SET_PDEATHSIG` (prctl(2)) makes the kernel do it.
//! It is set by the process itself, and survives `execve`, so it is set here, between fork and exec,
//! in a process of its own: the same in the forking process would need unsafe code.
//!
//! SIGKILL and not SIGTERM: every part is built to be killed at any moment, and what is gone at once
//! is not in the way of the next start.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{
    getppid, getrlimit, set_parent_process_death_signal, setrlimit, Resource, Rlimit, Signal,
};

use super::errors::UpError;
use crate::arguments::PartArguments;

/// Does not return unless it fails.
pub(crate) fn become_part(arguments: &PartArguments) -> Result<(), UpError> {
    let program = &arguments.command[0];
    let failed = |source| UpError::Exec { program: program.to_string_lossy().into_owned(), source };
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed(error.into()))?;
    // The parent may have died before the line above took effect; then nothing would come any more.
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != arguments.parent {
        return Err(failed(std::io::Error::other("its parent has ended")));
    }
    raise_open_files();
    Err(failed(Command::new(program).args(&arguments.command[1..]).exec()))
}

/// The agent keeps files open and the engine has many: both live better with all the system allows.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
