//! The scan thread: a timer, the sampler, and a sealed frame at every turn of the second.
//!
//! Deadlines are absolute on the monotonic clock, so a late scan does not make the next one late. A
//! frame is sealed in the pause after the last scan of its second, not before the first of the next,
//! which would make that one late. Nothing here waits for the network or for the disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use fettle_shared::frame::{FrameBuilder, FrameMeta, Header};
use hdrhistogram::Histogram;

use super::clock::{now, process_cpu_us, thread_cpu_us, Timer};
use super::{Budget, Figures, Mode, SampleError, Sampler, ScanClock};

/// Who this agent is and where its sequence continues.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Agent name, `[A-Za-z0-9_-]{1,64}`.
    pub agent: String,
    /// Number of this run of the agent, greater than that of every earlier run.
    pub boot: u64,
    /// Sequence number of the first frame.
    pub first_seq: u64,
}

/// A difference between wall clock and monotonic clock that moved by more than this is a jump.
const JUMP_US: i64 = 250_000;
/// The thread looks at its stop flag at least this often.
const STOP_CHECK_US: u64 = 250_000;
/// Lateness is summed up over this many seconds.
const JITTER_WINDOW_SECONDS: u32 = 10;
/// Greatest lateness that is told apart, in µs.
const JITTER_MAX_US: u64 = 60_000_000;
const SECOND_US: i64 = 1_000_000;

/// Scans until `stop` is set, then seals what is left and returns. `deliver` gets every sealed frame
/// on this thread and must not block: hand the bytes to a bounded queue and count what it refuses.
/// `figures` become those of the sampler's `self` family.
pub fn run_scan_thread(
    mut sampler: Sampler,
    builder: FrameBuilder,
    identity: Identity,
    figures: &Arc<Figures>,
    stop: &AtomicBool,
    deliver: impl FnMut(&Header, &[u8]),
) -> Result<(), SampleError> {
    sampler.share_figures(Arc::clone(figures));
    let mut timer = Timer::new()?;
    let mut state = State::new(sampler, builder, identity, deliver);
    while !stop.load(Ordering::Acquire) {
        let due = state.next_due_us();
        let wake = due.min(now().mono_us + STOP_CHECK_US);
        timer.wait_until(wake)?;
        let clock = now();
        if clock.mono_us >= due {
            state.tick(clock, due);
        }
    }
    state.seal();
    Ok(())
}

/// Everything the thread keeps from tick to tick.
struct State<D> {
    sampler: Sampler,
    builder: FrameBuilder,
    identity: Identity,
    deliver: D,
    sealed: Vec<u8>,
    next_seq: u64,
    /// Wall-clock second the frame in the making belongs to.
    second: Option<i64>,
    /// Time of the last scan in it.
    last_wall_us: i64,
    /// Wall clock less monotonic clock at the last tick.
    offset_us: Option<i64>,
    started_us: u64,
    housekeeping: Housekeeping,
}

/// What is done once a second.
struct Housekeeping {
    budget: Budget,
    cpu_us: u64,
    mono_us: u64,
    jitter: Histogram<u32>,
    jitter_seconds: u32,
    /// The next scan's CPU time is measured.
    measure_scan: bool,
}

impl<D: FnMut(&Header, &[u8])> State<D> {
    fn new(sampler: Sampler, builder: FrameBuilder, identity: Identity, deliver: D) -> Self {
        let budget = Budget::new(sampler.cpu_budget_percent());
        let mono_us = now().mono_us;
        let jitter = Histogram::new_with_bounds(1, JITTER_MAX_US, 3).expect("the bounds are sound");
        Self {
            housekeeping: Housekeeping {
                budget,
                cpu_us: process_cpu_us(),
                mono_us,
                jitter,
                jitter_seconds: 0,
                measure_scan: true,
            },
            next_seq: identity.first_seq,
            sampler,
            builder,
            identity,
            deliver,
            sealed: Vec::new(),
            second: None,
            last_wall_us: 0,
            offset_us: None,
            started_us: mono_us,
        }
    }

