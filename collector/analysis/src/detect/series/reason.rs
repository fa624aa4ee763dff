//! Which words fit: the view that contributes most, told with the numbers it saw.

use super::detector::Point;
use super::verdict::Reason;
use super::week::Usual;

/// The level speaks in place of the season when it says nearly as much: it is the simpler reason.
const LEVEL_FIRST: f32 = 0.75;
/// A point this many times as far out as the mean of the last points stands alone.
const ALONE: f32 = 3.0;
/// The mean of many points has gone this share of the way: it has been long under way.
const LONG_UNDER_WAY: f32 = 0.6;
/// A series stands still when its moves are below this share of the usual.
const STILL: f32 = 0.02;

/// Which view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Week,
    Day,
    Level,
    Moves,
    Shape,
}

/// Order of the rarities of a point.
pub(super) const VIEWS: [View; 5] = [View::Week, View::Day, View::Level, View::Moves, View::Shape];

/// The view to speak of: the rarest; the level in place of a season when it comes near, or when the season is
/// no more than this very hour so far.
fn spokesman(rarities: &[f32; 5], usual: &Usual) -> View {
    let mut best = 0;
    for at in 1..rarities.len() {
        if rarities[at] > rarities[best] {
            best = at;
        }
    }
    let unseen = match VIEWS[best] {
        View::Week => Some(!usual.weeks),
        View::Day => Some(!usual.days),
        _ => None,
    };
    if unseen.is_some_and(|unseen| unseen || rarities[2] >= LEVEL_FIRST * rarities[best]) {
        return View::Level;
    }
    VIEWS[best]
}

/// The reason in the unit of the series.
pub(super) fn reason(rarities: &[f32; 5], point: &Point) -> Reason {
    let absolute = |relative: f32| point.origin + f64::from(relative);
    let (now, level) = (absolute(point.short), absolute(point.level));
    if point.still > rarities.iter().sum() {
        return Reason::FlatLine { value: absolute(point.value), usual_move: f64::from(point.moves_usual) };
    }
    match spokesman(rarities, &point.usual) {
        View::Week => UsualAt { weekly: true }.words(point, point.usual.of_week, point.z.week),
        View::Day => UsualAt { weekly: false }.words(point, point.usual.of_day, point.z.day),
        View::Level => {
            let (out, short) = ((point.value - point.level).abs(), (point.short - point.level).abs());
            let middle = (point.middle - point.level).abs();
            if out > ALONE * short {
                let sigmas = super::moments::standardised(point.value - point.level, point.variance);
                Reason::Spike { value: absolute(point.value), level, sigmas }
            } else if middle > LONG_UNDER_WAY * short {
                Reason::Trend { now, level, sigmas: point.z.level }
            } else {
                Reason::LevelShift { now, level, sigmas: point.z.level }
            }
        }
        View::Moves => {
            let usual_move = f64::from(point.moves_usual);
            if point.moves_now < STILL * point.moves_usual {
                Reason::FlatLine { value: absolute(point.value), usual_move }
            } else {
                Reason::Variability { now: f64::from(point.moves_now), usual_move }
            }
        }
        View::Shape => Reason::Shape { value: absolute(point.value), one_in: 10f32.powf(point.z.shape) },
    }
}

struct UsualAt {
    weekly: bool,
}

impl UsualAt {
    fn words(&self, point: &Point, usual: Option<f32>, sigmas: f32) -> Reason {
        Reason::UnusualTime {
            now: point.origin + f64::from(point.value),
            usual: point.origin + f64::from(usual.unwrap_or(point.level)),
            sigmas,
            weekly: self.weekly,
        }
    }
}
