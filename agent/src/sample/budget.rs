//! The CPU budget: decides, once a second, how much the agent may do. Use that is over budget in the mean of some
//! seconds, or far over it in one, lowers the share of the target rate that is sampled, down to [`LEAST_SHARE`];
//! ten seconds with room to spare raise it. Only when
//! that is used up do three seconds over budget step one mode down. Under 60 % of the budget for thirty seconds steps
//! one up; the wide gap between the two keeps it from swinging, and a step up that had to be taken back within
//! a minute doubles the calm that the next one needs. Pure: CPU time and wall time come in.

/// How much the agent does. The order is the order of stepping down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Mode {
    /// Everything at its own pace, the fast families at the share of the target rate that the budget pays for.
    #[default]
    Full,
    /// Half the target rate; families of priority 4 and 5 at a quarter of their pace.
    Reduced,
    /// Priorities 1 and 2 each second, priority 3 each ten seconds, the rest not at all.
    Minimal,
    /// component each second; cpu, memory, load, pressure and self each ten.
    Emergency,
}

impl Mode {
    /// The name used in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Reduced => "reduced",
            Self::Minimal => "minimal",
            Self::Emergency => "emergency",
        }
    }

    fn down(self) -> Self {
        match self {
            Self::Full => Self::Reduced,
            Self::Reduced => Self::Minimal,
            Self::Minimal | Self::Emergency => Self::Emergency,
        }
    }

    fn up(self) -> Self {
        match self {
            Self::Full | Self::Reduced => Self::Full,
            Self::Minimal => Self::Reduced,
            Self::Emergency => Self::Minimal,
        }
    }
}

/// Seconds over budget that step one mode down.
const OVER_SECONDS: f64 = 3.0;
/// Seconds of calm that step one mode up, at first and at most.
const CALM_SECONDS: f64 = 30.0;
const LONGEST_CALM_SECONDS: f64 = 960.0;
/// A step down so soon after a step up says that the step up was wrong.
const REGRET_SECONDS: f64 = 60.0;
/// Below this share of the budget a second is calm.
const CALM_SHARE: f64 = 0.6;

/// Least share of the target rate in full mode; below it is the reduced mode's half.
pub const LEAST_SHARE: f64 = 0.6;
/// Where in the budget a changed share is to bring the use.
const AIM: f64 = 0.95;
/// One second over budget lowers the share by no more than this: a spike must not cost half a minute of samples.
const LOWER_MOST: f64 = 0.8;
/// Use beyond this much of the budget is far over it. In the mean a second counts no more than this.
const FAR: f64 = 1.25;
/// Seconds over which the use is smoothed (exponentially): one second's use varies by a tenth and more.
const SMOOTH_SECONDS: f64 = 8.0;
/// Seconds with less than this share of the budget in use that raise the share of the rate, and by how much at most.
const ROOM_SECONDS: f64 = 10.0;
const ROOM_SHARE: f64 = 0.9;
const RAISE_MOST: f64 = 1.25;

/// Turns CPU use into a mode, and in full mode into a share of the target rate.
#[derive(Debug, Clone)]
pub struct Budget {
    limit_percent: f64,
    mode: Mode,
    /// Of the target rate, in full mode.
    share: f64,
    /// Use in percent, smoothed; scaled with the share whenever that changes.
    smoothed: f64,
    /// Seconds with room to spare.
    room: f64,
    over: f64,
    calm: f64,
    /// Calm that the next step up needs.
    calm_wanted: f64,
    /// Seconds since the last step up.
    since_up: f64,
    used_percent: f64,
}

impl Budget {
    /// A budget in percent of one core.
    pub fn new(limit_percent: f64) -> Self {
        Self {
            limit_percent,
            mode: Mode::Full,
            share: 1.0,
            smoothed: 0.0,
            room: 0.0,
            over: 0.0,
            calm: 0.0,
            calm_wanted: CALM_SECONDS,
            since_up: f64::INFINITY,
            used_percent: 0.0,
        }
    }

