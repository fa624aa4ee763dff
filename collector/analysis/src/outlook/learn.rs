//! From the history of ups and downs to a model: which stretches of time teach, which judge, and what
//! becomes of the model that was learned.

use super::sight::Sight;
use crate::predict::{train, History, Model, Registry, Settings, Unit, Untrainable, Verdict};

/// Failures on record from which a first model is tried: five to learn from and two to judge it by.
pub const FEWEST_FAILURES: usize = 7;
/// The most stretches of each kind that are read.
pub const MOST_STRETCHES: usize = 60;
/// Share of the stretches, the latest, that judge.
const HELD_OUT: f64 = 0.3;

/// A stretch of a component's time that teaches something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Agent's name.
    pub host: String,
    /// Component; empty for the host itself.
    pub component: String,
    /// First second, since 1970.
    pub from: u32,
    /// The second at which it failed, or at which we stopped looking.
    pub until: u32,
    /// Whether it failed at the end.
    pub failed: bool,
}

/// How long stretches are, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Within which a failure counts as soon.
    pub horizon_s: u32,
    /// From which on a component counts as sound.
    pub cap_s: u32,
    /// Length of a step.
    pub step_s: u32,
}

impl Lengths {
    /// For a horizon, looked at in steps: sound from three horizons on.
    #[must_use]
    pub fn new(horizon_s: u32, step_s: u32) -> Self {
        Self { horizon_s, cap_s: 3 * horizon_s, step_s: step_s.max(1) }
    }

    /// What a model is asked for. Stretches are cut out of longer lives, so age says nothing.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            horizon: self.horizon_s / self.step_s,
            cap: self.cap_s / self.step_s,
            aged: false,
            ..Settings::default()
        }
    }
}

/// A span of time in which a component was the same throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First step, seconds since 1970.
    pub from: u32,
    /// Last step, seconds since 1970.
    pub last: u32,
    /// Whether it was up; `None`: nobody can say, or it was stopped on purpose.
    pub up: Option<bool>,
}

/// The stretches of one component, from its spans in order.
///
/// A failure is a span down that follows on a span up. The stretch before it reaches back as far as it was
/// up, at most the cap and two horizons. Quiet stretches are as long, are cut from what is left of a span
/// up, and do not overlap.
#[must_use]
pub fn stretches(host: &str, component: &str, spans: &[Span], lengths: Lengths) -> Vec<Stretch> {
    let longest = lengths.cap_s + 2 * lengths.horizon_s;
    let stretch = |from, until, failed| Stretch {
        host: host.to_owned(),
        component: component.to_owned(),
        from,
        until,
        failed,
    };
    let mut found = Vec::new();
    for (at, span) in spans.iter().enumerate().filter(|(_, span)| span.up == Some(true)) {
        let end = span.last + lengths.step_s;
        let down = spans.get(at + 1).filter(|next| next.up == Some(false));
        let down = down.filter(|next| next.from <= end + 6 * lengths.step_s);
        let mut quiet_until = end;
        if let Some(down) = down {
            let from = down.from.saturating_sub(longest).max(span.from);
            quiet_until = from;
            if down.from - from >= lengths.horizon_s / 4 {
                found.push(stretch(from, down.from, true));
            }
        }
        while quiet_until.saturating_sub(span.from) >= longest {
            found.push(stretch(quiet_until - longest, quiet_until, false));
            quiet_until -= longest;
        }
    }
    found.sort_by_key(|s| s.until);
    found
}

/// The latest failures and as many quiet stretches, spread evenly over their time.
#[must_use]
pub fn chosen(mut all: Vec<Stretch>) -> Vec<Stretch> {
    all.sort_by_key(|s| s.until);
    let (failed, quiet): (Vec<Stretch>, Vec<Stretch>) = all.into_iter().partition(|s| s.failed);
    let skip = failed.len().saturating_sub(MOST_STRETCHES);
    let every = quiet.len().div_ceil(MOST_STRETCHES).max(1);
    let mut chosen: Vec<Stretch> =
        failed.into_iter().skip(skip).chain(quiet.into_iter().step_by(every)).collect();
    chosen.sort_by_key(|s| s.until);
    chosen
}

/// What was seen in each stretch, parted into what teaches and what judges.
#[derive(Clone, Debug, Default)]
pub struct Lesson {
    /// Teaches.
    pub history: History,
    /// Judges.
    pub held_out: History,
    /// First second of the earliest stretch that teaches.
    pub from: u32,
    /// Last second of the latest one.
    pub until: u32,
}

