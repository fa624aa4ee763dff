//! Clocks and the timer of the scan thread.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{
    clock_gettime, timerfd_create, timerfd_settime, ClockId, Itimerspec, TimerfdClockId, TimerfdFlags,
    TimerfdTimerFlags, Timespec,
};

use super::{SampleError, ScanClock};

fn micros(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    (t.tv_sec as u64).wrapping_mul(1_000_000).wrapping_add(t.tv_nsec as u64 / 1000)
}

/// Both clocks now.
pub(crate) fn now() -> ScanClock {
    ScanClock { mono_us: micros(ClockId::Monotonic), wall_us: micros(ClockId::Realtime) as i64 }
}

/// CPU time of the whole process in µs.
pub(crate) fn process_cpu_us() -> u64 {
    micros(ClockId::ProcessCPUTime)
}

/// CPU time of this thread in µs.
pub(crate) fn thread_cpu_us() -> u64 {
    micros(ClockId::ThreadCPUTime)
}

/// A timer with absolute deadlines on the monotonic clock.
pub(crate) struct Timer(OwnedFd);

impl Timer {
    pub(crate) fn new() -> Result<Self, SampleError> {
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)
            .map(Self)
            .map_err(|cause| SampleError::Timer { cause })
    }

    /// Returns at the deadline, or at once when it has passed.
    pub(crate) fn wait_until(&mut self, mono_us: u64) -> Result<(), SampleError> {
        let timer = |cause| SampleError::Timer { cause };
        // All zero would switch the timer off.
        let mono_us = mono_us.max(1);
        let at =
            Timespec { tv_sec: (mono_us / 1_000_000) as i64, tv_nsec: (mono_us % 1_000_000 * 1000) as _ };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once).map_err(timer)?;
        let mut expirations = [0; 8];
        loop {
            match rustix::io::read(&self.0, &mut expirations) {
                Err(Errno::INTR) => {}
                other => return other.map(|_| ()).map_err(timer),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_ends_at_its_deadline_and_not_before() {
        let mut timer = Timer::new().unwrap();
        let deadline = now().mono_us + 3000;
        timer.wait_until(deadline).unwrap();
        assert!(now().mono_us >= deadline);
        timer.wait_until(0).unwrap();
        timer.wait_until(deadline).unwrap();
    }
}