    /// The next scan, or the turn of the second when there is a frame to seal.
    fn next_due_us(&self) -> u64 {
        let due = self.sampler.next_due();
        let (Some(second), Some(offset)) = (self.second, self.offset_us) else { return due };
        let turn = (second + 1) * SECOND_US - offset;
        due.min(u64::try_from(turn).unwrap_or(0).max(self.housekeeping.mono_us))
    }

    fn tick(&mut self, clock: ScanClock, due_us: u64) {
        self.watch_clock(clock);
        if self.second.is_some_and(|second| second != clock.wall_us.div_euclid(SECOND_US))
            || self.builder.is_full()
        {
            self.seal();
        }
        if self.sampler.next_due() > clock.mono_us {
            return; // Only the second has turned.
        }
        // The very first deadline is "at once": nothing to be late for.
        if self.sampler.scans() > 0 {
            self.housekeeping.jitter.saturating_record(clock.mono_us.saturating_sub(due_us).max(1));
        }
        self.scan(clock);
        let next = self.sampler.next_due().saturating_sub(clock.mono_us);
        let next_wall_us = clock.wall_us.saturating_add_unsigned(next);
        if self.second.is_some_and(|second| second != next_wall_us.div_euclid(SECOND_US)) {
            self.seal();
        }
    }

    fn scan(&mut self, clock: ScanClock) {
        // A clock that is set back a little must not make two scans of a frame change places.
        let wall_us =
            if self.second.is_some() { clock.wall_us.max(self.last_wall_us + 1) } else { clock.wall_us };
        let clock = ScanClock { wall_us, ..clock };
        let measure = std::mem::take(&mut self.housekeeping.measure_scan);
        let before = if measure { thread_cpu_us() } else { 0 };
        let report = self.sampler.scan(clock, &mut self.builder);
        let figures = self.sampler.figures();
        if measure {
            figures.scan_duration_us.set(thread_cpu_us().saturating_sub(before));
        }
        figures.scans.add(1);
        figures.samples_taken.add(report.samples);
        self.last_wall_us = wall_us;
        if report.samples > 0 {
            self.second.get_or_insert(clock.wall_us.div_euclid(SECOND_US));
        }
        if self.housekeeping.cpu_us == 0 || self.sampler.scans() == 1 {
            self.sampler.govern(); // The first scan shows how much one brings.
        }
    }

    /// Notices when the wall clock was set, or the host was suspended.
    fn watch_clock(&mut self, clock: ScanClock) {
        let offset = clock.wall_us.wrapping_sub_unsigned(clock.mono_us);
        if let Some(moved) = self.offset_us.map(|before| offset - before).filter(|m| m.abs() > JUMP_US) {
            self.sampler.figures().clock_jumps.add(1);
            tracing::warn!(moved_ms = moved / 1000, "the wall clock jumped; a new frame starts");
            self.seal();
        }
        self.offset_us = Some(offset);
    }

    /// Seals the frame in the making and does what is done once a second.
    fn seal(&mut self) {
        if self.second.take().is_some() && self.builder.samples() > 0 {
            let Identity { agent, boot, .. } = &self.identity;
            let meta = FrameMeta { agent, boot: *boot, seq: self.next_seq };
            let header = self.builder.seal(&meta, &mut self.sealed);
            let figures = self.sampler.figures();
            figures.frames.add(1);
            figures.frame_bytes.add(self.sealed.len() as u64);
            figures.last_seq.set(self.next_seq);
            self.next_seq += 1;
            (self.deliver)(&header, &self.sealed);
        }
        let mono_us = now().mono_us;
        if mono_us.saturating_sub(self.housekeeping.mono_us) >= 500_000 {
            self.keep_house(mono_us);
        }
    }