    /// Takes the CPU and wall time, in µs, since the last call (about a second) and says which
    /// mode holds from now on. A zero or negative wall time changes nothing.
    pub fn feed(&mut self, cpu_us: u64, wall_us: u64) -> Mode {
        if wall_us == 0 {
            return self.mode;
        }
        let seconds = wall_us as f64 / 1e6;
        self.used_percent = 100.0 * cpu_us as f64 / wall_us as f64;
        // A long pause (a suspended host) must not count as many seconds of evidence.
        let weight = seconds.min(2.0);
        self.since_up += weight;
        if self.used_percent > self.limit_percent {
            self.over += weight;
            self.calm = 0.0;
        } else {
            self.over = 0.0;
            self.calm =
                if self.used_percent < CALM_SHARE * self.limit_percent { self.calm + weight } else { 0.0 };
        }
        self.pace(weight);
        let used_up = self.mode != Mode::Full || self.share <= LEAST_SHARE;
        if self.over >= OVER_SECONDS - 0.5 && used_up {
            let regret = self.since_up < REGRET_SECONDS;
            let doubled = (self.calm_wanted * 2.0).min(LONGEST_CALM_SECONDS);
            self.calm_wanted = if regret { doubled } else { CALM_SECONDS };
            self.mode = self.mode.down();
            self.over = 0.0;
        } else if self.mode != Mode::Full && self.calm >= self.calm_wanted - 0.5 {
            self.mode = self.mode.up();
            self.calm = 0.0;
            self.since_up = 0.0;
        }
        self.mode
    }

    /// Sets the share by the use so far. Whoever comes back to full mode begins with the least.
    fn pace(&mut self, weight: f64) {
        let (limit, far) = (self.limit_percent, FAR * self.limit_percent);
        if self.mode != Mode::Full {
            (self.share, self.smoothed, self.room) = (LEAST_SHARE, 0.0, 0.0);
            return;
        }
        self.smoothed += (self.used_percent.min(far) - self.smoothed) * weight / SMOOTH_SECONDS;
        if self.used_percent > far {
            self.scale((AIM * limit / self.used_percent).max(LOWER_MOST));
        } else if self.smoothed > limit {
            self.scale(AIM * limit / self.smoothed);
        } else if self.share < 1.0 && self.smoothed < ROOM_SHARE * limit {
            self.room += weight;
            if self.room >= ROOM_SECONDS - 0.5 {
                self.scale((AIM * limit / self.smoothed).min(RAISE_MOST));
            }
        } else {
            self.room = 0.0;
        }
    }

    /// Changes the share by this factor, and what use is expected with it.
    fn scale(&mut self, factor: f64) {
        let share = (self.share * factor).clamp(LEAST_SHARE, 1.0);
        self.smoothed *= share / self.share;
        (self.share, self.room) = (share, 0.0);
    }

    /// The mode that holds.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Share of the target rate that is to be sampled in full mode, [`LEAST_SHARE`] to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// CPU use of the last interval, in percent of one core.
    pub fn used_percent(&self) -> f64 {
        self.used_percent
    }

