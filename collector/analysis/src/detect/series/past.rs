//! What a claim of rarity can be made from: for checks of the calibration.

/// The past of a series' evidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// Points remembered.
    pub points: u16,
    /// Of them, those that were odd at all: above the lowest bin.
    pub odd: u16,
}

impl Past {
    /// The chance that the next point is claimed to be one in `rarity`, by the past alone: one in `rarity`, if the past
    /// is as long as that, and never more than the share of points that were odd at all. A series that does not
    /// move claims nothing, and one that moves once in a thousand points claims one in a hundred as seldom.
    #[must_use]
    pub fn due(self, rarity: f64) -> f64 {
        if f64::from(self.points) + 1.0 < rarity {
            return 0.0;
        }
        self.due_beyond(rarity)
    }

    /// The same of the surprise, which goes on beyond what is remembered.
    #[must_use]
    pub fn due_beyond(self, rarity: f64) -> f64 {
        (1.0 / rarity).min(f64::from(self.odd) / f64::from(self.points.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::SeriesConfig;
    use super::super::detector::SeriesDetector;
    use super::*;

    #[test]
    fn a_series_owes_what_it_can_claim() {
        let of = |points, odd| Past { points, odd };
        assert_eq!(of(5_000, 4_000).due(1e3), 1e-3);
        assert_eq!(of(5_000, 0).due(1e2), 0.0, "it never moves");
        assert_eq!(of(5_000, 5).due(1e2), 1e-3, "it moves once in a thousand points");
        assert_eq!((of(998, 900).due(1e3), of(998, 900).due_beyond(1e3)), (0.0, 1e-3), "it is young");
        assert_eq!(Past::default().due_beyond(1e2), 0.0);
    }

    #[test]
    fn the_past_of_a_series_is_what_it_has_learned() {
        let config = SeriesConfig::default();
        let (mut still, mut lively) = (SeriesDetector::new(1), SeriesDetector::new(1));
        for at in 0..500i64 {
            still.update(at * 1_000_000, 7.0, &config);
            lively.update(at * 1_000_000, f64::from((at * 7919 % 1_000) as u16), &config);
        }
        assert_eq!(still.past(), Past { points: 500, odd: 0 });
        let past = lively.past();
        assert!(past.points == 500 && past.odd > 100, "{past:?}");
    }
}
