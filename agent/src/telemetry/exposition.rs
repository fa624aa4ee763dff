//! The agent's figures in Prometheus's text format. Names, kinds and help come from the catalogue's
//! `self` family, so they are written once; times become seconds, as Prometheus wants them, and the
//! percentiles of one thing become one summary.

use std::fmt::Write as _;

use fettle_shared::catalogue::{catalogue, Metric, MetricKind};

use crate::handoff::Figures;
use crate::publish::AckTimes;

/// The page.
pub fn exposition(agent: &str, figures: &Figures, times: &AckTimes) -> String {
    let mut page = String::with_capacity(16 << 10);
    // Writing to a string cannot fail.
    let _ = write(&mut page, agent, figures, times);
    page
}

fn write(page: &mut String, agent: &str, figures: &Figures, times: &AckTimes) -> std::fmt::Result {
    let name = "fettle_agent_info";
    writeln!(page, "# HELP {name} The agent.\n# TYPE {name} gauge")?;
    writeln!(page, "{name}{{agent=\"{agent}\",version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))?;
    let family = catalogue().family("self").map_or(&[][..], |family| &family.metrics);
    for metric in family.iter().filter(|metric| !is_percentile(&metric.name)) {
        if let Some(figure) = figures.by_name(&metric.name) {
            write_figure(page, metric, figure.get())?;
        }
    }
    let jitter = [
        ("0.5", figures.scan_jitter_us_p50.get()),
        ("0.99", figures.scan_jitter_us_p99.get()),
        ("1", figures.scan_jitter_us_max.get()),
    ];
    let help = "How late scans were over the last ten seconds.";
    write_summary(page, "scan_jitter_seconds", help, &jitter, None)?;
    times.with(|times| {
        let quantile = |q: f64| if times.is_empty() { 0 } else { times.value_at_quantile(q) };
        let quantiles =
            [("0.5", quantile(0.5)), ("0.9", quantile(0.9)), ("0.99", quantile(0.99)), ("1", times.max())];
        let help = "Time from publishing a frame to JetStream's acknowledgement.";
        let total = times.len() as f64 * times.mean() / 1e6;
        write_summary(page, "publish_ack_seconds", help, &quantiles, Some((total, times.len())))
    })
}

fn is_percentile(name: &str) -> bool {
    ["_p50", "_p99", "_max"].iter().any(|end| name.ends_with(end))
}

fn write_figure(page: &mut String, metric: &Metric, value: u64) -> std::fmt::Result {
    let (stem, scale) = match (metric.unit.as_str(), metric.name.strip_suffix("_us")) {
        ("microseconds", Some(stem)) => (format!("{stem}_seconds"), 1e-6),
        _ if metric.unit.starts_with("percent") => (metric.name.clone(), metric.scale.unwrap_or(1.0)),
        _ => (metric.name.clone(), 1.0),
    };
    let (end, kind) = match metric.kind {
        MetricKind::Counter => ("_total", "counter"),
        MetricKind::Gauge => ("", "gauge"),
    };
    let name = format!("fettle_agent_{stem}{end}");
    writeln!(
        page,
        "# HELP {name} {}\n# TYPE {name} {kind}",
        metric.help.replace('\\', "\\\\").replace('\n', " ")
    )?;
    if scale == 1.0 {
        writeln!(page, "{name} {value}")
    } else {
        writeln!(page, "{name} {}", value as f64 * scale)
    }
}

fn write_summary(
    page: &mut String,
    stem: &str,
    help: &str,
    quantiles: &[(&str, u64)],
    total: Option<(f64, u64)>,
) -> std::fmt::Result {
    let name = format!("fettle_agent_{stem}");
    writeln!(page, "# HELP {name} {help}\n# TYPE {name} summary")?;
    for (quantile, micros) in quantiles {
        writeln!(page, "{name}{{quantile=\"{quantile}\"}} {}", *micros as f64 / 1e6)?;
    }
    if let Some((sum, count)) = total {
        writeln!(page, "{name}_sum {sum}\n{name}_count {count}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_on_the_page_in_prometheus_form() {
        let figures = Figures::default();
        let mut n = 0;
        figures.each(|_, _| n += 1);
        figures.cpu_us.set(1_500_000);
        figures.spool_bytes.set(7);
        let page = exposition("web-1", &figures, &AckTimes::default());
        assert!(page.contains("\nfettle_agent_cpu_seconds_total 1.5\n"), "{page}");
        assert!(page.contains("\nfettle_agent_spool_bytes 7\n"));
        assert!(page.contains("fettle_agent_info{agent=\"web-1\""));
        assert!(page.contains("\nfettle_agent_publish_ack_seconds_count 0\n"));
        figures.each(|name, _| {
            let stem = name.split("_us").next().unwrap_or(name);
            assert!(page.contains(&format!("\nfettle_agent_{stem}")), "{name} is not on the page");
        });
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok() && name.starts_with("fettle_agent_"), "{line}");
        }
    }
}
