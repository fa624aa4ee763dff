//! What is to be expected of a component: by a model where there is one, and otherwise by the baseline, the
//! probability that something it depends on runs out within the horizon.

use super::resources::OutlookRow;
use super::sight::{Sight, SENSORS};
use crate::forecast::Resource;
use crate::predict::{Model, State};

/// The horizon of live predictions, in seconds.
pub const HORIZON_S: u32 = 600;
/// The probability from which a prediction is an alarm.
pub const ALARM: f64 = 0.5;

/// A prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Risk {
    /// Probability of failure within the horizon, 0 to 1.
    pub probability: f64,
    /// What the baseline alone says.
    pub baseline: f64,
    /// What the model's regression alone would say; NaN without a model.
    pub statistical: f64,
    /// What the model's echo state network alone would say; NaN without a model.
    pub echo: f64,
}

/// What a model remembers of one component.
#[derive(Clone, Debug)]
pub struct Watch {
    state: State,
}

impl Watch {
    /// Begins to watch a component with a model.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        Self { state: model.start() }
    }

    /// Takes a step in. Every step must be given once, in order, and to the same model.
    pub fn step(&mut self, model: &Model, sight: &Sight, baseline: f64) -> Risk {
        let (statistical, echo) = model.parts(&mut self.state, &sight.row);
        let share = model.validation.echo_share;
        let left = share * echo + (1.0 - share) * statistical;
        Risk {
            probability: model.settle(left).risk,
            baseline,
            statistical: model.settle(statistical).risk,
            echo: model.settle(echo).risk,
        }
    }
}

impl Risk {
    /// Without a model: what the baseline says.
    #[must_use]
    pub fn of_baseline(baseline: f64) -> Self {
        Self { probability: baseline, baseline, statistical: f64::NAN, echo: f64::NAN }
    }
}

/// Whether a resource's end concerns a component: the host's own resources concern everything on it but
/// memory file systems, a process's memory concerns the component of the same name.
#[must_use]
pub fn concerns(row: &OutlookRow, component: &str) -> bool {
    match row.resource {
        Resource::ProcessMemory => {
            let name = row.entity.split('[').next().unwrap_or_default();
            !component.is_empty() && is_process_of(name, component)
        }
        Resource::Disk | Resource::Inodes => !["/dev", "/run", "/sys", "/proc"].iter().any(|place| {
            row.entity.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }),
        _ => true,
    }
}

/// Whether a process of this command name (which the kernel cuts at 15 bytes) is the component's.
#[must_use]
pub fn is_process_of(command: &str, component: &str) -> bool {
    let cut = component.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 15).last();
    !component.is_empty() && command == &component[..cut.unwrap_or(0)]
}

/// Probability that something a component depends on runs out within the horizon: the greatest of them,
/// because they are not independent (a process's leak is its host's).
#[must_use]
pub fn baseline<'a>(rows: impl Iterator<Item = &'a OutlookRow>, horizon_s: f64) -> f64 {
    rows.map(|row| row.within(horizon_s)).fold(0.0, f64::max)
}

/// Why, in words: the resources that end within the horizon, then what the sensors show; at most four.
#[must_use]
pub fn reasons(rows: &[&OutlookRow], sight: Option<&Sight>, horizon_s: f64) -> Vec<String> {
    let mut ends: Vec<(f64, &OutlookRow)> = rows.iter().map(|row| (row.within(horizon_s), *row)).collect();
    ends.retain(|(share, _)| *share >= 0.05);
    ends.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut words: Vec<String> = ends
        .iter()
        .map(|(_, row)| match row.entity.as_str() {
            "" => row.words.clone(),
            entity => format!("{entity} {}", row.words),
        })
        .collect();
    if let Some(sight) = sight {
        words.extend(marks(sight));
    }
    words.truncate(4);
    words
}

/// What stands out in a row of sensors, whatever the model makes of it.
fn marks(sight: &Sight) -> Vec<String> {
    let value = |name: &str| {
        let at = SENSORS.iter().position(|sensor| *sensor == name);
        at.and_then(|at| sight.row.get(at)).copied().map_or(f64::NAN, f64::from)
    };
    let mut words = Vec::new();
    let failing = value("checks that fail");
    if failing > 0.05 {
        words.push(format!("{:.0} % of its checks fail", 100.0 * failing));
    }
    let latency = value("latency against its usual").exp();
    if latency > 2.0 {
        words.push(format!("its check takes {latency:.1} times as long as usual"));
    }
    let pace = value("soonest end at the present pace");
    if pace > 0.5 {
        words.push(format!("at the present pace a supply ends in {:.0} % of the horizon", 100.0 / pace));
    }
    for name in ["CPU pressure", "memory pressure", "I/O pressure"] {
        let share = value(name);
        if share > 0.2 {
            words.push(format!("{name} {:.0} %", 100.0 * share));
        }
    }
    let wait = value("time its processes wait for a CPU");
    if wait > 0.2 {
        words.push(format!("a process of it waits {wait:.1} s a second for a CPU"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Exhaustion;

    fn row(resource: Resource, entity: &str, eta_s: f64) -> OutlookRow {
        let end = Exhaustion { eta_s, low_s: 0.8 * eta_s, high_s: 1.2 * eta_s, probability: 0.9 };
        OutlookRow {
            host: "h".into(),
            resource,
            entity: entity.into(),
            metric: "m".into(),
            used: 1.0,
            capacity: 2.0,
            horizon_s: 3_600.0,
            exhaustion: Some(end),
            words: resource.words(&end),
        }
    }

    #[test]
    fn the_nearest_end_is_the_baseline_and_says_why() {
        let rows = [row(Resource::Disk, "/", 500.0), row(Resource::Memory, "", 5_000.0)];
        let near = baseline(rows.iter(), 600.0);
        assert!(near > 0.7, "{near}");
        assert_eq!(baseline(rows[1..].iter(), 600.0), 0.0);
        let words = reasons(&[&rows[0], &rows[1]], None, 600.0);
        assert_eq!(words.len(), 1);
        assert!(words[0].starts_with("/ full in 8 min"), "{words:?}");
    }

    #[test]
    fn a_component_is_concerned_by_its_own_process_and_its_host() {
        for (resource, entity, component, concerned) in [
            (Resource::ProcessMemory, "web[7]", "web", true),
            (Resource::ProcessMemory, "web[7]", "data", false),
            (Resource::ProcessMemory, "web[7]", "", false),
            (Resource::ProcessMemory, "a-very-long-nam[7]", "a-very-long-name-indeed", true),
            (Resource::Disk, "/", "web", true),
            (Resource::Disk, "/run/user/1", "web", false),
            (Resource::Disk, "/runway", "web", true),
            (Resource::Memory, "", "", true),
        ] {
            assert_eq!(concerns(&row(resource, entity, 1.0), component), concerned, "{resource:?} {entity}");
        }
    }
}
