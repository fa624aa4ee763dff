//! Checks of what runs: the ports, NATS, ClickHouse and its grants, and Fettle's own word.
//!
//! On a machine where nothing runs yet, the ports should be free and nobody answers: that is a
//! warning, since it says only that `fettle up` has not been started.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;

use super::installed::judge_nats;
use super::report::{Check, Status};
use crate::arguments::{DoctorArguments, Server};
use crate::http::{client, reachable};
use crate::ports;
use crate::sql::{Client, SqlError};

/// How long one service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
const NOT_RUNNING: &str = "start it with `fettle up`, or name the right address";
/// What a user that writes must be allowed to do in Fettle's database.
const WRITER_GRANTS: [&str; 6] =
    ["SELECT", "INSERT", "CREATE TABLE", "CREATE VIEW", "ALTER TABLE", "DROP TABLE"];

/// All of them.
pub(crate) async fn checks(arguments: &DoctorArguments, state: &Path) -> Vec<Check> {
    let own = own_pids(state);
    let mut checks = vec![
        port("port http", "--http", arguments.http, &own),
        port("port nats", "--nats", arguments.nats, &own),
    ];
    if let Some(address) = own_address(&arguments.server.url) {
        checks.push(port("port sql", "--url", address, &own));
    }
    checks.push(nats(arguments.nats).await);
    checks.extend(clickhouse(&arguments.server).await);
    checks.push(health(arguments.http).await);
    checks
}

/// The processes that a running `fettle up` says are its own.
fn own_pids(state: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(state.join("run/parts.json")).unwrap_or_default();
    let page: Value = serde_json::from_str(&text).unwrap_or_default();
    let parts = page["parts"].as_array().cloned().unwrap_or_default();
    parts.iter().filter_map(|part| u32::try_from(part["pid"].as_u64()?).ok()).collect()
}

/// The address a URL names, if it names one by number and plain HTTP: others are not this machine's to judge.
fn own_address(url: &str) -> Option<SocketAddr> {
    let address: SocketAddr = url.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
    address.ip().is_loopback().then_some(address)
}

fn port(name: &'static str, flag: &str, address: SocketAddr, own: &[u32]) -> Check {
    let error = match ports::try_listen(address) {
        Ok(_) => return Check::ok(name, format!("{address} is free")),
        Err(error) => error,
    };
    if error.kind() != std::io::ErrorKind::AddrInUse {
        let fix = format!("name an address of this machine with {flag}");
        return Check::fail(name, format!("{address} cannot be listened on ({error})"), fix);
    }
    match ports::holder(address.port()) {
        Some(holder) if own.contains(&holder.pid) => Check::ok(name, format!("{address} is ours: {holder}")),
        Some(holder) => {
            let fix = format!("stop {holder}, or give `fettle up` another address with {}", up_flag(flag));
            Check::warn(name, format!("{address} is taken by {holder}"), fix)
        }
        None => {
            let fix = format!(
                "find it as root (ss -ltnp), or give `fettle up` another address with {}",
                up_flag(flag)
            );
            Check::warn(name, format!("{address} is taken by a process that cannot be seen"), fix)
        }
    }
}

/// The same address has another flag in `fettle up`.
fn up_flag(flag: &str) -> &str {
    if flag == "--url" {
        "--sql"
    } else {
        flag
    }
}

async fn nats(address: SocketAddr) -> Check {
    let info = match tokio::time::timeout(PATIENCE, greeting(reachable(address))).await {
        Ok(Ok(info)) => info,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Check::warn("nats", format!("nobody listens on {address}"), NOT_RUNNING);
        }
        Ok(Err(error)) => return Check::fail("nats", format!("{address}: {error}"), NOT_RUNNING),
        Err(_) => return Check::fail("nats", format!("{address} does not answer"), NOT_RUNNING),
    };
    judge_greeting(address, &info)
}

/// NATS greets with `INFO {…}`.
async fn greeting(address: SocketAddr) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let mut line = String::new();
    BufReader::new(stream.take(1 << 16)).read_line(&mut line).await?;
    Ok(line)
}

fn judge_greeting(address: SocketAddr, line: &str) -> Check {
    let info: Option<Value> =
        line.strip_prefix("INFO ").and_then(|json| serde_json::from_str(json.trim()).ok());
    let Some(info) = info else {
        return Check::fail("nats", format!("what listens on {address} is no NATS server"), NOT_RUNNING);
    };
    if info["jetstream"] != Value::Bool(true) {
        let fix = "switch JetStream on in its configuration: jetstream { store_dir: \"…\" }";
        return Check::fail("nats", format!("{address} has no JetStream"), fix);
    }
    judge_nats(
        "nats",
        info["version"].as_str().unwrap_or_default(),
        &format!("answers on {address} with JetStream"),
    )
}

async fn clickhouse(server: &Server) -> Vec<Check> {
    let name = "clickhouse";
    // Before Fettle has made its database, any statement that names it fails.
    let anywhere = Server { database: String::new(), ..server.clone() };
    let client = match Client::new(&anywhere) {
        Ok(client) => client,
        Err(error) => {
            return vec![Check::fail(name, error.to_string(), "write --url like http://127.0.0.1:8123")]
        }
    };
    let answer = client.ask_text("SELECT version(), currentUser()", PATIENCE).await;
    let (version, user) = match &answer {
        Ok(answer) => answer.trim().split_once('\t').unwrap_or((answer.trim(), "")),
        Err(SqlError::Unreachable { cause, .. }) => {
            return vec![Check::warn(name, format!("{} does not answer ({cause})", server.url), NOT_RUNNING)];
        }
        Err(error) => {
            let fix = "give the right --user and --password, or look into ClickHouse's log";
            return vec![Check::fail(name, error.to_string(), fix)];
        }
    };
    let mut checks = vec![Check::ok(name, format!("version {version} answers on {} as {user}", server.url))];
    checks.push(database(&client, &server.database).await);
    checks.push(grants(&client, server).await);
    checks
}

