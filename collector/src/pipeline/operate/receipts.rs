//! Receipts on their way into the state of operations. The state is saved whole, so whatever agents can put into it
//! is bounded: each agent by its pace, all together by the bytes that wait for ClickHouse. What is not taken is not
//! confirmed, so an honest agent hands it in again; receipts that a plan waits for are always taken.

use std::collections::BTreeMap;

use fettle_decide::operator::{Page, PageKind};
use fettle_shared::command::Receipt;

use super::desk::Desk;
use super::{now_us, Office};
use crate::orders::{HandedIn, Receipts, RECEIPTS_PER_SECOND};
use crate::telemetry::Telemetry;

/// Receipts that may wait to be confirmed while the state cannot be saved; more wait at their agents.
pub(super) const MOST_UNCONFIRMED: usize = 1_024;
/// An agent that kept to its pace for so long does so again, µs.
const CALM_US: i64 = 60_000_000;

/// An agent that hands in more than is taken.
#[derive(Debug, Clone, Copy, Default)]
struct Flood {
    /// Receipts not taken since it began.
    refused: u64,
    /// When the last was not, µs since 1970; 0: before this collector took over.
    last_us: i64,
}

/// All of those. Not saved: the calls for a person are, and a new owner goes on from them.
#[derive(Debug, Default)]
pub(super) struct Floods(BTreeMap<String, Flood>);

impl Floods {
    /// Those for which a person was called already.
    pub(super) fn of<'a>(pages: impl Iterator<Item = &'a Page>) -> Self {
        let called = pages.filter(|page| page.kind == PageKind::ReceiptsTooMany);
        Self(called.map(|page| (page.place.host.clone(), Flood::default())).collect())
    }

    /// Notes receipts that were not taken; says whether that is news.
    fn note(&mut self, host: &str, refused: u64, now_us: i64) -> bool {
        let is_new = !self.0.contains_key(host);
        let flood = self.0.entry(host.to_owned()).or_default();
        flood.refused += refused;
        flood.last_us = now_us;
        is_new
    }

    /// Whether it goes on.
    pub(super) fn lasts(&self, host: &str) -> bool {
        self.0.contains_key(host)
    }

    /// Forgets those that are over.
    pub(super) fn forget(&mut self, now_us: i64) {
        for flood in self.0.values_mut().filter(|flood| flood.last_us == 0 || flood.last_us > now_us) {
            flood.last_us = now_us;
        }
        self.0.retain(|_, flood| now_us - flood.last_us < CALM_US);
    }

    /// How many receipts of which host were not taken.
    pub(super) fn refused(&self) -> BTreeMap<&str, u64> {
        self.0.iter().map(|(host, flood)| (host.as_str(), flood.refused)).collect()
    }
}

impl Desk {
    /// Whether a receipt is taken now: while much waits for ClickHouse only those that a plan waits for.
    fn takes(&self, receipt: &Receipt) -> bool {
        !self.history.is_heavy() || self.operator.awaits(receipt)
    }

    /// An agent has handed in more receipts than are taken. Who is no known host is counted elsewhere, and calls
    /// nobody: without rights on NATS anybody can make up names.
    fn too_many_receipts(&mut self, host: &str, refused: u64, now_us: i64) {
        if self.world.hosts.contains_key(host) && self.floods.note(host, refused, now_us) {
            self.operator.hands_in_too_much(host, RECEIPTS_PER_SECOND, now_us);
            self.touch();
        }
    }
}

impl Office {
    /// Takes a receipt, to be confirmed once the state is saved.
    pub(super) fn take_receipt(&mut self, handed_in: HandedIn) {
        if self.desk.takes(&handed_in.receipt) {
            self.desk.receipt(&handed_in.receipt, now_us());
            self.handed_in.push(handed_in);
        } else {
            self.refused_receipts(1);
        }
    }

