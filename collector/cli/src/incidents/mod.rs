//! `fettle incidents`: what people say went wrong, for `fettle replay` to compare with.
//!
//! The marks are rows of `incidents`. Taking one back writes a newer version of its row with `removed`, so
//! that nothing is deleted and it works on a cluster too. Reading is anybody's; to write, this asks as the
//! user `fettle`, whose password `fettle up` keeps in its state directory.

pub(crate) mod arguments;
mod csv;

use std::io;
use std::path::{Path, PathBuf};

use fettle_history::Incident;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::arguments::Server;
use crate::moment::{self, MomentError};
use crate::sql::{Client, Rows, SqlError};
use crate::{locate, output};
use arguments::{IncidentsCommand, ListArguments, MarkArguments, UnmarkArguments, Writer};

/// Why marks cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncidentsError {
    /// ClickHouse does not answer, or refuses.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A text names no time.
    #[error(transparent)]
    Moment(#[from] MomentError),
    /// The end lies before the begin.
    #[error("--to is not after --from; an incident takes some time")]
    Backwards,
    /// A word is empty.
    #[error("--{flag} is empty; name the {flag}")]
    Empty {
        /// The flag.
        flag: &'static str,
    },
    /// The table is not there yet.
    #[error(
        "there is no table of incidents at {url}; start a collector of this version once, it makes the table"
    )]
    NoTable {
        /// The server.
        url: String,
    },
    /// The password of the writer cannot be read.
    #[error(
        "cannot read the writer's password in {path} ({source}); name the state directory of `fettle up` with \
         --state-dir, or give --user and --password", path = .path.display()
    )]
    Password {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No such mark.
    #[error("there is no marked incident {id}; `fettle incidents list` shows them")]
    Unknown {
        /// The id.
        id: String,
    },
    /// The file of incidents is of another form.
    #[error("{path}, {why}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        why: String,
    },
    /// The file of incidents cannot be read.
    #[error("cannot read {path} ({source}); give a CSV file with the columns host,begin,end,kind", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer is not as it was asked for.
    #[error("ClickHouse's answer about incidents cannot be read ({0}); is it older than this program?")]
    Answer(serde_json::Error),
    /// The runtime could not be set up.
    #[error("cannot start ({0}); the process may have too few threads or open files")]
    Runtime(io::Error),
}

/// Names a mark for ever.
const ID: &str = "lower(leftPad(hex(cityHash64(host, begin, kind)), 16, '0'))";
/// ClickHouse's number for a table that is not there.
const UNKNOWN_TABLE: u32 = 60;

/// A marked incident as ClickHouse gives it.
#[derive(Debug, Deserialize)]
struct Mark {
    id: String,
    host: String,
    begin_us: i64,
    end_us: i64,
    kind: String,
    note: String,
    author: String,
}

/// Does what is asked for.
pub(crate) fn run(command: &IncidentsCommand) -> Result<(), IncidentsError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(IncidentsError::Runtime)?;
    runtime.block_on(async {
        match command {
            IncidentsCommand::Mark(arguments) => mark(arguments).await,
            IncidentsCommand::List(arguments) => list(arguments).await,
            IncidentsCommand::Unmark(arguments) => unmark(arguments).await,
        }
    })
}

async fn mark(arguments: &MarkArguments) -> Result<(), IncidentsError> {
    let now = Timestamp::now();
    let (begin, end) = (moment::parse(&arguments.from, now)?, moment::parse(&arguments.to, now)?);
    if end <= begin {
        return Err(IncidentsError::Backwards);
    }
    for (flag, value) in [("host", &arguments.host), ("kind", &arguments.kind)] {
        if value.trim().is_empty() {
            return Err(IncidentsError::Empty { flag });
        }
    }
    let client = writer(&arguments.writer)?;
    let sql = format!(
        "INSERT INTO incidents (host, begin, kind, end, note, author, removed) VALUES ({}, \
         fromUnixTimestamp64Micro(toInt64({})), {}, fromUnixTimestamp64Micro(toInt64({})), {}, {}, 0)",
        literal(arguments.host.trim()),
        begin.as_microsecond(),
        literal(arguments.kind.trim()),
        end.as_microsecond(),
        literal(&arguments.note),
        literal(&std::env::var("USER").unwrap_or_default()),
    );
    client.run(&sql).await.map_err(|error| table_missing(error, &client))?;
    output::line(&format!(
        "marked: {} on {} from {} to {}",
        arguments.kind.trim(),
        arguments.host.trim(),
        moment::rfc3339(begin.as_microsecond()),
        moment::rfc3339(end.as_microsecond())
    ));
    Ok(())
}

