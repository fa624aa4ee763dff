//! Settings of the live watch, and the plan that follows from them and the catalogue.

use fettle_shared::catalogue::Catalogue;
use serde::{Deserialize, Serialize};

use super::choice::judged;
use super::features::Features;
use super::programs::ProgramPlaces;
use crate::detect::correlate;
use crate::detect::host::{HostConfig, SurgeConfig};
use crate::detect::series::{PanelConfig, SeriesConfig};

/// How hosts are watched: one set for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LiveConfig {
    /// How one series is judged.
    pub series: SeriesConfig,
    /// When the series of a host together are a report.
    pub panel: PanelConfig,
    /// How the features of a host are judged.
    pub host: HostConfig,
    /// When a sudden change of the features is a report.
    pub surge: SurgeConfig,
    /// Seconds of a host before the features may report.
    pub host_learning_s: u32,
    /// Series judged of one host at most.
    pub series_per_host: usize,
    /// Seconds for which an entity must have been there before its series are judged.
    pub youngest_s: u32,
    /// Series named in one report at most.
    pub named: usize,
    /// Age of an incident at which is said what moved together, in seconds.
    pub together_after_s: u32,
    /// An incident is over when nothing was odd for this long, in seconds.
    pub calm_s: u32,
    /// Seconds between two health scores.
    pub health_every_s: u32,
    /// What counts as having moved in an incident.
    pub together: correlate::Settings,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            series: SeriesConfig::default(),
            panel: PanelConfig::default(),
            host: HostConfig::default(),
            surge: SurgeConfig::default(),
            host_learning_s: 3_500,
            series_per_host: 12_000,
            youngest_s: 60,
            named: 20,
            together_after_s: 20,
            calm_s: 60,
            health_every_s: 10,
            together: correlate::Settings::default(),
        }
    }
}

/// What follows from the configuration and the catalogue, for all hosts alike.
#[derive(Debug)]
pub struct Plan {
    /// The metrics there are.
    pub catalogue: &'static Catalogue,
    /// Settings.
    pub config: LiveConfig,
    /// The host-wide features.
    pub features: Features,
    /// Where processes tell what they take.
    pub(super) programs: Option<ProgramPlaces>,
    /// By family: positions of the metrics that are judged.
    pub(super) judged: Vec<Vec<u16>>,
    /// By family: how much of the room for series it and more important ones may take, 0..=1.
    pub(super) room: Vec<f64>,
}

/// Share of the room that families of each priority (1 to 5) may fill: less important ones stop earlier,
/// so that the important ones always find room.
const ROOM: [f64; 5] = [1.0, 0.95, 0.85, 0.75, 0.65];

impl Plan {
    /// The plan.
    #[must_use]
    pub fn new(catalogue: &'static Catalogue, config: LiveConfig) -> Self {
        let judged = catalogue.families.iter().map(|family| {
            let metrics = family.metrics.iter().enumerate().filter(|(_, metric)| judged(family, metric));
            metrics.map(|(at, _)| at as u16).collect()
        });
        let room = catalogue.families.iter().map(|family| ROOM[usize::from(family.priority.clamp(1, 5)) - 1]);
        Self {
            catalogue,
            features: Features::of(catalogue),
            programs: ProgramPlaces::of(catalogue),
            judged: judged.collect(),
            room: room.collect(),
            config,
        }
    }
}