    /// Looks which agents did not keep to their pace.
    pub(super) fn look_at_pace(&mut self) {
        let Some(receipts) = &self.receipts else { return };
        for (host, refused) in receipts.excess() {
            self.refused_receipts(refused);
            self.desk.too_many_receipts(&host, refused, now_us());
        }
    }

    fn refused_receipts(&self, many: u64) {
        Telemetry::add(&self.context.telemetry.counters.receipts_refused, many);
    }

    /// Confirms what is saved.
    pub(super) async fn confirm_receipts(&mut self) {
        let Some(sender) = &self.sender else { return };
        for handed_in in self.handed_in.drain(..) {
            sender.confirm(&handed_in).await;
        }
    }
}

/// The next receipt; never, without a key.
pub(super) async fn next(receipts: &mut Option<Receipts>) -> Option<HandedIn> {
    match receipts {
        Some(receipts) => receipts.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use fettle_alert::handoff::NotificationKind::{self, Firing, Resolved};
    use fettle_alert::manage;
    use fettle_decide::policy::Policy;
    use fettle_shared::command::{Action, Outcome};

    use super::super::report::HostReport;
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;
    const SECOND: i64 = 1_000_000;

    fn desk(saved: Option<&Desk>) -> Desk {
        let saved = saved.map(|desk| serde_json::from_slice(&desk.save().unwrap()).unwrap());
        let mut desk = Desk::new(saved, manage::Config::default(), Policy::built_in());
        desk.report(&HostReport { host: "loud".into(), at_us: NOW, ..HostReport::default() }, NOW);
        desk
    }

    /// What people were told in these seconds of a flood that lasts until one of them.
    fn told(desk: &mut Desk, seconds: std::ops::Range<i64>, until: i64) -> Vec<(NotificationKind, String)> {
        let mut told = Vec::new();
        for second in seconds {
            let now_us = NOW + second * SECOND;
            if second < until {
                desk.too_many_receipts("loud", 650, now_us);
                desk.too_many_receipts("nobody", 650, now_us);
            }
            for one in desk.turn(now_us).notifications {
                told.push((one.kind, one.alerts[0].rule.clone()));
                desk.manager.sent(&one.id, &manage::Outcome::Sent { by: one.channel.clone() }, now_us);
            }
        }
        told
    }

    #[test]
    fn a_flood_calls_a_person_once_until_it_is_over_also_when_the_collector_is_started_anew() {
        let rule = "mending_receipts_too_many".to_owned();
        let mut first = desk(None);
        assert_eq!(told(&mut first, 0..60, 60), [(Firing, rule.clone())]);
        assert_eq!(first.floods.refused(), [("loud", 60 * 650)].into());
        let mut second = desk(Some(&first));
        assert!(told(&mut second, 60..120, 90).is_empty());
        assert_eq!(told(&mut second, 120..240, 90), [(Resolved, rule)]);
        assert!(second.floods.refused().is_empty());
    }

    #[test]
    fn while_much_waits_for_clickhouse_receipts_wait_at_their_agents() {
        let mut desk = desk(None);
        let receipt = |number: u32| Receipt {
            id: format!("local-{number}"),
            host: "loud".into(),
            component: "web".into(),
            action: Action::Restart,
            local: true,
            outcome: Outcome::Succeeded,
            begun_us: NOW,
            ended_us: NOW,
            output: "x".repeat(8 << 10),
            before: BTreeMap::new(),
            because: String::new(),
        };
        let taken = (0..100_000).map(receipt).take_while(|one| {
            let takes = desk.takes(one);
            if takes {
                desk.receipt(one, NOW);
            }
            takes
        });
        let taken = taken.count();
        assert!((500..1_500).contains(&taken), "{taken} receipts of 8 KiB");
        assert!(desk.save().unwrap().len() < 12 << 20);
        let rows = desk.history.oldest();
        assert!(rows.len() < taken, "and they are written in pieces");
        desk.history.written(u64::MAX);
        assert!(desk.takes(&receipt(0)), "ClickHouse has them");
    }
}
