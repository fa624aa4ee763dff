//! The past as it is stored: when alerts fired, how components were, which hosts were silent, who froze, and what
//! agents did.

use std::collections::{BTreeMap, BTreeSet};

use fettle_alert::handoff::{Labels, Severity};
use fettle_alert::rules::RuleSet;
use fettle_decide::rehearsal::{Done, Event, History, Opened, Seen, What};
use fettle_decide::world::{Place, World};
use fettle_shared::command::Action;
use fettle_shared::error_kind::ErrorKind;
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde_json::Value;

use super::PoliciesError;
use crate::moment;
use crate::operations::{ask_collector, OperationsError};
use crate::replay::arguments::ReplayArguments;
use crate::sql::{Client, SqlError};

/// Most rows of one kind that are read.
const MOST: usize = 200_000;
/// ClickHouse's number for a table that is not there.
const UNKNOWN_TABLE: u32 = 60;
/// Alerts that fired at the begin are looked for this far back, µs.
const LOOK_BACK_US: i64 = 30 * 86_400 * 1_000_000;
/// What was done so long before the begin uses budgets up still, µs: the longest that a budget may count over.
const BUDGETS_US: i64 = 86_400 * 1_000_000;
/// Without data for so long a host is silent, µs.
const SILENT_US: i64 = 30_000_000;
/// The end of the data is later known than the data itself, µs.
const LATE_US: i64 = 60_000_000;

/// A past, and what is to be said of it.
pub(super) struct Past {
    pub(super) history: History,
    /// What could not be known, in sentences.
    pub(super) notes: Vec<String>,
}

/// Asks for rows, and counts them.
struct Rows<'a>(&'a Client);

impl Rows<'_> {
    async fn of<T: DeserializeOwned>(&self, what: &'static str, sql: &str) -> Result<Vec<T>, PoliciesError> {
        let limited =
            format!("{sql} LIMIT {} SETTINGS output_format_json_quote_64bit_integers = 0", MOST + 1);
        let text = self.0.text(&limited, "JSONEachRow").await.map_err(|error| match error {
            SqlError::Server { code: UNKNOWN_TABLE, .. } => PoliciesError::NoTable { url: self.0.url() },
            error => error.into(),
        })?;
        let rows: Vec<T> = text
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .map_err(|error| PoliciesError::Answer { what, cause: error.to_string() })
            })
            .collect::<Result<_, _>>()?;
        if rows.len() > MOST {
            return Err(PoliciesError::TooMuch { most: MOST, what });
        }
        Ok(rows)
    }
}

fn micros(us: i64) -> String {
    format!("fromUnixTimestamp64Micro(toInt64({us}), 'UTC')")
}

/// A text in quotes.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn any_of<'a>(column: &str, names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| literal(name)).collect();
    format!("{column} IN ({})", names.join(", "))
}

/// Reads everything.
pub(super) async fn read(
    client: &Client,
    arguments: &ReplayArguments,
    rules: &RuleSet,
    (from_us, until_us): (i64, i64),
) -> Result<Past, PoliciesError> {
    let rows = Rows(client);
    let mut notes = Vec::new();
    let mut events = alerts(&rows, arguments, rules, (from_us, until_us)).await?;
    let hosts: BTreeSet<String> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::Opened(opened) => Some(opened.place().host).filter(|host| !host.is_empty()),
            _ => None,
        })
        .collect();
    let mut world = declared(arguments, &mut notes).await;
    members(&rows, &mut world, (from_us, until_us)).await?;
    if !hosts.is_empty() {
        events.extend(components(&rows, (from_us, until_us), &mut notes).await?);
        events.extend(silences(&rows, &hosts, (from_us, until_us)).await?);
    }
    events.extend(freezes(&rows, until_us).await?);
    let done = actions(&rows, (from_us, until_us), &mut notes).await?;
    events.sort_by_key(|event| event.at_us);
    Ok(Past { history: History { from_us, until_us, world, events, done }, notes })
}