impl Lesson {
    /// Parts stretches, each with its sights in order, by time: the latest failures and the latest quiet
    /// ones judge.
    #[must_use]
    pub fn new(mut seen: Vec<(Stretch, Vec<Sight>)>) -> Self {
        seen.sort_by_key(|(stretch, _)| stretch.until);
        let mut lesson = Self { from: u32::MAX, ..Self::default() };
        for failed in [true, false] {
            let of_kind: Vec<&(Stretch, Vec<Sight>)> =
                seen.iter().filter(|(s, sights)| s.failed == failed && !sights.is_empty()).collect();
            let judges = (of_kind.len() as f64 * HELD_OUT).floor() as usize;
            for (at, (stretch, sights)) in of_kind.iter().enumerate() {
                let unit = Unit { rows: sights.iter().map(|s| s.row.clone()).collect(), failed };
                if at + judges >= of_kind.len() {
                    lesson.held_out.units.push(unit);
                } else {
                    lesson.history.units.push(unit);
                    lesson.from = lesson.from.min(stretch.from);
                    lesson.until = lesson.until.max(stretch.until);
                }
            }
        }
        lesson.from = lesson.from.min(lesson.until);
        lesson
    }

    /// Failures that teach and that judge.
    #[must_use]
    pub fn failures(&self) -> (usize, usize) {
        let count = |history: &History| history.units.iter().filter(|unit| unit.failed).count();
        (count(&self.history), count(&self.held_out))
    }
}

/// Learns a model and offers it to the registry, which takes it into use only if it does better than the one
/// in use on what judges. Gives the model too, because one that was refused is kept as well.
///
/// # Errors
/// Too few failures, or nothing to learn from.
pub fn offer(
    registry: &mut Registry,
    lesson: &Lesson,
    settings: Settings,
    trained_at: i64,
) -> Result<(Model, Verdict), Untrainable> {
    let model = train(&lesson.history, settings)?;
    let verdict = registry.offer(model.clone(), trained_at, &lesson.held_out);
    Ok((model, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: Lengths = Lengths { horizon_s: 100, cap_s: 300, step_s: 10 };

    #[test]
    fn failures_end_stretches_and_quiet_times_are_cut_whole() {
        let span = |from, until: u32, up| Span { from, last: until - 10, up };
        let found = stretches(
            "h",
            "c",
            &[
                span(0, 2_000, Some(true)),
                span(2_000, 2_050, Some(false)),
                span(2_050, 2_060, Some(true)),
                span(2_060, 2_100, Some(false)),
                span(2_100, 2_200, Some(true)),
                span(2_200, 2_300, None),
                span(2_300, 2_400, Some(true)),
                span(9_000, 9_100, Some(false)),
            ],
            LENGTHS,
        );
        let found: Vec<(u32, u32, bool)> = found.iter().map(|s| (s.from, s.until, s.failed)).collect();
        // A component that was up for one step says nothing; one that was stopped, or that was last heard of
        // long before it was down, did not fail.
        assert_eq!(
            found,
            [(0, 500, false), (500, 1_000, false), (1_000, 1_500, false), (1_500, 2_000, true)]
        );
    }

    #[test]
    fn the_latest_judge_and_teach_nothing() {
        let stretch = |at: u32, failed| Stretch {
            host: "h".into(),
            component: "c".into(),
            from: at * 100,
            until: at * 100 + 50,
            failed,
        };
        let sight = |at: u32| Sight { second: at, row: vec![at as f32], up: Some(true) };
        let seen = (0..10)
            .flat_map(|at| [(stretch(at, true), vec![sight(at)]), (stretch(at, false), vec![sight(at)])])
            .collect();
        let lesson = Lesson::new(seen);
        assert_eq!(lesson.failures(), (7, 3));
        assert_eq!((lesson.from, lesson.until), (0, 650));
        let judged = lesson.held_out.units.iter().all(|unit| unit.rows[0][0] >= 7.0);
        assert!(judged, "{:?}", lesson.held_out);
        assert!(offer(&mut Registry::default(), &Lesson::default(), LENGTHS.settings(), 1).is_err());
    }

    #[test]
    fn what_is_read_is_bounded() {
        let all: Vec<Stretch> = (0..1_000)
            .map(|at| Stretch {
                host: "h".into(),
                component: String::new(),
                from: at,
                until: at + 1,
                failed: at % 2 == 0,
            })
            .collect();
        let chosen = chosen(all);
        let failed = chosen.iter().filter(|s| s.failed).count();
        assert_eq!(failed, MOST_STRETCHES);
        assert!(chosen.len() - failed <= MOST_STRETCHES && chosen[0].until < 30);
    }
}
