//! The history of one entity on a grid of equal steps, as roll-ups come to it: some steps missing, the
//! newest perhaps not there yet.

/// Values of some metrics of one entity, a row a step; a value that is not there is NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// Values of the entity's key columns.
    pub entity: Vec<String>,
    /// Start of the first step, seconds since 1970.
    pub start: u32,
    /// Length of a step in seconds.
    pub step_s: u32,
    /// One column a metric, all of one length.
    pub columns: Vec<Vec<f64>>,
}

impl Track {
    /// The most steps of a track: what lies further back is left out.
    pub const MOST: usize = 100_000;

    /// A track of rows, each the start of a step (seconds since 1970) and one value a metric, oldest first.
    /// `None` without rows, or where a row has no time.
    #[must_use]
    pub fn new(entity: Vec<String>, step_s: u32, rows: &[Vec<Option<f64>>]) -> Option<Self> {
        let time = |row: &Vec<Option<f64>>| row.first().copied().flatten().map(|t| t as u32);
        let newest = time(rows.last()?)?;
        let step_s = step_s.max(1);
        let oldest = newest.saturating_sub(step_s.saturating_mul(Self::MOST as u32 - 1));
        let rows: Vec<&Vec<Option<f64>>> =
            rows.iter().filter(|row| time(row).is_some_and(|t| t >= oldest && t <= newest)).collect();
        let start = time(rows.first()?)?;
        let steps = ((newest - start) / step_s + 1) as usize;
        let metrics = rows.iter().map(|row| row.len() - 1).max().unwrap_or(0);
        let mut columns = vec![vec![f64::NAN; steps]; metrics];
        for row in rows {
            let Some(at) = time(row).map(|t| ((t.max(start) - start) / step_s) as usize) else { continue };
            for (column, value) in columns.iter_mut().zip(&row[1..]) {
                column[at] = value.unwrap_or(f64::NAN);
            }
        }
        Some(Self { entity, start, step_s, columns })
    }

    /// Steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// Start of the last step, seconds since 1970.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.start + self.step_s * self.steps().saturating_sub(1) as u32
    }

    /// A column's value in the step that begins at `second`; NaN when it isn't there.
    #[must_use]
    pub fn at(&self, column: usize, second: u32) -> f64 {
        let Some(after) = second.checked_sub(self.start) else { return f64::NAN };
        let found = self.columns.get(column).and_then(|c| c.get((after / self.step_s) as usize));
        found.copied().unwrap_or(f64::NAN)
    }

    /// A column's newest value at or before `second`, no older than `reach_s`; NaN without.
    #[must_use]
    pub fn held(&self, column: usize, second: u32, reach_s: u32) -> f64 {
        (0..=reach_s / self.step_s)
            .filter_map(|back| second.checked_sub(back * self.step_s))
            .map(|at| self.at(column, at))
            .find(|value| value.is_finite())
            .unwrap_or(f64::NAN)
    }

    /// A counter's increase a second over the step at `second`, against the newest value before it within
    /// `reach_s`; NaN when either is missing, and where the counter was reset.
    #[must_use]
    pub fn rate(&self, column: usize, second: u32, reach_s: u32) -> f64 {
        let now = self.at(column, second);
        for back in 1..=(reach_s / self.step_s).max(1) {
            let Some(before) = second.checked_sub(back * self.step_s) else { break };
            let then = self.at(column, before);
            if then.is_finite() {
                let rate = (now - then) / f64::from(back * self.step_s);
                return if rate >= 0.0 { rate } else { f64::NAN };
            }
        }
        f64::NAN
    }

    /// A counter's increase a second at every step, the first NaN.
    #[must_use]
    pub fn rates(&self, column: usize) -> Vec<f64> {
        (0..self.steps())
            .map(|at| self.rate(column, self.start + at as u32 * self.step_s, 5 * self.step_s))
            .collect()
    }

    /// A value of every step made of its columns.
    pub fn derived(&self, make: impl Fn(&dyn Fn(usize) -> f64) -> f64) -> Vec<f64> {
        (0..self.steps())
            .map(|at| make(&|column| self.columns.get(column).map_or(f64::NAN, |c| c[at])))
            .collect()
    }
}

/// The newest value that is there.
pub(super) fn last_finite(values: &[f64]) -> Option<f64> {
    values.iter().rev().copied().find(|value| value.is_finite())
}

/// How many values are there.
pub(super) fn finite(values: &[f64]) -> usize {
    values.iter().filter(|value| value.is_finite()).count()
}

#[cfg(test)]
mod tests {
    use super::Track;

    fn row(time: u32, value: Option<f64>) -> Vec<Option<f64>> {
        vec![Some(f64::from(time)), value]
    }

    #[test]
    fn steps_without_rows_are_missing() {
        let track =
            Track::new(vec!["a".into()], 10, &[row(100, Some(1.0)), row(130, Some(4.0)), row(140, None)])
                .unwrap();
        assert_eq!((track.start, track.steps(), track.newest()), (100, 5, 140));
        assert_eq!(track.at(0, 135), 4.0);
        assert!(track.at(0, 110).is_nan() && track.at(0, 90).is_nan() && track.at(0, 150).is_nan());
        assert_eq!(track.held(0, 145, 20), 4.0);
        assert!(track.held(0, 125, 10).is_nan());
        assert!(Track::new(Vec::new(), 10, &[]).is_none());
    }

    #[test]
    fn rates_bridge_gaps_and_leave_resets_out() {
        let rows = [(0, 5.0), (10, 25.0), (30, 65.0), (40, 1.0)].map(|(t, v)| row(t, Some(v)));
        let track = Track::new(Vec::new(), 10, &rows).unwrap();
        let rates = track.rates(0);
        assert_eq!((rates[1], rates[3]), (2.0, 2.0));
        assert!(rates[0].is_nan() && rates[2].is_nan() && rates[4].is_nan());
    }
}
