//! Whatever is done to a chain of records is found: changed, removed, reordered, doubled, cut off, made anew.

use fettle_decide::audit::{verify, AuditRecord, Entry, Head};
use fettle_decide::operator::{Effect, Freeze, Operator};
use fettle_decide::policy::Policy;
use fettle_decide::world::World;
use proptest::prelude::*;

fn chain(count: usize) -> (Vec<AuditRecord>, Head) {
    let mut head = Head::default();
    let records = (0..count)
        .map(|at| {
            let kind = if at % 2 == 0 { "intent" } else { "outcome" };
            let entry = Entry {
                kind,
                who: "policy:1".to_owned(),
                what: format!("thing {at}"),
                plan: "p".to_owned(),
                order: format!("o{}", at / 2),
                detail: serde_json::json!({ "at": at }),
            };
            head.append(at as i64, entry)
        })
        .collect();
    (records, head)
}

#[test]
fn an_unbroken_chain_is_one_and_lists_what_never_completed() {
    let (records, head) = chain(11);
    let summary = verify(&records, Some(&head)).unwrap();
    assert_eq!((summary.records, summary.head), (11, head));
    assert_eq!(summary.open_orders, ["o5"]);
    assert_eq!(verify(&[], None).unwrap().records, 0);
}

#[test]
fn what_is_cut_off_is_found_by_the_remembered_head() {
    let (records, head) = chain(10);
    for keep in 0..10 {
        let broken = verify(&records[..keep], Some(&head)).unwrap_err();
        assert_eq!(broken.seq, keep as u64 + 1);
        assert!(verify(&records[..keep], None).is_ok());
    }
}

#[test]
fn a_chain_made_anew_is_found_by_the_remembered_head() {
    let (_, head) = chain(10);
    let mut other = Head::default();
    let forged: Vec<_> =
        (0..10).map(|at| other.append(at, Entry { kind: "intent", ..Entry::default() })).collect();
    assert!(verify(&forged, None).is_ok());
    assert_eq!(verify(&forged, Some(&head)).unwrap_err().seq, 10);
}

#[test]
fn after_a_lost_state_the_chain_goes_on_and_a_freeze_stays() {
    let (mut records, head) = chain(7);
    let mut operator = Operator::new();
    let freeze = Freeze { who: "ann".to_owned(), why: "disks".to_owned(), at_us: 1 };
    operator.go_on(head.clone(), Some(freeze), 100);
    // Said again, as when the lease is taken twice, it changes nothing.
    operator.go_on(Head::default(), None, 101);
    operator.thaw("ann", 102).unwrap();
    let effects = operator.tick(&Policy::built_in(), &World::default(), 1, 103);
    let kinds = effects.iter().filter_map(|one| match &one.effect {
        Effect::Audit(record) => {
            records.push(record.clone());
            Some(record.kind.as_str())
        }
        _ => None,
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["resumed", "thawed"]);
    assert_eq!(verify(&records, Some(&operator.state().head)).unwrap().records, 9);
}

proptest! {
    #[test]
    fn any_change_is_found(count in 2usize..30, at in 0usize..30, field in 0usize..9, byte in any::<u8>()) {
        let (mut records, head) = chain(count);
        let at = at % count;
        let record = &mut records[at];
        match field {
            0 => record.at_us += 1 + i64::from(byte),
            1 => record.kind.push(char::from(byte)),
            2 => record.who.push(char::from(byte)),
            3 => record.what.push(char::from(byte)),
            4 => record.plan.push(char::from(byte)),
            5 => record.order.push(char::from(byte)),
            6 => record.detail.push(char::from(byte)),
            7 => record.prev_hash.replace_range(0..1, "x"),
            _ => record.hash.replace_range(0..1, "x"),
        }
        // What moves from one field to the next keeps the same bytes in a row, and must be found too.
        prop_assert_eq!(verify(&records, Some(&head)).unwrap_err().seq, at as u64 + 1);
        let moved = &mut chain(count).0[at];
        if let Some(last) = moved.who.pop() {
            moved.what.insert(0, last);
            prop_assert_ne!(&moved.hash_now(), &moved.hash);
        }
    }

    #[test]
    fn any_removal_swap_or_double_is_found(count in 3usize..30, a in 0usize..30, b in 0usize..30) {
        let (records, head) = chain(count);
        let (a, b) = (a % count, b % count);
        let mut removed = records.clone();
        removed.remove(a);
        prop_assert!(verify(&removed, Some(&head)).is_err());
        let mut doubled = records.clone();
        doubled.insert(a, records[b].clone());
        prop_assert!(verify(&doubled, Some(&head)).is_err());
        if a != b {
            let mut swapped = records;
            swapped.swap(a, b);
            prop_assert!(verify(&swapped, Some(&head)).is_err());
        }
    }
}
