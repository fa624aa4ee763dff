//! What the host's file comes to for the collector: the inventory.

use fettle_shared::inventory::{Declared, Inventory, Offers};

use super::{Allowed, Component, HostFile, RollBack, Runs};
use crate::handoff::ComponentStates;

/// Longest complaint that travels, bytes.
const COMPLAINT_BYTES: usize = 500;

/// The host's inventory: declared components, what they last complained of, and what may be done.
pub fn inventory(host: &str, file: &HostFile, states: &ComponentStates) -> Inventory {
    let components = file.components.iter().map(|(name, component)| {
        let complaint = states.get(name).filter(|state| !state.up).map(|state| state.last_error.clone());
        (name.clone(), declared(component, complaint.unwrap_or_default()))
    });
    Inventory {
        host: host.to_owned(),
        offers: offers(&file.host_actions, false),
        components: components.collect(),
    }
}

fn declared(component: &Component, mut complaint: String) -> Declared {
    let end = (0..=COMPLAINT_BYTES.min(complaint.len())).rev().find(|at| complaint.is_char_boundary(*at));
    complaint.truncate(end.unwrap_or(0));
    let kind = match &component.runs {
        Runs::Supervised(_) => "supervised",
        Runs::Systemd { .. } => "systemd",
        Runs::Docker { .. } => "docker",
        Runs::Process(_) => "process",
        Runs::Nothing => "nothing",
    };
    let replica_bounds = component.runs.replica_bounds();
    Declared {
        kind: kind.to_owned(),
        depends_on: component.depends_on.clone(),
        critical: component.critical,
        replica_bounds,
        release_changed_us: changed_us(&component.allowed),
        complaint,
        offers: offers(&component.allowed, replica_bounds.is_some()),
    }
}

/// When a release link or file that can be rolled back was last changed, µs since 1970; 0: never seen.
fn changed_us(allowed: &Allowed) -> i64 {
    let changed = allowed.roll_back.values().filter_map(|entry| {
        let path = match entry {
            RollBack::Link { link, .. } => link,
            RollBack::File { path, .. } => path,
        };
        let at = std::fs::symlink_metadata(path).ok()?.modified().ok()?;
        let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok()
    });
    changed.max().unwrap_or(0)
}

fn offers(allowed: &Allowed, can_scale: bool) -> Offers {
    let mut offers = Offers::new();
    let plain = [
        ("restart", allowed.restart),
        ("start", allowed.start),
        ("stop", allowed.stop),
        ("drop_caches", allowed.drop_caches),
        ("scale", allowed.scale && can_scale),
        ("renice", allowed.nice.is_some()),
    ];
    for (name, _) in plain.into_iter().filter(|(_, yes)| *yes) {
        offers.insert(name.to_owned(), Vec::new());
    }
    let named = [
        ("signal", allowed.signals.clone()),
        ("limit", allowed.limits.keys().cloned().collect()),
        ("clean_up", allowed.clean_up.keys().cloned().collect()),
        ("fix_permissions", allowed.fix_permissions.keys().cloned().collect()),
        ("roll_back", allowed.roll_back.keys().cloned().collect()),
        ("fail_over", allowed.fail_over.keys().cloned().collect()),
        ("run", allowed.run.keys().cloned().collect()),
    ];
    for (name, entries) in named.into_iter().filter(|(_, entries): &(&str, Vec<String>)| !entries.is_empty())
    {
        offers.insert(name.to_owned(), entries);
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_is_offered() {
        let allowed =
            Allowed { restart: true, signals: vec!["HUP".into()], scale: true, ..Allowed::default() };
        let found = offers(&allowed, false);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["restart", "signal"]);
        assert_eq!(found["signal"], ["HUP"]);
        assert!(offers(&Allowed::default(), true).is_empty());
    }
}
