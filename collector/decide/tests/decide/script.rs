//! Scripts, `tests/scripts/NAME.script` (see `golden.rs`). Plans are called p1, p2, … in the order of their making.
//!
//! | line | what it does |
//! |---|---|
//! | `policy default` or `policy` … `end` | sets the policy |
//! | `host H NAME=LABEL…` | a host with labels; `value:METRIC=N` sets a metric |
//! | `component H/C KEY=VALUE…` | up, deps, kind, critical, replicas, min, max, release (age, s), offers, LABEL |
//! | `up H/C`, `down H/C`, `silent H`, `heard H` | changes the world |
//! | `alert RULE H/C SEVERITY [VALUE]`, `resolve RULE H/C` | an alert's word |
//! | `predict H/C P`, `print H/C TEXT` | a prediction; what a check printed |
//! | `tick`, `after N` | one tick; N seconds with a sample of every component, and a tick, each |
//! | `blind N` | N seconds with a tick and no samples |
//! | `receipt PLAN OUTCOME [TEXT] [before K=V]` | the answer to the plan's latest order |
//! | `local H/C ID SECONDS` | an agent's own restart, begun so many seconds ago |
//! | `approve`, `deny`, `cancel`, `back`, `again` PLAN | a person's word |
//! | `freeze`, `thaw`, `retry RULE H/C`, `explain`, `restart` | the like |

use std::fmt::Write as _;

use fettle_alert::handoff::{Severity, Standing};
use fettle_decide::incident::Prediction;
use fettle_decide::operator::{Effect, Numbered};
use fettle_decide::policy::Policy;
use fettle_shared::command::{Outcome, Refusal};

use crate::bench::{place, Bench, START_US};
use crate::golden;

struct Script {
    bench: Bench,
    plans: Vec<String>,
    out: String,
    /// Alerts that fire: they are said again every second, as rules do.
    firing: Vec<(String, String, Severity, f64, i64)>,
}

#[test]
fn scripts_give_their_golden_output() {
    golden::compare("scripts", 10, run);
}

fn run(text: &str) -> String {
    let mut script = Script {
        bench: Bench::new(Policy::built_in()),
        plans: Vec::new(),
        out: String::new(),
        firing: Vec::new(),
    };
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        writeln!(script.out, "> {line}").unwrap();
        if line.trim() == "policy" {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "end").collect();
            match Policy::read(&body.join("\n")) {
                Ok(policy) => script.bench.policy = policy,
                Err(faults) => writeln!(script.out, "{faults}").unwrap(),
            }
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            script.line(line);
        }
    }
    script.out
}

