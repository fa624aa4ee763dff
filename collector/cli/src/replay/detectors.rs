//! Settings of the detectors from a file: TOML with the keys and checks of the collector's `[analysis]`.

use fettle_analysis::live::{LiveConfig, RawAnalysis};

/// Reads the file's text; a complaint names the key, and the line if the file cannot be read there.
pub(super) fn parse(text: &str) -> Result<LiveConfig, String> {
    let raw: RawAnalysis = toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        format!("line {}: {}", before.matches('\n').count() + 1, error.message().replace('\n', " "))
    })?;
    raw.settle().map(|analysis| analysis.live).map_err(|error| error.to_string())
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
    fn unknown_keys_are_refused_by_name_and_line_and_values_as_the_collector_does() {
        for (text, begin, word) in [
            ("youngest_s = 5\nyungest_s = 6\n", "line 2:", "yungest_s"),
            ("[panel]\n\nreports = 1\n", "line 3:", "reports"),
            ("youngest_s = \"x\"\n", "line 1:", "x"),
            ("[series\n", "line 1:", ""),
            ("[classical]\nwindow_points = 1\n", "classical", "window_points"),
            ("reports_a_day = 0.0\n", "reports_a_day is 0;", "0.01 to 100"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.starts_with(begin) && said.contains(word), "{said}");
        }
    }
}
