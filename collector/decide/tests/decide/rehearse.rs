//! Rehearsals over made-up pasts, `tests/rehearsals/NAME.script` (see `golden.rs`).
//!
//! | line | what it says |
//! |---|---|
//! | `policy default` or `policy` … `end` | the policy |
//! | `assume as_it_was` or `assume helps` | what is taken for the effect of actions; the first is the default |
//! | `until N` | where the past ends, s |
//! | `component H/C KEY=VALUE…` | declared beforehand: deps, offers, LABEL |
//! | `N seen H/C up` or `down [permission]` | at second N, what its checks say changed |
//! | `N open RULE H/C SEVERITY`, `N close RULE H/C` | an alert began and ended |
//! | `N done H/C ACTION OUTCOME [local]` | what was really done |
//! | `N silent H`, `N heard H`, `N freeze WHO`, `N thaw WHO` | the like |

use std::fmt::Write as _;

use fettle_alert::handoff::{Labels, Severity};
use fettle_decide::policy::Policy;
use fettle_decide::rehearsal::{rehearse, Assume, Done, Event, Fate, History, Opened, Row, Seen, What};
use fettle_shared::command::Action;
use fettle_shared::error_kind::ErrorKind;

use crate::bench::{place, START_US};
use crate::golden;

struct Past {
    policy: Policy,
    assume: Assume,
    history: History,
}

#[test]
fn pasts_give_their_golden_output() {
    golden::compare("rehearsals", 5, |text| told(&read(text)));
}

fn read(text: &str) -> Past {
    let mut past = Past { policy: Policy::built_in(), assume: Assume::AsItWas, history: History::default() };
    past.history.from_us = START_US;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first().copied() {
            None | Some("#") => {}
            Some("policy") if words.len() == 1 => {
                let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "end").collect();
                past.policy = Policy::read(&body.join("\n")).unwrap();
            }
            Some("policy") => {}
            Some("assume") => {
                past.assume = if words[1] == "helps" { Assume::Helps } else { Assume::AsItWas };
            }
            Some("until") => past.history.until_us = START_US + seconds(words[1]),
            Some("component") => component(&mut past.history, &words),
            Some(at) => happened(&mut past.history, START_US + seconds(at), &words[1..]),
        }
    }
    past.history.events.sort_by_key(|event| event.at_us);
    past.history.done.sort_by_key(|done| done.at_us);
    past
}

fn seconds(word: &str) -> i64 {
    (word.parse::<f64>().unwrap_or_else(|_| panic!("{word} is no time")) * 1e6) as i64
}

fn component(history: &mut History, words: &[&str]) {
    let at = place(words[1]);
    let host = history.world.hosts.entry(at.host).or_default();
    let view = host.components.entry(at.component).or_default();
    for (key, value) in words[2..].iter().filter_map(|word| word.split_once('=')) {
        match key {
            "deps" => view.depends_on = value.split(',').map(str::to_owned).collect(),
            "offers" => {
                view.offers =
                    Some(value.split(',').map(|name| (name.to_owned(), vec!["main".to_owned()])).collect());
            }
            label => {
                view.labels.insert(label.to_owned(), value.to_owned());
            }
        }
    }
}

fn happened(history: &mut History, at_us: i64, words: &[&str]) {
    let opened = |words: &[&str]| {
        let at = place(words[2]);
        let mut labels = Labels::from([("host".to_owned(), at.host)]);
        if !at.component.is_empty() {
            labels.insert("component".to_owned(), at.component);
        }
        let severity = match words.get(3).copied() {
            Some("low") => Severity::Low,
            Some("medium") => Severity::Medium,
            Some("high") => Severity::High,
            _ => Severity::Critical,
        };
        Opened { rule: words[1].to_owned(), labels, severity, value: 1.0, action: None }
    };
    let what = match words[0] {
        "seen" => {
            let complaint = match words.get(3) {
                Some(&"permission") => ErrorKind::Permission,
                _ => ErrorKind::None,
            };
            let kind = "supervised".to_owned();
            let seen = Seen { kind, up: words[2] == "up", critical: false, replicas: 1, complaint };
            What::Seen(place(words[1]), seen)
        }
        "open" => What::Opened(opened(words)),
        "close" => What::Closed(opened(words).id()),
        "silent" => What::Silent(words[1].to_owned()),
        "heard" => What::Heard(words[1].to_owned()),
        "freeze" => What::Frozen(words[1].to_owned()),
        "thaw" => What::Thawed(words[1].to_owned()),
        "done" => {
            let action: Action = serde_json::from_value(serde_json::json!({ "action": words[2] })).unwrap();
            history.done.push(Done {
                id: format!("d{}", history.done.len() + 1),
                at_us,
                place: place(words[1]),
                action,
                outcome: words[3].to_owned(),
                local: words.get(4) == Some(&"local"),
            });
            return;
        }
        other => panic!("no such line: {other}"),
    };
    history.events.push(Event { at_us, what });
}