impl Script {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let first = words.get(1).copied().unwrap_or_default();
        match words[0] {
            "host" | "component" | "up" | "down" | "silent" | "heard" => self.change(&words),
            "alert" | "resolve" => self.alert(&words),
            "predict" => {
                let prediction = Prediction {
                    place: place(first),
                    probability: words[2].parse().unwrap(),
                    at_us: self.bench.now_us,
                    summary: "likely to fail".to_owned(),
                };
                self.bench.operator.prediction(&prediction, &self.bench.policy, self.bench.now_us);
            }
            "print" => self.bench.operator.output(&place(first), &words[2..].join(" "), self.bench.now_us),
            "tick" => self.tick(),
            "after" => self.pass(first, true),
            "blind" => self.pass(first, false),
            "receipt" => self.receipt(first, &words[2..]),
            "local" => self.bench.local(&place(first), words[2], words[3].parse().unwrap()),
            "restart" => self.bench.restart(),
            "explain" => self.explain(),
            "confirm" => {
                let number = self.bench.operator.state().number;
                self.bench.operator.confirm(number);
            }
            _ => self.command(&words),
        }
    }

    fn change(&mut self, words: &[&str]) {
        let at = place(words[1]);
        match words[0] {
            "host" => {
                let now_us = self.bench.now_us;
                let host = self.bench.world.hosts.entry(at.host.clone()).or_default();
                host.seen_us = now_us;
                for (key, value) in words[2..].iter().filter_map(|word| word.split_once('=')) {
                    match key.strip_prefix("value:") {
                        Some(metric) => {
                            host.values.insert(metric.to_owned(), value.parse().unwrap());
                        }
                        None if key == "offers" => host.offers = Some(offers(value)),
                        None => {
                            host.labels.insert(key.to_owned(), value.to_owned());
                        }
                    }
                }
            }
            "component" => self.component(words),
            "silent" => self.bench.silent_hosts.push(at.host),
            "heard" => self.bench.silent_hosts.retain(|host| *host != at.host),
            up => self.bench.set_up(&at, up == "up"),
        }
    }

    fn component(&mut self, words: &[&str]) {
        let now_us = self.bench.now_us;
        let at = place(words[1]);
        let component = self.bench.component(&at);
        for (key, value) in words[2..].iter().filter_map(|word| word.split_once('=')) {
            let number = || value.parse::<u32>().unwrap();
            match key {
                "deps" => component.depends_on = value.split(',').map(str::to_owned).collect(),
                "kind" => component.kind = value.to_owned(),
                "critical" => component.critical = value == "yes",
                "replicas" => component.replicas = Some(number()),
                "min" => {
                    component.replica_bounds = Some((number(), component.replica_bounds.map_or(1, |b| b.1)));
                }
                "max" => {
                    component.replica_bounds = Some((component.replica_bounds.map_or(1, |b| b.0), number()));
                }
                "release" => component.release_changed_us = now_us - i64::from(number()) * 1_000_000,
                "offers" => component.offers = Some(offers(value)),
                label => {
                    component.labels.insert(label.to_owned(), value.to_owned());
                }
            }
        }
    }

    fn alert(&mut self, words: &[&str]) {
        let (rule, at) = (words[1], words[2]);
        self.firing.retain(|one| !(one.0 == rule && one.1 == at));
        if words[0] == "resolve" {
            let mut finding = self.bench.finding(&place(at), rule, Severity::High, Standing::Resolved, 0.0);
            finding.summary = "resolved".to_owned();
            self.bench.operator.alert(&finding, &self.bench.policy, self.bench.now_us);
            return;
        }
        let severity = match words[3] {
            "low" => Severity::Low,
            "medium" => Severity::Medium,
            "high" => Severity::High,
            _ => Severity::Critical,
        };
        let value = words.get(4).map_or(1.0, |value| value.parse().unwrap());
        self.firing.push((rule.to_owned(), at.to_owned(), severity, value, self.bench.now_us));
        self.say_again();
    }

    fn say_again(&mut self) {
        for (rule, at, severity, value, since_us) in self.firing.clone() {
            let mut finding = self.bench.finding(&place(&at), &rule, severity, Standing::Firing, value);
            finding.since_us = since_us;
            self.bench.operator.alert(&finding, &self.bench.policy, self.bench.now_us);
        }
    }

    fn pass(&mut self, seconds: &str, samples: bool) {
        for _ in 0..seconds.parse::<u32>().unwrap() {
            self.bench.now_us += 1_000_000;
            self.say_again();
            if samples {
                let places: Vec<_> = self
                    .bench
                    .world
                    .hosts
                    .iter()
                    .flat_map(|(host, view)| {
                        let components = view.components.keys().map(move |name| format!("{host}/{name}"));
                        components.chain([host.clone()])
                    })
                    .collect();
                for at in places {
                    self.bench.observe(&place(&at));
                }
            }
            self.tick();
        }
    }

    fn receipt(&mut self, plan: &str, words: &[&str]) {
        let plan = self.plan(plan);
        let order = self.bench.orders.values().filter(|order| order.id.starts_with(&plan));
        let Some(order) = order.max_by_key(|order| order.generation).map(|order| order.id.clone()) else {
            return self.say("no such order");
        };
        let split = words.iter().position(|word| *word == "before").unwrap_or(words.len());
        let text = words[1..split].join(" ");
        let before: Vec<(&str, &str)> =
            words[split..].iter().filter_map(|word| word.split_once('=')).collect();
        let outcome = match words[0] {
            "accepted" => Outcome::Accepted,
            "done" => Outcome::Succeeded,
            "failed" => Outcome::Failed { error: text.clone() },
            "timed_out" => Outcome::TimedOut,
            "never_completed" => Outcome::NeverCompleted,
            refusal => Outcome::Refused {
                reason: serde_json::from_str::<Refusal>(&format!("\"{refusal}\"")).unwrap(),
            },
        };
        self.bench.receipt(&order, outcome, &text, &before);
    }

    fn command(&mut self, words: &[&str]) {
        let now_us = self.bench.now_us;
        let plan = words.get(1).map(|name| self.plan(name)).unwrap_or_default();
        let operator = &mut self.bench.operator;
        let result = match words[0] {
            "approve" => operator.approve(&plan, "ann", now_us),
            "deny" => operator.deny(&plan, "ann", now_us),
            "cancel" => operator.cancel(&plan, "ann", now_us),
            "back" => operator.roll_back(&plan, "ann", now_us),
            "again" => operator.retry_plan(&plan, "ann", now_us),
            "freeze" => operator.freeze("ann", "maintenance", now_us),
            "thaw" => operator.thaw("ann", now_us),
            "retry" => {
                let finding =
                    self.bench.finding(&place(words[2]), words[1], Severity::Low, Standing::Firing, 0.0);
                let id = format!("{:016x}", finding.fingerprint());
                self.bench.operator.retry(&id, "ann", now_us)
            }
            other => panic!("no such line: {other}"),
        };
        if let Err(error) = result {
            self.say(&format!("error: {error}"));
        }
    }

    fn explain(&mut self) {
        let told = self.bench.operator.explain(&self.bench.policy, &self.bench.world, self.bench.now_us);
        for one in told {
            self.say(&format!("{} on {}: {}", one.rule, one.place, one.what));
            let left_out = match (&one.run, &one.would, &one.would_not) {
                (Some(run), _, _) => run.plan.left_out.clone(),
                (_, Some(plan), _) => {
                    for step in &plan.steps {
                        self.say(&format!("  would try {}: {}", step.strategy, step.expects));
                    }
                    plan.left_out.clone()
                }
                (_, _, Some(none)) => none.left_out.clone(),
                _ => Vec::new(),
            };
            for left in left_out {
                self.say(&format!("  not {}: {}", left.strategy, left.reason));
            }
        }
    }

    fn plan(&self, name: &str) -> String {
        let number: Option<usize> = name.strip_prefix('p').and_then(|number| number.parse().ok());
        number.and_then(|number| self.plans.get(number - 1)).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn tick(&mut self) {
        for one in self.bench.tick() {
            self.print(&one);
        }
    }

    fn print(&mut self, one: &Numbered) {
        let line = match &one.effect {
            Effect::Audit(record) if record.kind == "planned" => {
                if !self.plans.contains(&record.plan) {
                    self.plans.push(record.plan.clone());
                }
                format!("audit planned {} {}", record.plan, record.what)
            }
            Effect::Audit(record) => format!("audit {} {} {}", record.kind, record.plan, record.what),
            Effect::Send(order) => {
                let action = serde_json::to_string(&order.action).unwrap();
                let at = if order.component.is_empty() { "the host" } else { &order.component };
                format!(
                    "send {} to {}: {action} of {at}, generation {}",
                    order.id, order.host, order.generation
                )
            }
            Effect::Page(page) => format!("PAGE {:?} {:?} {}", page.kind, page.severity, page.summary),
            Effect::Changed { plan, state } => format!("plan {plan} is {state}"),
        };
        self.say(&line);
    }

    /// A line of output, with its time and with plans by their short names.
    fn say(&mut self, line: &str) {
        let mut line = line.to_owned();
        for (at, id) in self.plans.iter().enumerate().filter(|(_, id)| !id.is_empty()) {
            line = line.replace(id.as_str(), &format!("p{}", at + 1));
        }
        let seconds = (self.bench.now_us - START_US) as f64 / 1e6;
        writeln!(self.out, "{seconds:>6} {}", line.trim_end()).unwrap();
    }
}

fn offers(text: &str) -> fettle_decide::world::Offers {
    let one = |word: &str| match word.split_once(':') {
        Some((action, entry)) => (action.to_owned(), vec![entry.to_owned()]),
        None => (word.to_owned(), Vec::new()),
    };
    text.split(',').filter(|word| !word.is_empty()).map(one).collect()
}
