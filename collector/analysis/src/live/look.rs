//! Looks at one second of a host by names resolved once: sums, shares and extremes over entities.

use fettle_shared::catalogue::Catalogue;

use crate::second::{EntitySecond, HostSecond, KeyValue, Reduced};

/// A metric's place: positions of family and metric in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub family: usize,
    pub metric: usize,
}

/// The place of `family.metric`, if the catalogue has it.
pub(super) fn place(catalogue: &Catalogue, name: &str) -> Option<Place> {
    let (family, metric) = name.split_once('.')?;
    let at = catalogue.families.iter().position(|f| f.name == family)?;
    Some(Place { family: at, metric: catalogue.families[at].metric_index(metric)? })
}

/// Which entities of a family are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All.
    All,
    /// The one whose first key is this text.
    Only(&'static str),
    /// Disks that are neither partitions nor made of other disks, so that nothing counts twice.
    WholeDisks,
    /// Interfaces other than the loopback.
    Outward,
}

/// The text of an entity's first key.
fn name(entity: &EntitySecond) -> &str {
    match entity.key.first() {
        Some(KeyValue::Text(text)) => text,
        _ => "",
    }
}

/// The entities that are looked at; none when the family was not sampled.
pub(super) fn entities(
    second: &HostSecond,
    family: usize,
    which: Which,
) -> impl Iterator<Item = &EntitySecond> {
    let all = second.family(family).map_or(&[][..], |family| &family.entities);
    // Keys are in order, so a partition comes after its disk.
    let mut disk = "";
    all.iter().filter(move |entity| match which {
        Which::All => true,
        Which::Only(only) => name(entity) == only,
        Which::Outward => name(entity) != "lo",
        Which::WholeDisks => {
            let own = name(entity);
            let made = ["dm-", "md", "loop", "ram", "zram"].iter().any(|kind| own.starts_with(kind));
            if made || (!disk.is_empty() && own.starts_with(disk)) {
                return false;
            }
            disk = own;
            true
        }
    })
}

fn present(value: Reduced) -> Option<f64> {
    value.is_some().then_some(value.mean)
}

/// Sum of means over the entities; none when no entity has a value.
pub(super) fn sum(second: &HostSecond, place: Place, which: Which) -> Option<f64> {
    let mut values = entities(second, place.family, which).filter_map(|e| present(e.values[place.metric]));
    let first = values.next()?;
    Some(values.fold(first, |sum, value| sum + value))
}

/// Largest over the entities of something made of each.
pub(super) fn largest(
    second: &HostSecond,
    family: usize,
    which: Which,
    of: impl Fn(&EntitySecond) -> Option<f64>,
) -> Option<f64> {
    entities(second, family, which).filter_map(of).reduce(f64::max)
}

/// An entity's mean of a metric.
pub(super) fn mean(entity: &EntitySecond, metric: usize) -> Option<f64> {
    present(entity.values[metric])
}