async fn list(arguments: &ListArguments) -> Result<(), IncidentsError> {
    let client = Client::new(&arguments.server)?;
    let only = arguments.host.as_ref().map_or(String::new(), |host| format!(" AND host = {}", literal(host)));
    let marks = select(&client, &only).await?;
    if arguments.json {
        let marks: Vec<_> = marks
            .iter()
            .map(|mark| {
                json!({
                    "id": mark.id, "host": mark.host, "kind": mark.kind, "note": mark.note, "author": mark.author,
                    "begin": moment::rfc3339(mark.begin_us), "end": moment::rfc3339(mark.end_us),
                })
            })
            .collect();
        output::line(&json!({ "incidents": marks }).to_string());
        return Ok(());
    }
    if marks.is_empty() {
        output::line("no incidents are marked; `fettle incidents mark --help` says how");
        return Ok(());
    }
    let names = ["id", "host", "begin", "end", "kind", "note", "author"].map(str::to_owned);
    let mut rows = Rows::new(&names, &[], crate::sql::terminal_width());
    for mark in marks {
        let (begin, end) = (moment::show(mark.begin_us), moment::show(mark.end_us));
        rows.push(&[mark.id, mark.host, begin, end, mark.kind, mark.note, mark.author]);
    }
    output::line(&rows.render());
    Ok(())
}

async fn unmark(arguments: &UnmarkArguments) -> Result<(), IncidentsError> {
    let client = writer(&arguments.writer)?;
    let known = select(&client, "").await?;
    if let Some(id) = arguments.ids.iter().find(|id| !known.iter().any(|mark| mark.id == **id)) {
        return Err(IncidentsError::Unknown { id: id.clone() });
    }
    let ids: Vec<String> = arguments.ids.iter().map(|id| literal(id)).collect();
    let sql = format!(
        "INSERT INTO incidents (host, begin, kind, end, note, author, removed) \
         SELECT host, begin, kind, end, note, author, 1 FROM incidents FINAL WHERE removed = 0 AND {ID} IN ({})",
        ids.join(", ")
    );
    client.run(&sql).await?;
    output::line(&format!("unmarked: {}", arguments.ids.join(", ")));
    Ok(())
}

async fn select(client: &Client, only: &str) -> Result<Vec<Mark>, IncidentsError> {
    let sql = format!(
        "SELECT {ID} AS id, host, toUnixTimestamp64Micro(begin) AS begin_us, \
         toUnixTimestamp64Micro(end) AS end_us, kind, note, author FROM incidents FINAL WHERE removed = 0{only} \
         ORDER BY begin DESC, host, kind SETTINGS output_format_json_quote_64bit_integers = 0"
    );
    let text = client.text(&sql, "JSONEachRow").await.map_err(|error| table_missing(error, client))?;
    text.lines().map(|line| serde_json::from_str(line).map_err(IncidentsError::Answer)).collect()
}

/// The stored marks. A server without the table has none.
pub(crate) async fn stored(client: &Client) -> Result<Vec<Incident>, IncidentsError> {
    let marks = match select(client, "").await {
        Err(IncidentsError::NoTable { .. }) => return Ok(Vec::new()),
        marks => marks?,
    };
    let incident = |mark: Mark| Incident {
        host: mark.host,
        begin_us: mark.begin_us,
        end_us: mark.end_us,
        kind: mark.kind,
        note: mark.note,
    };
    Ok(marks.into_iter().map(incident).collect())
}

/// The incidents of a CSV file.
pub(crate) fn read(path: &Path) -> Result<Vec<Incident>, IncidentsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| IncidentsError::Unreadable { path: path.to_owned(), source })?;
    csv::parse(&text).map_err(|why| IncidentsError::File { path: path.to_owned(), why })
}

/// A client that may write: as the named user, or as Fettle's own.
fn writer(writer: &Writer) -> Result<Client, IncidentsError> {
    if writer.server.user != "default" {
        return Ok(Client::new(&writer.server)?);
    }
    let state = writer.state_dir.clone().unwrap_or_else(locate::default_state_dir);
    let path = state.join("engine/writer.password");
    let password =
        std::fs::read_to_string(&path).map_err(|source| IncidentsError::Password { path, source })?;
    let server =
        Server { user: "fettle".to_owned(), password: password.trim().to_owned(), ..writer.server.clone() };
    Ok(Client::new(&server)?)
}

fn table_missing(error: SqlError, client: &Client) -> IncidentsError {
    match error {
        SqlError::Server { code: UNKNOWN_TABLE, .. } => IncidentsError::NoTable { url: client.url() },
        error => error.into(),
    }
}

/// A text in quotes.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
