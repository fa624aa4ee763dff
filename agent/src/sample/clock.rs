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

/// Reads of the two clocks that are no further apart count as one moment, in µs.
const TOGETHER_US: u64 = 1_000;
/// On a machine too busy for that the closest of so many pairs is taken.
const TRIES: usize = 10;

/// Both clocks now. The difference between them is what tells a wall clock that was set, so they are read as one moment: a
/// thread that is put off the CPU between the one and the other reads them again.
pub(crate) fn now() -> ScanClock {
    pair(|| micros(ClockId::Monotonic), || micros(ClockId::Realtime) as i64)
}

fn pair(mut mono_us: impl FnMut() -> u64, mut wall_us: impl FnMut() -> i64) -> ScanClock {
    let mut before = mono_us();
    let (mut least, mut clock) = (u64::MAX, ScanClock { mono_us: before, wall_us: 0 });
    for _ in 0..TRIES {
        let wall_us = wall_us();
        let after = mono_us();
        let apart = after.saturating_sub(before);
        if apart < least {
            (least, clock) = (apart, ScanClock { mono_us: after, wall_us });
        }
        if apart <= TOGETHER_US {
            break;
        }
        before = after;
    }
    clock
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
    use std::cell::Cell;

    use super::*;

    /// The pair that is read when reading the wall clock takes this long, time after time, and the wall clock is
    /// 1,000,000 µs ahead.
    fn pair_with_delays(delays_us: &[u64]) -> ScanClock {
        let (time, mut delays) = (Cell::new(5_000_000), delays_us.iter());
        let wall = || {
            let wall_us = time.get() as i64 + 1_000_000;
            time.set(time.get() + delays.next().copied().unwrap_or(0));
            wall_us
        };
        pair(|| time.get(), wall)
    }

    #[test]
    fn a_thread_put_off_between_the_clocks_reads_them_again() {
        let offset = |clock: ScanClock| clock.wall_us - clock.mono_us as i64;
        assert_eq!(offset(pair_with_delays(&[])), 1_000_000);
        assert_eq!(offset(pair_with_delays(&[400_000])), 1_000_000, "once");
        assert_eq!(offset(pair_with_delays(&[400_000, 20_000, 5_000])), 1_000_000, "and again");
        // Never together: the closest, and an end.
        let delays: Vec<u64> = (2..50).map(|wait| wait * 10_000).collect();
        assert_eq!(offset(pair_with_delays(&delays)), 980_000);
    }

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
