//! Asks the kernel whether its clock is kept right by someone: adjtimex(2), read only.
#![allow(unsafe_code)]

/// What the kernel says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClockState {
    /// Whether a time service disciplines the clock.
    pub(crate) synchronized: bool,
    /// The largest error the kernel admits, in microseconds.
    pub(crate) error_us_max: i64,
}

/// Reads the state; none if the kernel does not tell, as in some sandboxes.
pub(crate) fn clock_state() -> Option<ClockState> {
    // SAFETY: every field of `timex` is an integer, for which zero bytes are a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` is 0, so the kernel only writes to the structure, which lives through the call.
    let answer = unsafe { libc::adjtimex(&mut state) };
    let synchronized = answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0;
    (answer >= 0).then_some(ClockState { synchronized, error_us_max: state.maxerror })
}