#[derive(Deserialize)]
struct AlertRow {
    at_us: i64,
    id: String,
    rule: String,
    labels: Labels,
    severity: String,
    before: String,
    after: String,
    value: f64,
}

/// When alerts began and ended to fire; those of the operator itself, which call for a person, are left out.
async fn alerts(
    rows: &Rows<'_>,
    arguments: &ReplayArguments,
    rules: &RuleSet,
    (from_us, until_us): (i64, i64),
) -> Result<Vec<Event>, PoliciesError> {
    let hosts = if arguments.hosts.is_empty() {
        String::new()
    } else {
        format!(" AND {}", any_of("host", &arguments.hosts))
    };
    let crossing = format!(
        "id != '' AND `from` != `to` AND (`from` = 'firing' OR `to` = 'firing') AND rule NOT LIKE 'mending\\\\_%'{hosts}"
    );
    let columns = "toUnixTimestamp64Micro(ts) AS at_us, id, toString(rule) AS rule, labels, \
                   toString(severity) AS severity, toString(`from`) AS before, toString(`to`) AS after, value";
    let earlier = format!(
        "SELECT * FROM (SELECT {columns} FROM alerts WHERE ts >= {} AND ts < {} AND {crossing} \
         ORDER BY at_us DESC LIMIT 1 BY id) WHERE after = 'firing' ORDER BY at_us",
        micros(from_us - LOOK_BACK_US),
        micros(from_us)
    );
    let within = format!(
        "SELECT {columns} FROM alerts WHERE ts >= {} AND ts < {} AND {crossing} ORDER BY at_us, id",
        micros(from_us),
        micros(until_us)
    );
    let mut all: Vec<AlertRow> = rows.of("alerts", &earlier).await?;
    all.extend(rows.of::<AlertRow>("changes of alerts", &within).await?);
    Ok(changes(all, rules))
}

/// The same change may be stored twice; an alert that begins from nothing has ended unseen before.
fn changes(rows: Vec<AlertRow>, rules: &RuleSet) -> Vec<Event> {
    let (mut events, mut firing) = (Vec::new(), BTreeSet::new());
    for row in rows {
        let at_us = row.at_us;
        let was = firing.contains(&row.id);
        if row.after != "firing" {
            if was {
                firing.remove(&row.id);
                events.push(Event { at_us, what: What::Closed(row.id) });
            }
            continue;
        }
        if was && row.before != "none" {
            continue;
        }
        if was {
            events.push(Event { at_us, what: What::Closed(row.id.clone()) });
        }
        let severity = match row.severity.as_str() {
            "critical" => Severity::Critical,
            "high" => Severity::High,
            "medium" => Severity::Medium,
            _ => Severity::Low,
        };
        let action = rules.get(&row.rule).and_then(|rule| rule.action.clone());
        let opened = Opened { rule: row.rule, labels: row.labels, severity, value: row.value, action };
        firing.insert(row.id);
        events.push(Event { at_us, what: What::Opened(opened) });
    }
    events
}

/// What hosts' files declare now, as the collector knows it: nobody stores what they declared then.
async fn declared(arguments: &ReplayArguments, notes: &mut Vec<String>) -> World {
    let mut world = World::default();
    let known: Result<Value, OperationsError> = ask_collector(arguments.http, "components").await;
    let rows = match known {
        Ok(Value::Array(rows)) => rows,
        Ok(_) => Vec::new(),
        Err(error) => {
            notes.push(format!("what hosts' files allow and what components need is not known: {error}"));
            return world;
        }
    };
    for row in rows {
        let (Some(host), Some(name)) = (row["host"].as_str(), row["component"].as_str()) else { continue };
        let read = |key: &str| row[key].clone();
        let host = world.hosts.entry(host.to_owned()).or_default();
        host.offers = serde_json::from_value(read("host_offers")).unwrap_or_default();
        let view = host.components.entry(name.to_owned()).or_default();
        view.kind = row["kind"].as_str().unwrap_or_default().to_owned();
        view.critical = row["critical"] == true;
        view.depends_on = serde_json::from_value(read("depends_on")).unwrap_or_default();
        view.offers = serde_json::from_value(read("offers")).unwrap_or_default();
        view.replica_bounds = serde_json::from_value(read("replica_bounds")).unwrap_or_default();
        view.release_changed_us = row["release_changed_us"].as_i64().unwrap_or_default();
    }
    world
}

