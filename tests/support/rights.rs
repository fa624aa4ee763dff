//! The rights on NATS that docs/agent.md and docs/collector.md tell people to give, as a nats-server takes them: the
//! very text of the pages, so that a test which runs under them tries what is documented.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Name of the collector's login.
pub const COLLECTOR: &str = "collector";
/// A login that may do everything, to look on with.
pub const ROOT: &str = "root";
/// The agent's name in the documentation.
const DOCUMENTED: &str = "web-1";

/// The part of a server's configuration in which the collector and these agents have the documented rights.
pub fn authorization(agents: &[&str]) -> String {
    let user = |name: &str, rights: &str| {
        format!("    {{ user: \"{name}\", password: \"{}\", permissions: {rights} }}\n", password(name))
    };
    let agents: String =
        agents.iter().map(|name| user(name, &documented("agent.md").replace(DOCUMENTED, name))).collect();
    let collector = user(COLLECTOR, &documented("collector.md"));
    let root = format!("    {{ user: \"{ROOT}\", password: \"{}\" }}\n", password(ROOT));
    format!("authorization {{\n  users = [\n{agents}{collector}{root}  ]\n}}\n")
}

/// The `[nats]` of a configuration that logs in as this user; its password is written to a file in `dir`.
///
/// # Panics
/// The directory is not writable.
pub fn login(dir: &Path, user: &str) -> String {
    let path = dir.join(format!("{user}.password"));
    std::fs::write(&path, password(user) + "\n").expect("the directory is writable");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private).expect("a file of one's own can be closed");
    format!("[nats]\nuser = \"{user}\"\npassword_file = \"{}\"\n", path.display())
}

/// The password of a login.
pub fn password(user: &str) -> String {
    format!("the password of {user}")
}

/// What stands between `permissions:` and its closing brace on a page.
fn documented(page: &str) -> String {
    let path = format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let block = text.split_once("permissions: {").and_then(|(_, rest)| rest.split_once('}'));
    let (rights, _) = block.unwrap_or_else(|| panic!("{path} shows no permissions"));
    format!("{{{rights}}}")
}