    fn keep_house(&mut self, mono_us: u64) {
        let house = &mut self.housekeeping;
        let cpu_us = process_cpu_us();
        let (before, share_before) = (house.budget.mode(), house.budget.share());
        let mode = house.budget.feed(cpu_us.saturating_sub(house.cpu_us), mono_us - house.mono_us);
        house.cpu_us = cpu_us;
        house.mono_us = mono_us;
        house.measure_scan = true;
        if mode != before {
            log_mode(&house.budget, before, mode);
            self.sampler.set_mode(mode, mono_us);
        }
        let share = house.budget.share();
        log_share(share_before, share);
        self.sampler.set_share(share);
        self.sampler.govern();
        self.sampler.measure_self();
        let figures = self.sampler.figures();
        figures.mode.set(mode as u64);
        figures.cpu_budget.set((house.budget.limit_percent() * 100.0) as u64);
        figures.cpu_percent.set((house.budget.used_percent() * 100.0) as u64);
        figures.cpu_us.set(cpu_us);
        figures.scan_cpu_us.set(thread_cpu_us());
        figures.uptime_seconds.set((mono_us - self.started_us) / 1_000_000);
        figures.scan_interval_us.set(self.sampler.fast_interval_us());
        figures.scan_jitter_us_p50.set(house.jitter.value_at_quantile(0.5));
        figures.scan_jitter_us_p99.set(house.jitter.value_at_quantile(0.99));
        figures.scan_jitter_us_max.set(house.jitter.max());
        house.jitter_seconds += 1;
        if house.jitter_seconds >= JITTER_WINDOW_SECONDS {
            house.jitter_seconds = 0;
            house.jitter.reset();
        }
    }
}

/// That less than the target rate is sampled is said when it begins and when it ends.
fn log_share(before: f64, share: f64) {
    if before >= 1.0 && share < 1.0 {
        tracing::info!(share, "over the CPU budget: the fast families are scanned more seldom");
    } else if before < 1.0 && share >= 1.0 {
        tracing::info!("within the CPU budget: the target rate is sampled again");
    }
}