#[derive(Deserialize)]
struct MemberRow {
    host: String,
    component: String,
    kind: String,
}

/// Components that there were then: up until something says otherwise.
async fn members(
    rows: &Rows<'_>,
    world: &mut World,
    (from_us, until_us): (i64, i64),
) -> Result<(), PoliciesError> {
    let table = |name: &str, slack_us: i64| {
        format!(
            "SELECT DISTINCT toString(host) AS host, toString(component) AS component, toString(kind) AS kind \
             FROM {name} WHERE ts >= {} AND ts < {}",
            micros(from_us - slack_us),
            micros(until_us)
        )
    };
    // The hour under way is in no roll-up yet; the raw rows have it.
    let sql = format!(
        "SELECT DISTINCT host, component, kind FROM ({} UNION ALL {} UNION ALL {}) ORDER BY host, component",
        table("component_1h", 3_600_000_000),
        table("component_1m", 60_000_000),
        table("component", 0)
    );
    for row in rows.of::<MemberRow>("components", &sql).await? {
        let host = world.hosts.entry(row.host).or_default();
        let view = host.components.entry(row.component).or_default();
        view.kind = row.kind;
        view.up.get_or_insert(true);
    }
    Ok(())
}

#[derive(Deserialize)]
struct SeenRow {
    at_us: i64,
    host: String,
    component: String,
    kind: String,
    up: u8,
    critical: u8,
    replicas: u32,
    error_kind: u8,
}

#[derive(Deserialize)]
struct FirstRow {
    raw_us: i64,
    ten_us: i64,
}

/// How components were, wherever it changed: by the raw rows, before them by windows of ten seconds.
async fn components(
    rows: &Rows<'_>,
    (from_us, until_us): (i64, i64),
    notes: &mut Vec<String>,
) -> Result<Vec<Event>, PoliciesError> {
    let first = "SELECT (SELECT toUnixTimestamp64Micro(min(ts)) FROM component) AS raw_us, \
                 (SELECT toInt64(toUnixTimestamp(min(ts))) * 1000000 FROM component_10s) AS ten_us";
    let first = rows.of::<FirstRow>("the first rows of components", first).await?;
    let stored = |us: i64| if us > 0 { us } else { i64::MAX };
    let (raw_us, ten_us) =
        first.first().map_or((i64::MAX, i64::MAX), |row| (stored(row.raw_us), stored(row.ten_us)));
    let raw_from_us = from_us.max(raw_us);
    let mut events = Vec::new();
    if from_us < raw_from_us && ten_us < until_us {
        let select = format!(
            "SELECT toInt64(toUnixTimestamp(ts)) * 1000000 AS at_us, toString(host) AS host, \
             toString(component) AS component, toString(kind) AS kind, toUInt8(up_min) AS up, \
             toUInt8(critical_last) AS critical, toUInt32(replicas_last) AS replicas, \
             toUInt8(error_kind_max) AS error_kind FROM component_10s FINAL WHERE ts >= {} AND ts < {}",
            micros(from_us),
            micros(until_us.min(raw_from_us))
        );
        events.extend(changed(rows, &select).await?);
        notes.push(format!(
            "before {} how components were is known to ten seconds only",
            moment::rfc3339(raw_from_us.min(until_us))
        ));
    }
    if raw_from_us < until_us {
        let select = format!(
            "SELECT toUnixTimestamp64Micro(ts) AS at_us, toString(host) AS host, \
             toString(component) AS component, toString(kind) AS kind, toUInt8(up) AS up, \
             toUInt8(critical) AS critical, toUInt32(replicas) AS replicas, \
             toUInt8(error_kind) AS error_kind FROM component WHERE ts >= {} AND ts < {}",
            micros(raw_from_us),
            micros(until_us)
        );
        events.extend(changed(rows, &select).await?);
    }
    if from_us < raw_us.min(ten_us).min(until_us) {
        notes.push(format!(
            "before {} nothing is stored of components: each was taken to be down while an alert about it fired",
            moment::rfc3339(raw_us.min(ten_us).min(until_us))
        ));
    }
    Ok(events)
}

