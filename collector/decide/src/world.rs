//! The fleet as it was last heard of: a plain snapshot. Whoever calls fills it from the newest seconds and
//! health checks; nothing here asks for more.

use std::collections::{BTreeMap, BTreeSet};

use fettle_alert::handoff::Labels;
use serde::{Deserialize, Serialize};

/// All hosts by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// Hosts.
    pub hosts: BTreeMap<String, HostView>,
}

/// One host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostView {
    /// When it was last heard of, µs since 1970, by the collector's clock.
    pub seen_us: i64,
    /// Labels of the host, for groups.
    pub labels: Labels,
    /// Its components by name.
    pub components: BTreeMap<String, ComponentView>,
    /// Latest values of the metrics that policies look at ([`crate::policy::Policy::metrics`]).
    pub values: BTreeMap<String, f64>,
    /// What the host's file allows for the host itself; see [`ComponentView::offers`].
    pub offers: Option<Offers>,
}

/// Actions that a host's file allows, by name, each with the entries it declares for it (none for actions
/// without entries).
pub type Offers = BTreeMap<String, Vec<String>>;

/// One component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ComponentView {
    /// Whether its checks say it is well; none: not known.
    pub up: Option<bool>,
    /// What runs it: `supervised`, `systemd`, `docker`, `process`.
    pub kind: String,
    /// What it needs: components of the same host, or `HOST/NAME`.
    pub depends_on: Vec<String>,
    /// Whether the host is of no use without it.
    pub critical: bool,
    /// Labels, for groups; they go before the host's.
    pub labels: Labels,
    /// Replicas it should have.
    pub replicas: Option<u32>,
    /// Fewest and most replicas.
    pub replica_bounds: Option<(u32, u32)>,
    /// When its release or file was last changed, µs since 1970; 0: not known.
    pub release_changed_us: i64,
    /// When it was last seen to go down, µs since 1970; 0: not known.
    pub down_since_us: i64,
    /// What the host's file allows. None: not known; the agent will say.
    pub offers: Option<Offers>,
}

/// A component of a host, or the host itself when the name is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Host.
    pub host: String,
    /// Component; empty: the host.
    pub component: String,
}

impl Place {
    /// This component of this host.
    pub fn new(host: impl Into<String>, component: impl Into<String>) -> Self {
        Self { host: host.into(), component: component.into() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.component.is_empty() {
            return f.write_str(&self.host);
        }
        write!(f, "{}/{}", self.host, self.component)
    }
}

/// How far dependencies are followed.
const DEPTH_MAX: usize = 16;

impl World {
    /// The component, if it is known.
    pub fn component(&self, place: &Place) -> Option<&ComponentView> {
        self.hosts.get(&place.host)?.components.get(&place.component)
    }

    /// What a dependency's name means on this host.
    pub fn resolve(host: &str, name: &str) -> Place {
        match name.split_once('/') {
            Some((other, component)) => Place::new(other, component),
            None => Place::new(host, name),
        }
    }

    /// The deepest dependency that is down, if any is: one that itself has no dependency that is down. In a
    /// ring of dependencies it is the last one found before the ring closes.
    pub fn deepest_broken(&self, place: &Place) -> Option<Place> {
        let mut seen = BTreeSet::from([place.clone()]);
        self.descend(place, &mut seen, DEPTH_MAX)
    }

    fn descend(&self, place: &Place, seen: &mut BTreeSet<Place>, depth: usize) -> Option<Place> {
        if depth == 0 {
            return None;
        }
        let names = &self.component(place)?.depends_on;
        for name in names {
            let next = Self::resolve(&place.host, name);
            if !seen.insert(next.clone()) {
                continue;
            }
            if let Some(deeper) = self.descend(&next, seen, depth - 1) {
                return Some(deeper);
            }
            if self.component(&next).and_then(|component| component.up) == Some(false) {
                return Some(next);
            }
        }
        None
    }

    /// Whether the component needs the other, over however many others.
    pub fn needs(&self, place: &Place, other: &Place) -> bool {
        let mut seen = BTreeSet::from([place.clone()]);
        let mut next = vec![place.clone()];
        while let Some(at) = next.pop() {
            for name in self.component(&at).map_or(&[][..], |component| &component.depends_on) {
                let needed = Self::resolve(&at.host, name);
                if needed == *other {
                    return true;
                }
                if seen.insert(needed.clone()) {
                    next.push(needed);
                }
            }
        }
        false
    }

    /// Value of the label that makes groups, for a component.
    pub fn group(&self, place: &Place, label: &str) -> String {
        if label == "component" {
            return place.component.clone();
        }
        let Some(host) = self.hosts.get(&place.host) else { return String::new() };
        let own = host.components.get(&place.component).and_then(|component| component.labels.get(label));
        own.or_else(|| host.labels.get(label)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(edges: &[(&str, &[&str], bool)]) -> World {
        let mut world = World::default();
        for (name, needs, up) in edges {
            let (host, component) = name.split_once('/').unwrap();
            let view = ComponentView {
                up: Some(*up),
                depends_on: needs.iter().map(|need| (*need).to_owned()).collect(),
                ..ComponentView::default()
            };
            world.hosts.entry(host.to_owned()).or_default().components.insert(component.to_owned(), view);
        }
        world
    }

    #[test]
    fn the_deepest_broken_dependency_is_found_through_one_that_is_up_and_over_hosts() {
        let world = world(&[
            ("a/app", &["cache", "b/db"], false),
            ("a/cache", &[], true),
            ("b/db", &["disk"], true),
            ("b/disk", &[], false),
        ]);
        assert_eq!(world.deepest_broken(&Place::new("a", "app")), Some(Place::new("b", "disk")));
        assert_eq!(world.deepest_broken(&Place::new("b", "disk")), None);
    }

    #[test]
    fn a_ring_ends() {
        let world = world(&[("a/x", &["y"], false), ("a/y", &["z"], false), ("a/z", &["x"], false)]);
        assert_eq!(world.deepest_broken(&Place::new("a", "x")), Some(Place::new("a", "z")));
    }
}
