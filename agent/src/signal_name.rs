//! Signals by their names, as the host's file and orders write them: without `SIG` (signal(7)).

/// Names and the numbers that this kernel gives them.
const SIGNALS: [(&str, i32); 14] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ABRT", libc::SIGABRT),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("WINCH", libc::SIGWINCH),
];

/// The number of a name such as `HUP`.
pub fn signal_number(name: &str) -> Option<i32> {
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The name of a number; `unknown` for one that cannot be written.
pub fn signal_name(number: i32) -> &'static str {
    SIGNALS.iter().find(|(_, known)| *known == number).map_or("unknown", |(name, _)| *name)
}

/// All names, for messages.
pub fn signal_names() -> String {
    SIGNALS.map(|(name, _)| name).join(", ")
}