async fn changed(rows: &Rows<'_>, select: &str) -> Result<Vec<Event>, PoliciesError> {
    let sql = format!(
        "SELECT at_us, host, component, kind, up, critical, replicas, error_kind FROM (\
         SELECT *, (kind, up, critical, replicas, if(up = 1, 0, error_kind)) AS state, \
         lagInFrame(state) OVER w AS before, row_number() OVER w AS number FROM ({select}) \
         WINDOW w AS (PARTITION BY host, component ORDER BY at_us ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) \
         WHERE number = 1 OR state != before ORDER BY at_us, host, component"
    );
    let event = |row: SeenRow| {
        let seen = Seen {
            kind: row.kind,
            up: row.up != 0,
            critical: row.critical != 0,
            replicas: row.replicas,
            complaint: ErrorKind::of_number(row.error_kind).unwrap_or_default(),
        };
        Event { at_us: row.at_us, what: What::Seen(Place::new(row.host, row.component), seen) }
    };
    Ok(rows.of::<SeenRow>("changes of components", &sql).await?.into_iter().map(event).collect())
}

#[derive(Deserialize)]
struct WindowRow {
    host: String,
    /// Begin of a window with data, s since 1970.
    at_s: i64,
    /// Begin of the window with data before it; 0: it is the first.
    before_s: i64,
    /// Whether it is the last.
    last: u8,
}

#[derive(Deserialize)]
struct NewestRow {
    host: String,
    newest_us: i64,
}

/// When the hosts that alerts are about were silent: by windows without any data of a family that every agent
/// samples, of ten seconds where they are stored, else of a minute.
async fn silences(
    rows: &Rows<'_>,
    hosts: &BTreeSet<String>,
    (from_us, until_us): (i64, i64),
) -> Result<Vec<Event>, PoliciesError> {
    let of_hosts = any_of("host", hosts);
    let first =
        "SELECT toInt64(toUnixTimestamp(min(ts))) * 1000000 AS ten_us, toInt64(0) AS raw_us FROM load_10s";
    let first = rows.of::<FirstRow>("the first windows", first).await?;
    let fine = first.first().is_some_and(|row| row.ten_us > 0 && row.ten_us <= from_us + SILENT_US);
    let (table, length_us) = if fine { ("load_10s", 10_000_000) } else { ("load_1m", 60_000_000) };
    let apart_s = (SILENT_US.max(2 * length_us) + length_us) / 1_000_000;
    let sql = format!(
        "SELECT * FROM (SELECT host, at_s, lagInFrame(at_s) OVER w AS before_s, \
         toUInt8(row_number() OVER w = count() OVER (PARTITION BY host)) AS last FROM \
         (SELECT DISTINCT toString(host) AS host, toInt64(toUnixTimestamp(ts)) AS at_s FROM {table} \
         WHERE {of_hosts} AND ts >= {} AND ts < {}) \
         WINDOW w AS (PARTITION BY host ORDER BY at_s ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)) \
         WHERE before_s = 0 OR last = 1 OR at_s - before_s > {apart_s} ORDER BY host, at_s",
        micros(from_us - length_us),
        micros(until_us)
    );
    let newest = format!(
        "SELECT toString(host) AS host, toUnixTimestamp64Micro(max(ts)) AS newest_us FROM load \
         WHERE {of_hosts} AND ts < {} GROUP BY host ORDER BY host",
        micros(until_us)
    );
    let windows: Vec<WindowRow> = rows.of("windows of hosts", &sql).await?;
    let newest: BTreeMap<String, i64> = rows
        .of::<NewestRow>("the newest rows of hosts", &newest)
        .await?
        .into_iter()
        .map(|row| (row.host, row.newest_us))
        .collect();
    Ok(gaps(&windows, &newest, length_us, (from_us, until_us)))
}

