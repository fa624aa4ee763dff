//! The CPU budget: decides, once a second, how much the agent may do. Over budget for three
//! seconds steps one mode down, under 60 % of it for thirty seconds steps one up; the wide gap
//! between the two keeps it from swinging, and a step up that had to be taken back within a minute
//! doubles the calm that the next one needs. Pure: CPU time and wall time come in.

/// How much the agent does. The order is the order of stepping down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Mode {
    /// Everything at its own pace.
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

/// Turns CPU use into a mode.
#[derive(Debug, Clone)]
pub struct Budget {
    limit_percent: f64,
    mode: Mode,
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
        if self.over >= OVER_SECONDS - 0.5 {
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

    /// The mode that holds.
    pub fn mode(&self) -> Mode {
        self.mode
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
    fn a_short_spike_changes_nothing() {
        let mut budget = Budget::new(2.0);
        for _ in 0..10 {
            seconds(&mut budget, 2, 50);
            assert_eq!(seconds(&mut budget, 1, 1), Mode::Full);
        }
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
