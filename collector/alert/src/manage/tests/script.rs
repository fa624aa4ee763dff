//! Runs the scripts beside it: what is done stands in plain lines, what the manager then says in lines that
//! begin with `>`. `FETTLE_BLESS=1` writes those anew; look at the difference before you keep it.
//!
//! `config` … `end` settings · `clock RFC3339` · `fire|pend RULE SEVERITY label=value …` (said again each 5 s) ·
//! `clear RULE label=value …` · `hush RULE label=value …` (not said any more) · `run TIME` (a tick each second) ·
//! `silence label=value,… TIME AUTHOR REASON` · `unsilence ID AUTHOR` · `ack|unack|resolve TARGET AUTHOR NOTE` ·
//! `depends HOST COMPONENT NEED …` · `broken CHANNEL` · `mended CHANNEL` · `restart` · `crash` (dies while
//! sending) · `mends|leaves RULE label=value …` (it is being mended, or not any more) · `why RULE label=value …` · `incidents` · `counts`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

use super::super::config::SECOND;
use super::super::*;
use super::{finding, NOON};
use crate::handoff::{AlertView, Finding, Labels, Severity, Standing};

struct Stage {
    manager: Manager,
    config: Config,
    depends: Dependencies,
    now_us: i64,
    start_us: i64,
    said: BTreeMap<u64, Finding>,
    broken: BTreeSet<String>,
    mended: BTreeSet<u64>,
    dying: bool,
    out: String,
}

#[test]
fn scripts_say_what_they_said() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/manage/tests/scripts");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the scripts are gone");
    let mut wrong = String::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let played = play(&text);
        if played == text {
            continue;
        }
        if std::env::var_os("FETTLE_BLESS").is_some() {
            std::fs::write(&path, played).unwrap();
        } else {
            let first = text.lines().zip(played.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let (a, b) = (text.lines().nth(first), played.lines().nth(first));
            let _ = writeln!(wrong, "{}:{}: stands {a:?}, played {b:?}", path.display(), first + 1);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn play(text: &str) -> String {
    let mut stage = Stage {
        manager: Manager::new(Config::default()),
        config: Config::default(),
        depends: Dependencies::new(),
        now_us: NOON,
        start_us: NOON,
        said: BTreeMap::new(),
        broken: BTreeSet::new(),
        mended: BTreeSet::new(),
        dying: false,
        out: String::new(),
    };
    let mut config: Option<String> = None;
    for line in text.lines().filter(|line| !line.starts_with('>')) {
        stage.out.push_str(line);
        stage.out.push('\n');
        match (&mut config, line) {
            (None, "config") => config = Some(String::new()),
            (Some(yaml), "end") => {
                stage.config = Config::from_yaml(yaml).unwrap();
                stage.manager = Manager::new(stage.config.clone());
                config = None;
            }
            (Some(yaml), line) => {
                yaml.push_str(line);
                yaml.push('\n');
            }
            (None, line) if line.is_empty() || line.starts_with('#') => {}
            (None, line) => stage.line(line),
        }
    }
    stage.out
}

impl Stage {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "clock" => {
                self.now_us = words[1].parse::<jiff::Timestamp>().unwrap().as_microsecond();
                self.start_us = self.now_us;
            }
            "fire" => self.say(Standing::Firing, words[1], severity(words[2]), &words[3..]),
            "pend" => self.say(Standing::Pending, words[1], severity(words[2]), &words[3..]),
            "clear" => self.say(Standing::Resolved, words[1], Severity::Low, &words[2..]),
            "hush" => {
                let id = crate::handoff::fingerprint(words[1], &labels(&words[2..]));
                self.said.remove(&id);
            }
            "run" => {
                let until = self.now_us + parse_span(words[1]).unwrap();
                while self.now_us < until {
                    self.now_us += SECOND;
                    self.step();
                }
            }
            "depends" => {
                let needs = words[3..].iter().map(|need| (*need).to_owned()).collect();
                let host = self.depends.entry(words[1].to_owned()).or_default();
                host.insert(words[2].to_owned(), needs);
                self.manager.set_dependencies(self.depends.clone());
            }
            "broken" => {
                self.broken.insert(words[1].to_owned());
            }
            "mended" => {
                self.broken.remove(words[1]);
            }
            "mends" | "leaves" => {
                let id = crate::handoff::fingerprint(words[1], &labels(&words[2..]));
                if words[0] == "mends" {
                    self.mended.insert(id);
                } else {
                    self.mended.remove(&id);
                }
                self.manager.set_being_mended(self.mended.clone());
            }
            "restart" => self.restart(),
            "crash" => {
                self.dying = true;
                self.now_us += SECOND;
                self.step();
                self.dying = false;
                self.restart();
            }
            "why" => self.why(words[1], &words[2..]),
            "incidents" => self.incidents(),
            "counts" => {
                let counts = self.manager.counts();
                let _ = writeln!(self.out, "> {counts:?}");
            }
            _ => self.ask(&words),
        }
    }

    fn ask(&mut self, words: &[&str]) {
        let author = words.get(3).map(|word| (*word).to_owned()).unwrap_or_default();
        let request = match words[0] {
            "silence" => Request::Silence {
                matchers: Matchers(labels(&words[1].split(',').collect::<Vec<_>>())),
                author,
                reason: words[4..].join(" "),
                begins_us: None,
                expires_us: self.now_us + parse_span(words[2]).unwrap(),
            },
            "unsilence" => Request::Unsilence { id: words[1].to_owned(), author: words[2].to_owned() },
            "ack" => Request::Ack {
                target: words[1].to_owned(),
                author: words[2].to_owned(),
                note: words[3..].join(" "),
            },
            "unack" => Request::Unack {
                target: words[1].to_owned(),
                author: words[2].to_owned(),
                note: String::new(),
            },
            "resolve" => Request::Resolve {
                target: words[1].to_owned(),
                author: words[2].to_owned(),
                note: words[3..].join(" "),
            },
            other => panic!("no such line: {other}"),
        };
        let answer = self.manager.ask(&request, self.now_us);
        let _ = match answer {
            Ok(said) => writeln!(self.out, "> done: {said}"),
            Err(error) => writeln!(self.out, "> refused: {error}"),
        };
    }

    fn say(&mut self, standing: Standing, rule: &str, severity: Severity, words: &[&str]) {
        let labels = labels(words);
        let id = crate::handoff::fingerprint(rule, &labels);
        let pairs: Vec<(&str, &str)> =
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut said = finding(rule, &pairs, severity, self.now_us);
        said.standing = standing;
        self.manager.findings(std::slice::from_ref(&said), self.now_us);
        if standing == Standing::Resolved {
            self.said.remove(&id);
        } else {
            self.said.insert(id, said);
        }
    }

    /// One second: the rules say again what holds, the manager ticks, what is due is sent.
    fn step(&mut self) {
        if (self.now_us / SECOND) % 5 == 0 {
            let said: Vec<Finding> = self.said.values().cloned().collect();
            self.manager.findings(&said, self.now_us);
        }
        // Fresh data of every host but those that are said to be silent.
        let known: Vec<String> = self.manager.state().heard.keys().cloned().collect();
        let hosts: Vec<String> = known.into_iter().filter(|host| !self.is_silent(host)).collect();
        for host in hosts {
            self.manager.heard(&host, self.now_us, self.now_us);
        }
        self.manager.tick(self.now_us);
        for notification in self.manager.due(self.now_us) {
            self.manager.sending([notification.id.as_str()]);
            let broken = self.broken.contains(&notification.channel);
            let line = told(&notification, (self.now_us - self.start_us) / SECOND, broken);
            self.out.push_str(&line);
            if self.dying {
                continue;
            }
            let outcome = if broken {
                Outcome::Failed { problem: "broken".to_owned() }
            } else {
                Outcome::Sent { by: notification.channel.clone() }
            };
            self.manager.sent(&notification.id, &outcome, self.now_us);
        }
    }

    fn is_silent(&self, host: &str) -> bool {
        let of_host = |one: &&Finding| one.labels.get("host").is_some_and(|label| label == host);
        self.said.values().filter(of_host).any(|one| one.rule == "host_silent")
    }

    fn restart(&mut self) {
        let saved = serde_json::to_vec(self.manager.state()).unwrap();
        let state: State = serde_json::from_slice(&saved).unwrap();
        assert_eq!(&state, self.manager.state(), "what is loaded is what was saved");
        self.manager = Manager::restore(self.config.clone(), state);
        self.manager.set_dependencies(self.depends.clone());
        self.manager.set_being_mended(self.mended.clone());
    }

    fn why(&mut self, rule: &str, words: &[&str]) {
        let id = crate::handoff::fingerprint(rule, &labels(words));
        let Some(alert) = self.manager.state().alerts.get(&id) else {
            let _ = writeln!(self.out, "> no such alert");
            return;
        };
        for why in &alert.why {
            let seconds = (why.at_us - self.start_us) / SECOND;
            // Ids of notifications hold the time the group was made: they would differ, not say more.
            let detail: Vec<&str> =
                why.detail.split(' ').filter(|word| unhex(word.trim_end_matches(':')).is_none()).collect();
            let line = format!("> {seconds}s {} [{}] {}", why.reason.name(), why.group, detail.join(" "));
            let _ = writeln!(self.out, "{}", line.trim_end());
        }
    }

    fn incidents(&mut self) {
        for view in self.manager.incidents() {
            let over = if view.over_us.is_some() { "over" } else { "open" };
            let _ = writeln!(self.out, "> incident on {}: {} alerts, {over}", view.host, view.alerts_total);
            for cause in view.causes {
                let _ = writeln!(self.out, ">   {:.2} {}", cause.score, cause.text);
            }
        }
    }
}

