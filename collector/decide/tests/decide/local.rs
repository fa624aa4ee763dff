//! What agents say they did by themselves uses budgets up, and one agent's words only its own host's share.

use fettle_alert::handoff::{Severity, Standing};
use fettle_decide::operator::{Effect, PageKind};
use fettle_decide::policy::Policy;
use fettle_decide::world::Place;
use fettle_shared::command::{Outcome, Receipt, Refusal};

use crate::bench::Bench;

/// A fleet of ten, one of which says what it likes.
fn bench() -> Bench {
    let mut bench = Bench::new(Policy::built_in());
    for number in 0..10 {
        bench.set_up(&Place::new(format!("h{number}"), "app"), true);
    }
    bench
}

fn audits(bench: &Bench, kind: &str) -> usize {
    let of = |effect: &Effect| matches!(effect, Effect::Audit(record) if record.kind == kind);
    bench.effects.iter().filter(|one| of(&one.effect)).count()
}

/// Whether a component of another host that goes down is restarted.
fn mends(bench: &mut Bench) -> bool {
    let at = Place::new("h7", "app");
    bench.set_up(&at, false);
    bench.alert(&at, "component_down", Severity::High, Standing::Firing);
    bench.now_us += 1_000_000;
    bench.tick();
    !bench.orders.is_empty()
}

#[test]
fn words_about_components_a_host_does_not_have_count_nowhere() {
    let mut bench = bench();
    for number in 0..500 {
        bench.local(&Place::new("h0", "made-up"), &format!("l{number}"), 1);
        bench.local(&Place::new("nobody", "app"), &format!("l{number}"), 1);
    }
    assert!(mends(&mut bench));
    assert_eq!(bench.operator.state().ledger.given.len(), 1, "the restart that was ordered");
    assert_eq!((audits(&bench, "local"), audits(&bench, "local_stray"), bench.pages()), (0, 1, 0));
}

#[test]
fn a_plan_waits_for_each_word_on_its_order_once() {
    let mut bench = bench();
    assert!(mends(&mut bench));
    let (key, order) =
        bench.orders.first_key_value().map(|(key, order)| (key.clone(), order.clone())).unwrap();
    let receipt = |outcome: Outcome| Receipt {
        id: order.id.clone(),
        host: order.host.clone(),
        component: order.component.clone(),
        action: order.action.clone(),
        local: false,
        outcome,
        begun_us: 1,
        ended_us: 1,
        output: String::new(),
        before: Default::default(),
        because: String::new(),
    };
    let refused = Outcome::Refused { reason: Refusal::Repeated };
    let (accepted, done) = (receipt(Outcome::Accepted), receipt(Outcome::Succeeded));
    let forged = Receipt { host: "h0".into(), ..done.clone() };
    let unknown = Receipt { id: "made-up".into(), ..done.clone() };
    let awaited = |bench: &Bench| {
        let of = |receipt: &Receipt| bench.operator.awaits(receipt);
        [&accepted, &receipt(refused.clone()), &done, &forged, &unknown].map(of)
    };
    assert_eq!(awaited(&bench), [true, true, true, false, false]);
    bench.receipt(&key, Outcome::Accepted, "", &[]);
    assert_eq!(awaited(&bench), [false, false, true, false, false], "it is accepted");
    bench.receipt(&key, Outcome::Succeeded, "", &[]);
    assert_eq!(awaited(&bench), [false; 5]);
}

#[test]
fn one_host_uses_up_no_more_than_its_own_budget_and_its_name_is_told_once_a_window() {
    let mut bench = bench();
    let host = bench.policy.budgets.host;
    let mut last = 0;
    for window in 1..=2 {
        for number in 0..500 {
            bench.local(&Place::new("h0", "app"), &format!("l{window}-{number}"), 1);
        }
        bench.now_us += 1_000_000;
        bench.tick();
        let told = audits(&bench, "local");
        assert_eq!(told - last, host.actions as usize);
        assert_eq!((audits(&bench, "local_too_many"), bench.pages()), (window, window));
        last = told;
        if window == 1 {
            assert!(mends(&mut bench), "the group's and the fleet's budgets are not used up");
        }
        bench.now_us += host.per_us;
    }
    let kinds: Vec<_> = bench
        .effects
        .iter()
        .filter_map(|one| match &one.effect {
            Effect::Page(page) if page.kind == PageKind::LocalTooMany => Some(page.place.host.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["h0", "h0"]);
}