async fn database(client: &Client, database: &str) -> Check {
    let name = "database";
    let sql =
        format!("SELECT count() FROM system.tables WHERE database = '{}'", database.replace('\'', "''"));
    match client.ask_text(&sql, PATIENCE).await {
        Ok(count) if count.trim() == "0" => {
            let fix = "start the collector, which makes it";
            Check::warn(name, format!("{database} has no tables"), fix)
        }
        Ok(count) => Check::ok(name, format!("{database} has {} tables", count.trim())),
        Err(error) => Check::fail(name, error.to_string(), "let this user read system.tables"),
    }
}

/// `CHECK GRANT` answers 1 or 0 for the user who asks. The user `default` of the ClickHouse that comes
/// along only reads; any other is taken for one that the collector could write with.
async fn grants(client: &Client, server: &Server) -> Check {
    let wanted: &[&str] = if server.user == "default" { &WRITER_GRANTS[..1] } else { &WRITER_GRANTS };
    let mut missing = Vec::new();
    for grant in wanted {
        let sql = format!("CHECK GRANT {grant} ON {}.*", server.database);
        match client.ask_text(&sql, PATIENCE).await {
            Ok(answer) if answer.trim() == "1" => {}
            Ok(_) => missing.push(*grant),
            Err(error) => {
                let fix = "CHECK GRANT needs ClickHouse 24.10 or later; look at SHOW GRANTS instead";
                return Check { status: Status::Warn, ..Check::fail("grants", error.to_string(), fix) };
            }
        }
    }
    let (user, database) = (&server.user, &server.database);
    if missing.is_empty() {
        return Check::ok("grants", format!("{user} may {} in {database}", wanted.join(", ")));
    }
    let fix = format!("GRANT {} ON {database}.* TO {user}", missing.join(", "));
    Check::fail("grants", format!("{user} may not {} in {database}", missing.join(", ")), fix)
}

async fn health(address: SocketAddr) -> Check {
    let name = "fettle";
    let url = format!("http://{}/api/v3/health", reachable(address)).parse();
    let Ok(client) = url.as_ref().map_or(Err(()), |url| client(url).map_err(|_| ())) else {
        return Check::fail(name, "no HTTP client can be made", "check the system's certificates");
    };
    let Ok(url) = url else { return Check::fail(name, "the address makes no URL", "correct --http") };
    let Ok(response) = client.get::<reqwest::Url>(url).timeout(PATIENCE).send().await else {
        return Check::warn(name, format!("nobody answers on {address}"), NOT_RUNNING);
    };
    let ready = response.status().as_u16() == 200;
    let answer: Value = response.json().await.unwrap_or_default();
    judge_health(address, ready, &answer)
}

fn judge_health(address: SocketAddr, ready: bool, answer: &Value) -> Check {
    let Some(parts) = answer["parts"].as_object() else {
        return Check::fail("fettle", format!("what answers on {address} is not Fettle"), NOT_RUNNING);
    };
    if ready {
        return Check::ok("fettle", format!("{address} says that all {} parts are ready", parts.len()));
    }
    let late: Vec<String> = parts
        .iter()
        .filter(|(_, part)| part["state"] != "ready")
        .map(|(name, part)| format!("{name} is {}", part["state"].as_str().unwrap_or("unknown")))
        .collect();
    let fix = "wait a little; then look into the log of that part, STATE_DIR/logs/PART.log";
    Check::fail("fettle", late.join(", "), fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn address() -> SocketAddr {
        "127.0.0.1:4222".parse().unwrap()
    }

    #[test]
    fn greetings_are_judged() {
        let info = |version: &str, jetstream: bool| {
            format!("INFO {}\r\n", json!({"version": version, "jetstream": jetstream}))
        };
        assert_eq!(judge_greeting(address(), &info("2.15.1", true)).status, Status::Ok);
        assert_eq!(judge_greeting(address(), &info("2.15.1", false)).status, Status::Fail);
        assert_eq!(judge_greeting(address(), &info("2.8.0", true)).status, Status::Fail);
        assert_eq!(judge_greeting(address(), "SSH-2.0\r\n").status, Status::Fail);
    }

    #[test]
    fn the_health_answer_is_judged() {
        let parts = |state: &str| json!({"parts": {"nats": {"state": state}}});
        assert_eq!(judge_health(address(), true, &parts("ready")).status, Status::Ok);
        let late = judge_health(address(), false, &parts("starting"));
        assert_eq!((late.status, late.saw.as_str()), (Status::Fail, "nats is starting"));
        assert_eq!(judge_health(address(), true, &json!({})).status, Status::Fail);
    }

    #[test]
    fn a_free_port_is_ok_and_a_taken_one_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        let check = port("port sql", "--url", taken, &[]);
        assert_eq!(check.status, Status::Warn);
        assert!(
            check.saw.contains(&std::process::id().to_string()) && check.fix.contains("--sql"),
            "{check:?}"
        );
        assert_eq!(port("port sql", "--url", taken, &[std::process::id()]).status, Status::Ok);
        drop(listener);
        assert_eq!(port("port sql", "--url", taken, &[]).status, Status::Ok);
    }

    #[test]
    fn only_addresses_of_this_machine_are_checked_for_their_port() {
        assert!(own_address("http://127.0.0.1:8123/").is_some());
        assert!(own_address("https://db.example:8443").is_none());
        assert!(own_address("http://10.0.0.1:8123").is_none());
    }
}