fn told(notification: &Notification, seconds: i64, broken: bool) -> String {
    let name = |view: &AlertView| {
        let over = if view.standing == Standing::Resolved { "-" } else { "" };
        let rest: Vec<&str> = view.labels.values().map(String::as_str).collect();
        format!("{over}{}@{}", view.rule, rest.join("/"))
    };
    let shown: Vec<String> = notification.alerts.iter().take(4).map(name).collect();
    let more = notification.alerts_total.saturating_sub(4);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let held = if notification.held_back > 0 {
        format!(" held back {}", notification.held_back)
    } else {
        String::new()
    };
    let failed = if broken { " (fails)" } else { "" };
    let cause =
        notification.cause.as_ref().map(|cause| format!("\n>     cause: {cause}")).unwrap_or_default();
    let kind = format!("{:?}", notification.kind).to_uppercase();
    let first = format!("> {seconds}s {kind} to {}{failed}: {}", notification.channel, notification.group);
    let lines: Vec<String> =
        notification.held_back_list.iter().take(3).map(|line| format!("\n>     {line}")).collect();
    format!(
        "{first} {} [{}{more}]{held} because {}{}{cause}\n",
        word(notification.severity),
        shown.join(" "),
        notification.reason,
        lines.concat(),
    )
}

fn labels(words: &[&str]) -> Labels {
    let pair = |word: &&str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    words.iter().map(|word| pair(word).unwrap_or_else(|| panic!("{word} is no label=value"))).collect()
}

fn severity(text: &str) -> Severity {
    match text {
        "low" => Severity::Low,
        "medium" => Severity::Medium,
        "high" => Severity::High,
        "critical" => Severity::Critical,
        other => panic!("no such severity: {other}"),
    }
}