    /// The budget, in percent of one core.
    pub fn limit_percent(&self) -> f64 {
        self.limit_percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(budget: &mut Budget, n: usize, percent: u64) -> Mode {
        let mut mode = budget.mode();
        for _ in 0..n {
            mode = budget.feed(percent * 10_000, 1_000_000);
        }
        mode
    }

    #[test]
    fn three_seconds_over_step_down_one_mode_at_a_time() {
        let mut budget = Budget::new(2.0);
        assert_eq!(seconds(&mut budget, 2, 5), Mode::Full);
        assert_eq!(seconds(&mut budget, 1, 5), Mode::Reduced);
        assert_eq!(seconds(&mut budget, 3, 5), Mode::Minimal);
        assert_eq!(seconds(&mut budget, 3, 5), Mode::Emergency);
        assert_eq!(seconds(&mut budget, 9, 5), Mode::Emergency);
    }

    #[test]
    fn a_short_spike_changes_no_mode() {
        let mut budget = Budget::new(2.0);
        for _ in 0..10 {
            seconds(&mut budget, 2, 50);
            assert_eq!(seconds(&mut budget, 1, 1), Mode::Full);
        }
    }

    /// Runs an agent that takes this much of a core at the whole rate; gives the mode, and the share and the use
    /// at the end, in percent.
    fn settled(budget: &mut Budget, whole_percent: f64, n: usize) -> (Mode, f64, f64) {
        for _ in 0..n {
            let share = if budget.mode() == Mode::Full { budget.share() } else { 0.5 };
            budget.feed((whole_percent * share * 10_000.0) as u64, 1_000_000);
        }
        (budget.mode(), budget.share(), budget.used_percent())
    }

    #[test]
    fn a_little_over_budget_costs_a_little_of_the_rate_and_no_mode() {
        let mut budget = Budget::new(2.0);
        let (mode, share, used) = settled(&mut budget, 2.2, 60);
        assert_eq!(mode, Mode::Full);
        assert!((0.8..0.95).contains(&share) && used <= 2.0, "{share} of the rate, {used} %");
        // It holds there: neither over nor with so much room that it would be tried.
        assert_eq!(settled(&mut budget, 2.2, 600).1, share);
        // Room again: all of it, within a minute.
        assert_eq!(settled(&mut budget, 1.0, 60).1, 1.0);
        // A single spike costs a fifth, for a few times ten seconds.
        seconds(&mut budget, 1, 50);
        assert_eq!(budget.share(), LOWER_MOST);
        assert_eq!(settled(&mut budget, 1.0, 20), (Mode::Full, 1.0, 1.0));
    }

    #[test]
    fn far_over_budget_a_mode_goes_and_comes_back_at_the_least_share() {
        let mut budget = Budget::new(2.0);
        assert_eq!(settled(&mut budget, 5.0, 4).0, Mode::Reduced);
        assert_eq!(settled(&mut budget, 2.0, 32), (Mode::Full, LEAST_SHARE, 1.2));
        assert_eq!(settled(&mut budget, 2.0, 120).0, Mode::Full);
        assert!(budget.share() > 0.9, "{}", budget.share());
    }

    #[test]
    fn thirty_calm_seconds_step_up_and_the_middle_ground_holds() {
        let mut budget = Budget::new(10.0);
        seconds(&mut budget, 6, 20);
        assert_eq!(budget.mode(), Mode::Minimal);
        assert_eq!(seconds(&mut budget, 100, 8), Mode::Minimal, "80 % is neither over nor calm");
        assert_eq!(seconds(&mut budget, 29, 1), Mode::Minimal);
        assert_eq!(seconds(&mut budget, 1, 1), Mode::Reduced);
        assert_eq!(seconds(&mut budget, 30, 1), Mode::Full);
    }

    #[test]
    fn a_step_up_that_is_regretted_waits_longer_each_time() {
        let mut budget = Budget::new(2.0);
        seconds(&mut budget, 3, 5);
        for wait in [30, 60, 120, 240, 480, 960, 960] {
            assert_eq!(seconds(&mut budget, wait - 1, 1), Mode::Reduced, "{wait}");
            assert_eq!(seconds(&mut budget, 1, 1), Mode::Full, "{wait}");
            assert_eq!(seconds(&mut budget, 3, 5), Mode::Reduced, "{wait}");
        }
        assert_eq!(seconds(&mut budget, 960, 1), Mode::Full);
        assert_eq!(seconds(&mut budget, 100, 1), Mode::Full, "it went well for a while");
        seconds(&mut budget, 3, 5);
        assert_eq!(seconds(&mut budget, 30, 1), Mode::Full, "and the patience is back");
    }

    #[test]
    fn a_suspended_host_is_little_evidence() {
        let mut budget = Budget::new(2.0);
        assert_eq!(budget.feed(3_600_000_000, 3_600_000_000), Mode::Full);
        assert_eq!(budget.feed(5, 0), Mode::Full);
    }
}
