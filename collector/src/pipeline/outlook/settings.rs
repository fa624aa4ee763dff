//! `[outlook]`: how often forecasts and predictions are made.

use std::time::Duration;

use serde::Deserialize;

use crate::config::ConfigError;

/// `[outlook]` as the file says it.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawOutlook {
    /// Seconds between two looks ahead; 0: none are made. 60 by default.
    pub every_s: Option<u64>,
    /// Within which a component's failure counts as soon, in seconds. 600 by default.
    pub predict_horizon_s: Option<u32>,
    /// Hours between two trainings of the model of failures; 0: none. 24 by default.
    pub retrain_every_h: Option<u64>,
}

/// What the look ahead works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlookSettings {
    /// Between two looks ahead; none: they are not made.
    pub every: Option<Duration>,
    /// Horizon of predictions, in seconds.
    pub predict_horizon_s: u32,
    /// Between two trainings; none: they are not made.
    pub retrain_every: Option<Duration>,
}

impl RawOutlook {
    /// Checks every value and fills in the defaults.
    ///
    /// # Errors
    /// The key that is out of range, and what to write instead.
    pub fn settle(&self) -> Result<OutlookSettings, ConfigError> {
        let refuse =
            |key, value: u64, remedy| Err(ConfigError::Value { key, value: value.to_string(), remedy });
        let every = self.every_s.unwrap_or(60);
        if every > 86_400 {
            return refuse("outlook.every_s", every, "write at most 86400 seconds, or 0 for none");
        }
        let horizon = self.predict_horizon_s.unwrap_or(fettle_analysis::outlook::HORIZON_S);
        if !(300..=3_600).contains(&horizon) {
            let remedy = "write 300 to 3600 seconds";
            return refuse("outlook.predict_horizon_s", u64::from(horizon), remedy);
        }
        let retrain = self.retrain_every_h.unwrap_or(24);
        if retrain > 10_000 {
            return refuse("outlook.retrain_every_h", retrain, "write at most 10000 hours, or 0 for none");
        }
        Ok(OutlookSettings {
            every: (every > 0).then(|| Duration::from_secs(every)),
            predict_horizon_s: horizon,
            retrain_every: (retrain > 0).then(|| Duration::from_secs(3_600 * retrain)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let raw = |text: &str| toml::from_str::<RawOutlook>(text).unwrap().settle();
        let settings = raw("").unwrap();
        assert_eq!((settings.every, settings.predict_horizon_s), (Some(Duration::from_secs(60)), 600));
        assert_eq!(raw("every_s = 0\nretrain_every_h = 0").unwrap().retrain_every, None);
        for (text, key) in [
            ("every_s = 100000", "outlook.every_s"),
            ("predict_horizon_s = 10", "outlook.predict_horizon_s"),
            ("retrain_every_h = 20000", "outlook.retrain_every_h"),
        ] {
            assert!(raw(text).unwrap_err().to_string().starts_with(key), "{text}");
        }
    }
}
