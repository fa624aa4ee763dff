//! Settings of the detectors from a file: TOML with the keys of the collector's `[analysis]`, and tables for
//! everything that is not there, because a replay is where it is tried.

use fettle_analysis::detect::correlate;
use fettle_analysis::detect::host::HostConfig;
use fettle_analysis::detect::series::{Classical, PanelConfig, SeriesConfig};
use fettle_analysis::live::LiveConfig;
use serde::Deserialize;

/// The file, every key optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDetectors {
    series_per_host: Option<usize>,
    reports_a_day: Option<f32>,
    learning_s: Option<u32>,
    host_learning_s: Option<u32>,
    youngest_s: Option<u32>,
    kept_anomalies: Option<usize>,
    classical: Option<Classical>,
    /// The collector's alone; taken so that its section can be copied as it is.
    #[serde(rename = "enabled")]
    _enabled: Option<bool>,
    /// See `_enabled`.
    #[serde(rename = "snapshot_interval_s")]
    _snapshot_interval_s: Option<u64>,
    named: Option<usize>,
    together_after_s: Option<u32>,
    calm_s: Option<u32>,
    series: SeriesConfig,
    panel: PanelConfig,
    host: HostConfig,
    together: correlate::Settings,
}

/// Reads the file's text; a complaint names key and line.
pub(super) fn parse(text: &str) -> Result<LiveConfig, String> {
    let raw: RawDetectors = toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        format!("line {}: {}", before.matches('\n').count() + 1, error.message().replace('\n', " "))
    })?;
    let defaults = LiveConfig::default();
    let classical = raw.classical.or(raw.series.classical);
    if let Some(Classical { window_points, threshold_sigmas }) = classical {
        if !(10..=10_000).contains(&window_points) || !(0.1..=100.0).contains(&threshold_sigmas) {
            return Err("classical: write 10 to 10000 window_points and 0.1 to 100 threshold_sigmas".into());
        }
    }
    Ok(LiveConfig {
        series_per_host: raw.series_per_host.unwrap_or(defaults.series_per_host),
        host_learning_s: raw.host_learning_s.unwrap_or(defaults.host_learning_s),
        youngest_s: raw.youngest_s.unwrap_or(defaults.youngest_s),
        named: raw.named.unwrap_or(defaults.named),
        together_after_s: raw.together_after_s.unwrap_or(defaults.together_after_s),
        calm_s: raw.calm_s.unwrap_or(defaults.calm_s),
        panel: PanelConfig {
            reports_a_day: raw.reports_a_day.unwrap_or(raw.panel.reports_a_day),
            learning_s: raw.learning_s.unwrap_or(raw.panel.learning_s),
            ..raw.panel
        },
        series: SeriesConfig {
            kept_anomalies: raw.kept_anomalies.unwrap_or(raw.series.kept_anomalies),
            classical,
            ..raw.series
        },
        host: raw.host,
        together: raw.together,
        ..defaults
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_collector_and_the_rest_is_as_shipped() {
        let text = "youngest_s = 5\nenabled = true\nreports_a_day = 2.0\n[series]\nalarm_evidence = 8.5\n\
                    [classical]\n[panel]\nstart = 9.0\n";
        let config = parse(text).unwrap();
        assert_eq!((config.youngest_s, config.series.alarm_evidence), (5, 8.5));
        assert_eq!((config.panel.reports_a_day, config.panel.start), (2.0, 9.0));
        assert_eq!(config.series.classical.map(|classical| classical.window_points), Some(100));
        assert_eq!(parse("").unwrap(), LiveConfig::default());
    }

    #[test]
    fn unknown_keys_are_refused_by_name_and_line() {
        for (text, line, word) in [
            ("youngest_s = 5\nyungest_s = 6\n", "line 2:", "yungest_s"),
            ("[panel]\n\nreports = 1\n", "line 3:", "reports"),
            ("youngest_s = \"x\"\n", "line 1:", "x"),
            ("[series\n", "line 1:", ""),
            ("[classical]\nwindow_points = 1\n", "classical", "window_points"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.starts_with(line) && said.contains(word), "{said}");
        }
    }
}