/// A change of mode is never silent.
fn log_mode(budget: &Budget, before: Mode, mode: Mode) {
    let (used, limit) = (budget.used_percent(), budget.limit_percent());
    if mode > before {
        tracing::warn!(
            from = before.name(),
            to = mode.name(),
            used_percent = used,
            budget_percent = limit,
            "over the CPU budget: the agent samples less"
        );
    } else {
        tracing::info!(
            from = before.name(),
            to = mode.name(),
            used_percent = used,
            budget_percent = limit,
            "well within the CPU budget: the agent samples more again"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::SamplerSettings;
    use fettle_shared::catalogue::catalogue;
    use fettle_shared::frame::{decode, Scratch};

    fn state(
        settings: SamplerSettings,
        mut sealed: impl FnMut(&Header, &[u8]),
    ) -> State<impl FnMut(&Header, &[u8])> {
        let sampler = Sampler::open(settings, catalogue()).unwrap();
        let identity = Identity { agent: "test".into(), boot: 1, first_seq: 1 };
        State::new(sampler, FrameBuilder::new(catalogue()), identity, move |header, bytes| {
            decode(bytes, &mut Scratch::default()).expect("every frame is sound");
            sealed(header, bytes);
        })
    }

    #[test]
    fn a_clock_that_jumps_starts_a_new_frame_and_one_that_creeps_does_not() {
        let mut frames = Vec::new();
        let mut state =
            state(SamplerSettings::default(), |header, _| frames.push((header.first_us, header.last_us)));
        let figures = Arc::clone(state.sampler.figures());
        let mut clock = ScanClock { wall_us: 1_700_000_000_100_000, mono_us: 5_000_000 };
        let mut tick = |wall: i64, mono: u64| {
            clock.wall_us += wall;
            clock.mono_us += mono;
            state.tick(clock, clock.mono_us);
        };
        tick(0, 0);
        tick(60_000, 60_000);
        tick(-40_000, 60_000); // Set back by a tenth of a second: slewed, not jumped.
        tick(60_000, 60_000);
        assert_eq!(figures.clock_jumps.get(), 0);
        assert_eq!(figures.frames.get(), 0);
        tick(3_600_000_000, 60_000);
        tick(60_000, 60_000);
        tick(-7_200_000_000, 60_000);
        tick(1_060_000, 1_060_000);
        assert_eq!(figures.clock_jumps.get(), 2);
        drop(state);
        assert_eq!(frames.len(), 3, "{frames:?}");
        assert!(frames[1].0 - frames[0].1 > 3_000_000_000, "forward");
        assert!(frames[2].0 < frames[1].0, "and back");
    }

    #[test]
    fn over_budget_the_agent_does_less_and_says_so() {
        let settings = SamplerSettings { cpu_budget_percent: 0.0, ..Default::default() };
        let mut state = state(settings, |_, _| {});
        let mut mono_us = state.housekeeping.mono_us;
        for mode in [Mode::Reduced, Mode::Minimal, Mode::Emergency] {
            for _ in 0..3 {
                mono_us += 1_000_000;
                state.housekeeping.cpu_us = 0; // All CPU time so far counts as the last second's.
                state.keep_house(mono_us);
            }
            assert_eq!(state.sampler.mode(), mode);
            assert_eq!(state.sampler.figures().mode.get(), mode as u64);
            assert!(state.sampler.figures().cpu_percent.get() > 0);
        }
    }

    #[test]
    fn frames_come_each_second_whole_and_in_order() {
        // So many samples a second that few scans bring them, however much runs on this host.
        let mut trial = Sampler::open(SamplerSettings::default(), catalogue()).unwrap();
        let a_scan = trial.scan(ScanClock::now(), &mut FrameBuilder::new(catalogue())).samples;
        drop(trial);
        // The budget is for the whole process, in which other tests run too.
        let (target_rate, cpu_budget_percent) = (4.0 * a_scan as f64, 100_000.0);
        let settings = SamplerSettings { target_rate, cpu_budget_percent, ..Default::default() };
        let sampler = Sampler::open(settings, catalogue()).unwrap();
        let figures = Arc::new(Figures::default());
        let stop = AtomicBool::new(false);
        let identity = Identity { agent: "test".into(), boot: 7, first_seq: 1 };
        let mut frames = Vec::new();
        run_scan_thread(
            sampler,
            FrameBuilder::new(catalogue()),
            identity,
            &figures,
            &stop,
            |header, bytes| {
                frames.push((*header, bytes.to_vec()));
                // A thread that is late seals a second only at the next one's first scan, which is sealed at the stop.
                stop.store(frames.len() >= 3, Ordering::Release);
            },
        )
        .unwrap();
        let mut samples = 0;
        let mut seconds = Vec::new();
        let mut scratch = Scratch::default();
        for (i, (header, bytes)) in frames.iter().enumerate() {
            assert_eq!(header.seq, i as u64 + 1);
            assert_eq!(header.first_us / SECOND_US, header.last_us / SECOND_US, "one second a frame");
            seconds.push(header.first_us / SECOND_US);
            let frame = decode(bytes, &mut scratch).unwrap();
            assert!(frame.blocks.iter().any(|b| b.family == 11 && b.rows > 0), "processes are in it");
            samples += header.samples;
        }
        assert!(seconds.windows(2).all(|w| w[0] < w[1]), "{seconds:?}");
        assert_eq!(figures.samples_taken.get(), samples, "what was taken was sealed");
        assert!((3..=4).contains(&frames.len()), "{}", frames.len());
        assert_eq!(figures.frames.get(), frames.len() as u64);
        assert!(figures.rss_bytes.get() > 0 && figures.open_fds.get() > 3);
        assert!(figures.scan_interval_us.get() > 50_000, "{target_rate} a second need few scans here");
    }
}
