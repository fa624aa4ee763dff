//! Who may log in to the NATS of `fettle up`, and what each may do there. Everybody has a key (nkey): its seed is
//! made on the first start, in a file that only its owner may read; the server's configuration holds the public
//! half, and what travels is a signature, so that nobody can learn a login by listening or by taking the port.
//!
//! The rights are those of docs/agent.md and docs/collector.md: a test compares them.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fettle_shared::access::refuse_open_file;
use fettle_shared::subjects::is_agent_name;
use nkeys::{KeyPair, KeyPairType};

/// Names of this host's agent that are remembered: its spool may still hold frames of the last ones.
const MOST_NAMES: usize = 8;

/// A login that cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("the login {path} cannot be used ({cause}); mend that, or delete the file to have a new one made", path = .path.display())]
pub(crate) struct LoginError {
    path: PathBuf,
    cause: String,
}

/// The logins of one state directory.
#[derive(Debug)]
pub(crate) struct Logins {
    dir: PathBuf,
}

impl Logins {
    /// Those below a state directory.
    pub(crate) fn below(root: &Path) -> Self {
        Self { dir: root.join("logins") }
    }

    /// The seed of the collector's key.
    pub(crate) fn collector(&self) -> PathBuf {
        self.dir.join("collector.nk")
    }

    /// The seed of this host's agent's key.
    pub(crate) fn own_agent(&self) -> PathBuf {
        self.dir.join("agent.nk")
    }

    /// The seed of another agent's key.
    pub(crate) fn agent(&self, name: &str) -> PathBuf {
        self.dir.join("agents").join(format!("{name}.nk"))
    }

    /// Makes another agent's login; one that is there stays.
    pub(crate) fn add(&self, name: &str) -> Result<PathBuf, LoginError> {
        let path = self.agent(name);
        if !is_agent_name(name) {
            let cause = "an agent's name has 1 to 64 of A-Z a-z 0-9 _ -".to_owned();
            return Err(LoginError { path, cause });
        }
        public_key(&path)?;
        Ok(path)
    }

    /// The part of the server's configuration that says who may do what; makes what is missing. `own` is what this
    /// host's agent is called now.
    pub(crate) fn users(&self, own: &str) -> Result<String, LoginError> {
        let names = self.own_names(own)?;
        let mut users = vec![
            (public_key(&self.collector())?, collector_rights()),
            (public_key(&self.own_agent())?, agent_rights(own, &names)),
        ];
        for name in self.others()? {
            users.push((public_key(&self.agent(&name))?, agent_rights(&name, &[])));
        }
        let mut text = String::from("authorization {\n  users = [\n");
        for (key, rights) in users {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    {{ nkey: {key}, permissions: {rights} }}");
        }
        text.push_str("  ]\n}\n");
        Ok(text)
    }

    /// What this host's agent was called last.
    pub(crate) fn own_name(&self) -> Option<String> {
        let known = fs::read_to_string(self.dir.join("agent.names")).ok()?;
        known.lines().next().filter(|name| is_agent_name(name)).map(str::to_owned)
    }

    /// What this host's agent was called before, newest first; notes what it is called now.
    fn own_names(&self, own: &str) -> Result<Vec<String>, LoginError> {
        let path = self.dir.join("agent.names");
        let known = fs::read_to_string(&path).unwrap_or_default();
        let mut names: Vec<&str> = known.lines().filter(|name| is_agent_name(name) && *name != own).collect();
        names.truncate(MOST_NAMES);
        let text = [&[own][..], &names[..]].concat().join("\n") + "\n";
        if text != known {
            write_private(&path, &text)?;
        }
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn others(&self) -> Result<Vec<String>, LoginError> {
        let path = self.dir.join("agents");
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LoginError { path, cause: error.to_string() }),
        };
        let name = |entry: fs::DirEntry| {
            let name = entry.file_name().to_str()?.strip_suffix(".nk")?.to_owned();
            is_agent_name(&name).then_some(name)
        };
        let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
        names.sort();
        Ok(names)
    }
}

/// What an agent may do; `before` are names that it had.
fn agent_rights(name: &str, before: &[String]) -> String {
    let mut publish = vec![
        format!("fettle.metrics.*.{name}"),
        format!("fettle.receipts.{name}"),
        format!("fettle.inventory.{name}"),
        "$JS.API.STREAM.INFO.FETTLE_METRICS".to_owned(),
    ];
    let mut subscribe =
        vec![format!("fettle.orders.{name}"), format!("fettle.stored.{name}"), format!("_INBOX_{name}.>")];
    publish.extend(before.iter().map(|old| format!("fettle.metrics.*.{old}")));
    subscribe.extend(before.iter().map(|old| format!("fettle.stored.{old}")));
    rights(&publish, &subscribe)
}

