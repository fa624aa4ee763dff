//! The alert path with real parts. Three runs:
//!
//! 1. services are killed and stopped, and it is measured how soon that is told over HTTP and by mail;
//! 2. 10,000 alerts of 500 hosts begin within 10 s, as reports on the real subject, and it is counted what people
//!    are told, whether each critical alert is named, and what memory and state that takes;
//! 3. services fall and rise while the collector is killed with -9 again and again, some of the times while a
//!    notification waits for its answer, and it is counted how often each fault was told.

mod faults;
mod kills;
mod sinks;
mod storm;
mod world;

use clap::Args;

use crate::machine::Machine;
use crate::report::Report;
use crate::settings::Settings;

/// How much is done.
#[derive(Debug, Clone, Args)]
pub(crate) struct Scale {
    /// Faults that are timed.
    #[arg(long, default_value_t = 48)]
    faults: usize,
    /// Alerts of the storm.
    #[arg(long, default_value_t = 10_000)]
    alerts: usize,
    /// Kills of the collector.
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// Repeats a run's moments.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs all three.
pub(crate) async fn alerts(settings: &Settings, scale: &Scale) -> anyhow::Result<()> {
    let mut machine = Machine::look();
    machine.add_version("fettle-collector", None, "--version");
    machine.add_version("fettle-agent", None, "--version");
    let state = settings.state()?;
    let seed = scale.seed.unwrap_or_else(rand::random);
    let title = format!(
        "Alerts: {} faults timed, a storm of {}, {} kills of the collector",
        scale.faults, scale.alerts, scale.kills
    );
    let mut report = Report::new("alerts", &title, machine);
    faults::run(&mut report, &state.path().join("faults"), scale.faults).await?;
    storm::run(&mut report, &state.path().join("storm"), scale.alerts).await?;
    kills::run(&mut report, &state.path().join("kills"), scale.kills, seed).await?;
    report.figure("seed", seed.to_string());
    report.publish(&settings.results)?;
    Ok(())
}

/// The value below which this share of them lies, by nearest rank; not a number without any.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values() {
        let values: Vec<f64> = (1..=60).rev().map(f64::from).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (30.0, 60.0));
        assert_eq!(percentile(&[2.0], 0.0), 2.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
