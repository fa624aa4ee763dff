//! What the operator's files come to, and what of them could not be taken: said in the log, by `fettle status`,
//! and by `fettle-collector check` before anything is started.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use fettle_alert::manage;
use fettle_alert::rules::RuleSet;
use fettle_decide::policy::Policy;

use super::files::{OperationsFiles, Source};
use super::tell::Channels;

/// Files that were not taken as they stand now, by what they are for, with the reason.
#[derive(Debug, Clone, Default)]
pub struct NotTaken(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl NotTaken {
    /// All of them.
    pub fn all(&self) -> BTreeMap<&'static str, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note<T>(&self, what: &'static str, taken: Result<T, String>) -> Option<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken {
            Ok(taken) => {
                all.remove(what);
                Some(taken)
            }
            Err(error) => {
                tracing::error!(error, "the file of {what} is not taken; what was in force stays in force");
                all.insert(what, error);
                None
            }
        }
    }

    /// Routes and channels when their file has changed and is good; without a file, those that are built in.
    pub(super) fn alerting(&self, source: &mut Source) -> Option<Alerting> {
        self.note("alerting", alerting(source.changed()?))
    }

    /// At a start: the file, or when it is bad what was in force before, or else what is built in.
    pub(super) fn alerting_at_start(&self, source: &mut Source, before: &str) -> Result<Alerting, String> {
        if let Some(good) = self.alerting(source) {
            return Ok(good);
        }
        alerting(Ok(vec![("the routes and channels in force before".to_owned(), before.to_owned())])).or_else(
            |error| {
                tracing::error!(error, "everything is told to the log only, until the file is good");
                alerting(Ok(Vec::new()))
            },
        )
    }

    /// The policy when its file has changed and is good; without a file, the built-in one.
    pub(super) fn policies(&self, source: &mut Source) -> Option<Policy> {
        self.note("policies", policies(source.changed()?))
    }

    /// The rules when their files have changed and are good: the default pack with them on top.
    pub(super) fn rules(&self, source: &mut Source) -> Option<RuleSet> {
        self.note("rules", rules(source.changed()?))
    }
}

type Texts = Result<Vec<(String, String)>, String>;

/// Who is told, and by what text.
#[derive(Debug)]
pub(super) struct Alerting {
    pub config: manage::Config,
    pub channels: Channels,
    /// Saved with the state: a file that is bad at the next start must not leave everybody untold.
    pub text: String,
}

fn alerting(texts: Texts) -> Result<Alerting, String> {
    let texts = texts?;
    let (name, text) = texts.first().map_or(("", ""), |(name, text)| (name, text));
    let config = manage::Config::from_yaml(text).map_err(|error| told(name, &error))?;
    let channels = Channels::read(text).map_err(|error| told(name, &error))?;
    Ok(Alerting { config, channels, text: text.to_owned() })
}

fn policies(texts: Texts) -> Result<Policy, String> {
    let texts = texts?;
    let Some((name, text)) = texts.first() else { return Ok(Policy::built_in()) };
    Policy::read(text).map_err(|error| told(name, &error))
}

fn rules(texts: Texts) -> Result<RuleSet, String> {
    RuleSet::load(&texts?)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn told(name: &str, error: &impl Display) -> String {
    format!("{name}: {error}")
}

/// Reads all three as they would be at a start.
///
/// # Errors
/// The first file that would not be taken, and why.
pub fn check(files: &OperationsFiles) -> Result<(), String> {
    let texts =
        |path: &Option<std::path::PathBuf>| Source::new(path.clone()).changed().unwrap_or(Ok(Vec::new()));
    rules(texts(&files.rules))?;
    alerting(texts(&files.alerting))?;
    policies(texts(&files.policies))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_is_told_and_leaves_nothing_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policies.yaml");
        std::fs::write(&path, "frozzen: true\n").unwrap();
        let files = OperationsFiles { policies: Some(path.clone()), ..OperationsFiles::default() };
        assert!(check(&files).unwrap_err().contains("policies.yaml"));
        let (not_taken, mut source) = (NotTaken::default(), Source::new(Some(path.clone())));
        assert!(not_taken.policies(&mut source).is_none());
        assert!(not_taken.all()["policies"].contains("frozzen"), "{:?}", not_taken.all());
        std::fs::write(&path, "frozen: true\n# good again\n").unwrap();
        assert!(
            not_taken.policies(&mut source).is_none() && !not_taken.all().is_empty(),
            "it may be half written"
        );
        assert!(not_taken.policies(&mut source).is_some_and(|policy| policy.frozen));
        assert!(not_taken.all().is_empty());
        assert_eq!(check(&OperationsFiles::default()), Ok(()));
    }

    #[test]
    fn who_was_told_is_told_on_when_the_file_is_bad_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alerts.yaml");
        let good = "channels: { hook: { kind: webhook, url: 'http://127.0.0.1:9/' } }\nroute: { channels: [hook] }\n";
        std::fs::write(&path, good).unwrap();
        let start = |before: &str| {
            let not_taken = NotTaken::default();
            let taken = not_taken.alerting_at_start(&mut Source::new(Some(path.clone())), before).unwrap();
            (taken.config.routes[0].channels.clone(), taken.text, not_taken.all().contains_key("alerting"))
        };
        let hook = vec!["hook".to_owned()];
        assert_eq!(start(""), (hook.clone(), good.to_owned(), false));
        std::fs::write(&path, format!("{good}chanels: {{}}\n")).unwrap();
        assert_eq!(start(good), (hook, good.to_owned(), true), "what was in force, and it is said");
        let log = vec!["log".to_owned()];
        assert_eq!(start(""), (log.clone(), String::new(), true), "nothing was ever in force");
        assert_eq!(start("neither: is this"), (log, String::new(), true));
    }
}