/// What a collector may do.
fn collector_rights() -> String {
    let all = |subjects: &[&str]| subjects.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    rights(
        &all(&[
            "$JS.API.>",
            "$JS.ACK.>",
            "$KV.>",
            "fettle.state.>",
            "fettle.quarantine.>",
            "fettle.reports.>",
            "fettle.stored.>",
            "fettle.orders.>",
        ]),
        &all(&["_INBOX.>", "fettle.receipts.>", "fettle.inventory.>", "fettle.reports.>"]),
    )
}

fn rights(publish: &[String], subscribe: &[String]) -> String {
    let list =
        |subjects: &[String]| subjects.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ");
    format!(
        "{{\n      publish: [{}]\n      subscribe: [{}]\n      allow_responses: true }}",
        list(publish),
        list(subscribe)
    )
}

/// The public half of the key in this file; makes the key when there is no file.
fn public_key(path: &Path) -> Result<String, LoginError> {
    let fail = |cause: String| LoginError { path: path.to_owned(), cause };
    let seed = match fs::File::open(path) {
        Ok(mut file) => {
            let mode = file.metadata().map_err(|e| fail(e.to_string()))?.permissions().mode();
            refuse_open_file(path, mode).map_err(fail)?;
            let mut seed = String::new();
            file.read_to_string(&mut seed).map_err(|e| fail(e.to_string()))?;
            seed
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seed = new_seed().map_err(fail)?;
            write_private(path, &format!("{seed}\n"))?;
            seed
        }
        Err(error) => return Err(fail(error.to_string())),
    };
    Ok(KeyPair::from_seed(seed.trim()).map_err(|e| fail(e.to_string()))?.public_key())
}

fn new_seed() -> Result<String, String> {
    let mut random = [0; 32];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    read.map_err(|e| e.to_string())?;
    let pair = KeyPair::new_from_raw(KeyPairType::User, random).map_err(|e| e.to_string())?;
    pair.seed().map_err(|e| e.to_string())
}

/// Writes a file that only this user may read, aside and then renamed, so that nobody reads half of it.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), LoginError> {
    let fail = |e: std::io::Error| LoginError { path: path.to_owned(), cause: e.to_string() };
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
    }
    let aside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&aside, path).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text between `permissions:` and its last brace, each run of white space as one space.
    fn documented(page: &str) -> String {
        let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        let rest = &text[text.find("permissions: {").unwrap() + "permissions: ".len()..];
        let block = &rest[..=rest.find('}').unwrap()];
        block.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_rights_are_those_that_are_documented() {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(documented("agent.md"), plain(&agent_rights("web-1", &[])));
        assert_eq!(documented("collector.md"), plain(&collector_rights()));
    }

    #[test]
    fn keys_are_made_once_and_are_their_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let logins = Logins::below(directory.path());
        let first = logins.users("web").unwrap();
        let seed = fs::read_to_string(logins.collector()).unwrap();
        assert!(seed.starts_with("SU") && !first.contains(seed.trim()), "no seed is in the configuration");
        assert_eq!(logins.users("web").unwrap(), first);
        for path in [logins.collector(), logins.own_agent()] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(first.matches("nkey: U").count(), 2);
        logins.add("db").unwrap();
        let more = logins.users("web").unwrap();
        assert_eq!(more.matches("nkey: U").count(), 3);
        assert!(more.contains("fettle.orders.db"), "{more}");
        for bad in ["", "a.b", "../x", "a b"] {
            assert!(logins.add(bad).unwrap_err().to_string().contains("A-Z a-z"), "{bad}");
        }
        fs::set_permissions(logins.collector(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(logins.users("web").unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_renamed_agent_may_still_hand_in_what_it_kept_under_its_old_names() {
        let directory = tempfile::tempdir().unwrap();
        let logins = Logins::below(directory.path());
        logins.users("old").unwrap();
        let users = logins.users("new").unwrap();
        for right in
            ["fettle.metrics.*.old", "fettle.stored.old", "fettle.metrics.*.new", "fettle.orders.new"]
        {
            assert!(users.contains(right), "{right}: {users}");
        }
        assert!(!users.contains("fettle.orders.old") && !users.contains("fettle.receipts.old"), "{users}");
        assert!(logins.users("old").unwrap().contains("fettle.stored.new"));
    }
}