fn gaps(
    windows: &[WindowRow],
    newest: &BTreeMap<String, i64>,
    length_us: i64,
    (from_us, until_us): (i64, i64),
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut note = |host: &str, silent_us: i64, heard_us: Option<i64>| {
        events.push(Event { at_us: silent_us, what: What::Silent(host.to_owned()) });
        if let Some(at_us) = heard_us {
            events.push(Event { at_us, what: What::Heard(host.to_owned()) });
        }
    };
    for window in windows {
        let at_us = window.at_s * 1_000_000;
        let longest_us = SILENT_US.max(2 * length_us);
        match window.before_s {
            0 if at_us - from_us > longest_us => note(&window.host, from_us, Some(at_us)),
            0 => {}
            before_s if at_us - before_s * 1_000_000 > longest_us + length_us => {
                note(&window.host, before_s * 1_000_000 + length_us, Some(at_us));
            }
            _ => {}
        }
        if window.last != 0 {
            let end_us = (at_us + length_us).max(newest.get(&window.host).copied().unwrap_or_default());
            if until_us - end_us > LATE_US.max(longest_us) {
                note(&window.host, end_us, None);
            }
        }
    }
    events
}

#[derive(Deserialize)]
struct FreezeRow {
    at_us: i64,
    kind: String,
    who: String,
}

async fn freezes(rows: &Rows<'_>, until_us: i64) -> Result<Vec<Event>, PoliciesError> {
    let sql = format!(
        "SELECT at_us, toString(kind) AS kind, toString(who) AS who FROM audit \
         WHERE kind IN ('frozen', 'thawed') AND at_us < {until_us} ORDER BY seq"
    );
    let event = |row: FreezeRow| {
        let what = if row.kind == "frozen" { What::Frozen(row.who) } else { What::Thawed(row.who) };
        Event { at_us: row.at_us, what }
    };
    Ok(rows.of::<FreezeRow>("freezes", &sql).await?.into_iter().map(event).collect())
}

#[derive(Deserialize)]
struct ActionRow {
    id: String,
    host: String,
    component: String,
    parameters: String,
    outcome: String,
    begun_us: i64,
    told_us: i64,
    local: u8,
}

async fn actions(
    rows: &Rows<'_>,
    (from_us, until_us): (i64, i64),
    notes: &mut Vec<String>,
) -> Result<Vec<Done>, PoliciesError> {
    let sql = format!(
        "SELECT id, toString(host) AS host, toString(component) AS component, \
         argMax(a.parameters, a.ts) AS parameters, toString(argMax(a.outcome, a.ts)) AS outcome, \
         toUnixTimestamp64Micro(max(a.begun)) AS begun_us, toUnixTimestamp64Micro(min(a.ts)) AS told_us, \
         max(a.local) AS local FROM actions AS a WHERE a.ts >= {} AND a.ts < {} GROUP BY id, host, component \
         ORDER BY told_us",
        micros(from_us - BUDGETS_US),
        micros(until_us + BUDGETS_US)
    );
    let (mut done, mut unread) = (Vec::new(), 0);
    for row in rows.of::<ActionRow>("actions", &sql).await? {
        let Ok(action) = serde_json::from_str::<Action>(&row.parameters) else {
            unread += 1;
            continue;
        };
        let at_us = if row.begun_us > 0 { row.begun_us } else { row.told_us };
        if at_us < until_us {
            let place = Place::new(row.host, row.component);
            let (outcome, local) = (row.outcome, row.local != 0);
            done.push(Done { id: row.id, at_us, place, action, outcome, local });
        }
    }
    if unread > 0 {
        notes.push(format!("{unread} stored actions are of another version and cannot be read"));
    }
    done.sort_by_key(|one| one.at_us);
    Ok(done)
}
