//! The component family: what the checks found last, as rows. The checks run elsewhere and never wait for
//! this thread, nor this thread for them: it takes the newest states, which stand ready.

use fettle_shared::catalogue::{Catalogue, Family};

use super::entities::NamedSet;
use super::source::{column, Progress, Scan, Source};
use crate::handoff::{ActionCount, ComponentState, ComponentView};

pub(crate) struct ComponentSource {
    id: u16,
    view: ComponentView,
    set: NamedSet,
    columns: Columns,
}

struct Columns([usize; 15]);

impl Columns {
    fn of(family: &Family) -> Self {
        Self(
            [
                "up",
                "critical",
                "checks",
                "check_failures",
                "consecutive_failures",
                "latency_ms",
                "down_seconds",
                "replicas",
                "replicas_running",
                "restarts",
                "actions",
                "actions_failed",
                "error_kind",
                "stopped",
                "depends_on_down",
            ]
            .map(|name| column(family, name)),
        )
    }

    /// The row of a state; the order is that of the names above.
    fn fill(&self, state: &ComponentState, actions: ActionCount, now_us: i64, row: &mut [i64]) {
        let down_ms = if state.up { 0 } else { (now_us - state.since_us).max(0) / 1000 };
        let values = [
            i64::from(state.up),
            i64::from(state.critical),
            state.checks as i64,
            state.failures as i64,
            i64::from(state.consecutive_failures),
            state.latency_us as i64,
            down_ms,
            i64::from(state.replicas),
            i64::from(state.replicas_running),
            state.restarts as i64,
            actions.actions as i64,
            actions.failed as i64,
            state.error_kind as i64,
            i64::from(state.stopped),
            i64::from(state.depends_on_down),
        ];
        for (column, value) in self.0.iter().zip(values) {
            row[*column] = value;
        }
    }
}

impl ComponentSource {
    pub(crate) fn new(view: ComponentView, catalogue: &Catalogue) -> Option<Self> {
        let family = catalogue.family("component")?;
        let set = NamedSet::new(family.id, family.metrics.len());
        Some(Self { id: family.id, view, set, columns: Columns::of(family) })
    }
}

impl Source for ComponentSource {
    fn sample(&mut self, _family: u16, scan: &mut Scan<'_>) -> Progress {
        let states = self.view.states();
        if states.is_empty() && self.set.len() == 0 {
            return Progress::Done;
        }
        self.set.start(scan.builder);
        scan.builder.begin_scan(self.id, scan.clock.wall_us);
        for (at, (name, state)) in states.iter().filter(|(_, state)| state.checked).enumerate() {
            let key = [name.as_bytes(), state.kind.as_bytes()];
            if let Some(entity) = self.set.see(scan.builder, at, &key) {
                let actions = self.view.actions(name);
                self.columns.fill(state, actions, scan.clock.wall_us, &mut entity.row);
                scan.builder.push(self.id, entity.slot, &entity.row);
            }
        }
        self.set.finish();
        Progress::Done
    }

    fn entities(&self) -> usize {
        self.set.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fettle_shared::catalogue::catalogue;
    use fettle_shared::error_kind::ErrorKind;
    use fettle_shared::frame::{decode, FrameBuilder, FrameMeta, Scratch};
    use tokio::sync::watch;

    use super::*;
    use crate::handoff::{ActionCounts, ComponentStates};
    use crate::sample::{Sampler, SamplerSettings, ScanClock};

    #[test]
    fn what_the_checks_found_is_sampled() {
        let down = ComponentState {
            kind: "process",
            checked: true,
            since_us: 1_000_000,
            consecutive_failures: 2,
            error_kind: ErrorKind::Network,
            latency_us: 1500,
            ..ComponentState::default()
        };
        let unknown = ComponentState { checked: false, ..down.clone() };
        let states = ComponentStates::from([("db".into(), down), ("new".into(), unknown)]);
        let (_sender, receiver) = watch::channel(Arc::new(states));
        let actions = ActionCounts::default();
        actions.note("db", true);
        let mut sampler = Sampler::open(SamplerSettings::default(), catalogue()).unwrap();
        sampler.show_components(ComponentView::new(receiver, actions), catalogue());
        let mut builder = FrameBuilder::new(catalogue());
        sampler.scan(ScanClock { wall_us: 4_500_000, mono_us: 10_000_000 }, &mut builder);
        let mut bytes = Vec::new();
        builder.seal(&FrameMeta { agent: "a", boot: 1, seq: 1 }, &mut bytes);
        let mut scratch = Scratch::default();
        let frame = decode(&bytes, &mut scratch).unwrap();
        let family = catalogue().family("component").unwrap();
        let block = frame.blocks.iter().find(|block| block.family == family.id).unwrap();
        assert_eq!(block.rows, 1, "what has no verdict has no row");
        let value = |name: &str| {
            let id = family.metrics[family.metric_index(name).unwrap()].id;
            let at = block.metrics.iter().position(|metric| *metric == id).unwrap();
            block.column(at)[0]
        };
        assert_eq!((value("up"), value("down_seconds"), value("latency_ms")), (0, 3500, 1500));
        assert_eq!((value("error_kind"), value("actions"), value("actions_failed")), (3, 1, 1));
    }
}