fn told(past: &Past) -> String {
    let rehearsal = rehearse(&past.policy, &past.history, past.assume);
    let mut out = String::new();
    for row in &rehearsal.rows {
        writeln!(out, "{}", line(row).trim_end()).unwrap();
    }
    let mut totals = serde_json::to_value(&rehearsal.totals).unwrap();
    // Times are from the begin.
    for path in ["/that_hour_us", "/most_of_a_group/at_us"] {
        if let Some(at) = totals.pointer_mut(path).filter(|at| at.as_i64() > Some(0)) {
            *at = serde_json::json!((at.as_i64().unwrap() - START_US) as f64 / 1e6);
        }
    }
    for (name, value) in totals.as_object().unwrap() {
        writeln!(out, "= {name} {value}").unwrap();
    }
    out
}

fn line(row: &Row) -> String {
    let at = |us: i64| (us - START_US) as f64 / 1e6;
    let mut line = format!("{:>6} {} {}", at(row.at_us), row.place, row.rule);
    if !row.entry.is_empty() {
        write!(line, " > {}/{}", row.entry, row.strategy).unwrap();
    }
    if let Some(action) = &row.action {
        write!(line, " {}", action.name()).unwrap();
    }
    if row.fate != Fate::OnlyReally {
        write!(line, ": {}", row.words()).unwrap();
    }
    if let Some(verdict) = row.verdict {
        write!(line, " -> {verdict:?}").unwrap();
    }
    for done in &row.really {
        let by = if done.local { " by itself" } else { "" };
        write!(line, " | really {} {}{by} at {}", done.action.name(), done.outcome, at(done.at_us)).unwrap();
    }
    line
}

#[test]
fn the_same_past_gives_the_same_and_an_empty_one_nothing() {
    let past = read("until 100\n1 seen h/web up\n5 seen h/web down\n6 open component_down h/web\n");
    let once = rehearse(&past.policy, &past.history, past.assume);
    assert_eq!(once, rehearse(&past.policy, &past.history, past.assume));
    assert!(once.totals.orders > 0);
    let empty = read("until 2592000\n");
    let rehearsal = rehearse(&empty.policy, &empty.history, empty.assume);
    assert!(rehearsal.rows.is_empty() && rehearsal.totals.alerts == 0);
}

/// An alert that holds all the time costs nothing while nothing can come of it.
#[test]
fn days_are_gone_through_and_what_helps_comes_to_no_more_than_what_does_not() {
    let mut text = String::from("until 259200\n1 open unheard_of g/disk\n");
    for fault in 0..20 {
        let at = 100 + fault * 12_000;
        let name = format!("h{}/web", fault % 7);
        writeln!(text, "{at} seen {name} down\n{} open component_down {name}", at + 1).unwrap();
        writeln!(text, "{} seen {name} up\n{} close component_down {name}", at + 600, at + 601).unwrap();
    }
    let past = read(&text);
    let most = rehearse(&past.policy, &past.history, Assume::AsItWas);
    let fewest = rehearse(&past.policy, &past.history, Assume::Helps);
    assert_eq!(fewest.totals.orders, 20);
    assert_eq!(fewest.totals.verdicts["healed"], 20);
    assert!(most.totals.orders > 20, "{:?}", most.totals);
    assert_eq!(most.totals.without_entry["unheard_of"], 1);
}
