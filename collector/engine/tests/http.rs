//! The HTTP interface, against the real engine.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};

use support::{eventually, read_answer, Engine};

#[test]
fn health_is_told_without_a_query() {
    let engine = Engine::shared();
    for path in ["/", "/ping", "/replicas_status"] {
        assert_eq!(engine.reader(path).method("GET").send().ok(), "Ok.\n", "{path}");
    }
    assert_eq!(engine.reader("/nowhere").method("GET").send().status, 404);
}

#[test]
fn a_query_may_stand_in_the_url_the_body_or_both() {
    let engine = Engine::shared();
    assert_eq!(engine.reader("/").method("GET").parameter("query", "SELECT 1 + 1").send().ok(), "2\n");
    assert_eq!(engine.reader("/").body("SELECT 'ü'").send().ok(), "ü\n");
    let both = engine.reader("/").parameter("query", "SELECT number").body("FROM numbers(2)");
    assert_eq!(both.send().ok(), "0\n1\n");
}

#[test]
fn headers_tell_of_the_result() {
    let answer = Engine::shared().reader("/?query_id=my-id&default_format=CSV").body("SELECT 1, 'a'").send();
    assert_eq!(answer.ok(), "1,\"a\"\n");
    assert_eq!(answer.header("x-clickhouse-query-id"), "my-id");
    assert_eq!(answer.header("x-clickhouse-format"), "CSV");
    assert_eq!(answer.header("content-type"), "text/csv; charset=UTF-8; header=absent");
    assert!(!answer.header("x-clickhouse-timezone").is_empty());
    assert!(!answer.header("x-clickhouse-server-display-name").is_empty());
    assert!(answer.header("x-clickhouse-summary").contains("\"result_rows\":\"1\""));
    let named = Engine::shared().reader("/").body("SELECT 1 FORMAT JSON").send();
    assert_eq!(named.header("x-clickhouse-format"), "JSON");
    assert_eq!(named.header("content-type"), "application/json; charset=UTF-8");
}

#[test]
fn every_format_the_engine_has_is_given() {
    let engine = Engine::shared();
    let formats = engine.ask("SELECT name FROM system.formats WHERE is_output AND name != 'Null'");
    let mut given = 0;
    for format in formats.lines() {
        let request = engine.reader("/").parameter("default_format", format);
        let answer = request.body("SELECT toUInt32(1) AS a, 'x' AS b").send();
        // Some formats want a schema or columns of certain types, and say so.
        if answer.status != 200 {
            assert!([8, 36, 161, 474].contains(&answer.refusal().1), "{format}: {}", answer.text());
            continue;
        }
        assert!(answer.complete && !answer.body.is_empty(), "{format}");
        given += 1;
    }
    assert!(given > 60, "{given} formats");
    let empty =
        engine.reader("/?default_format=RowBinaryWithNamesAndTypes").body("SELECT 1 AS a WHERE 0").send();
    assert_eq!(empty.body, b"\x01\x01a\x05UInt8");
}

#[test]
fn a_result_of_many_blocks_is_one_document() {
    let engine = Engine::shared();
    let of = |format: &str| {
        let sql = "SELECT number FROM numbers(300000)";
        engine.reader("/").parameter("default_format", format).body(sql).send()
    };
    assert_eq!(of("RowBinaryWithNamesAndTypes").body.len(), 15 + 8 * 300_000);
    assert_eq!(of("CSVWithNames").ok().lines().filter(|line| line.contains("number")).count(), 1);
    let json = of("JSONCompact").ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["rows"].as_u64(), json["data"].as_array().unwrap().len()), (Some(300_000), 300_000));
    let totals = engine
        .reader("/?default_format=JSON")
        .body("SELECT number % 2 AS k, count() FROM numbers(9) GROUP BY k WITH TOTALS");
    let totals: serde_json::Value = serde_json::from_str(&totals.send().ok()).unwrap();
    assert_eq!(totals["totals"]["count()"], 9);
}

#[test]
fn statements_that_are_no_select_have_results_too() {
    let engine = Engine::shared();
    engine.run("CREATE DATABASE IF NOT EXISTS shown");
    engine.run("CREATE TABLE IF NOT EXISTS shown.t (a UInt8) ENGINE = MergeTree ORDER BY a");
    assert_eq!(engine.ask("SHOW TABLES FROM shown"), "t");
    assert!(engine.ask("DESCRIBE shown.t").starts_with("a\tUInt8"));
    assert_eq!(engine.ask("EXISTS TABLE shown.t"), "1");
    assert!(engine.ask("SHOW CREATE TABLE shown.t").contains("MergeTree"));
    assert!(engine.ask("EXPLAIN SELECT 1").contains("ReadFrom"));
    assert_eq!(engine.reader("/?database=shown").body("SELECT count() FROM t").send().ok(), "0\n");
}

#[test]
fn data_is_taken_in_every_form_of_insert() {
    let engine = Engine::shared();
    engine.run("CREATE TABLE forms (a UInt64, b String) ENGINE = MergeTree ORDER BY a");
    let insert = |query: &str, body: &[u8]| {
        let answer = engine.writer("/").parameter("query", query).body(body).send();
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer
    };
    let first = insert("INSERT INTO forms FORMAT CSV", b"1,one\n2,two\n");
    assert!(first.header("x-clickhouse-summary").contains("\"written_rows\":\"2\""));
    insert("INSERT INTO forms (b, a) VALUES", b"('three', 3)");
    insert("INSERT INTO forms VALUES (4, 'four')", b"");
    insert("", b"INSERT INTO forms FORMAT TSV\n5\tfive\n");
    insert("", b"INSERT INTO forms VALUES (6, 'FORMAT CSV')");
    insert("INSERT INTO forms FORMAT JSONEachRow", b"{\"a\": 7, \"b\": \"seven\"}");
    insert("INSERT INTO forms SELECT 8, 'eight'", b"");
    let native = engine.reader("/").body("SELECT toUInt64(9) AS a, 'nine' AS b FORMAT Native").send().body;
    insert("INSERT INTO forms FORMAT Native", &native);
    insert("", &[b"INSERT INTO forms FORMAT RowBinary\n".as_slice(), b"\x0a\0\0\0\0\0\0\0\x03ten"].concat());
    assert_eq!(engine.ask("SELECT groupArray(a), groupArray(b) FROM (SELECT * FROM forms ORDER BY a)"), "[1,2,3,4,5,6,7,8,9,10]\t['one','two','three','four','five','FORMAT CSV','seven','eight','nine','ten']");
    let bad = engine.writer("/").parameter("query", "INSERT INTO forms FORMAT CSV").body("x,y\n").send();
    assert_eq!(bad.refusal(), (400, 27), "{}", bad.text());
}

#[test]
fn errors_are_clickhouses_own() {
    let engine = Engine::shared();
    for (sql, refusal) in [
        ("SELEC 1", (400, 62)),
        ("SELECT 1; SELECT 2", (400, 62)),
        ("exit", (400, 62)),
        ("SELECT * FROM nowhere", (404, 60)),
        ("SELECT nowhere", (404, 47)),
        ("SELECT nowhere()", (404, 46)),
        ("SELECT 1 FORMAT Nowhere", (404, 73)),
        ("SELECT throwIf(1)", (500, 395)),
        (
            "SELECT sleepEachRow(1) FROM numbers(5) SETTINGS max_execution_time = 0.2, max_block_size = 1",
            (408, 159),
        ),
    ] {
        let answer = engine.reader("/").body(sql).send();
        assert_eq!(answer.refusal(), refusal, "{sql}: {}", answer.text());
        assert!(
            answer.text().starts_with(&format!("Code: {}. DB::Exception: ", refusal.1)),
            "{}",
            answer.text()
        );
        assert!(answer.text().trim_end().ends_with(')') && answer.text().contains("(version 26."));
    }
    assert_eq!(engine.reader("/?no_such_setting=1").body("SELECT 1").send().refusal(), (404, 115));
    assert_eq!(engine.reader("/?max_block_size=many").body("SELECT 1").send().refusal().0, 400);
    // What is a reader's limit must be a plain number.
    assert_eq!(engine.reader("/?max_threads=many").body("SELECT 1").send().refusal(), (500, 164));
    assert_eq!(engine.reader("/?database=nowhere").body("SELECT 1").send().refusal(), (404, 81));
}

#[test]
fn an_error_in_the_middle_is_told_and_breaks_the_transfer() {
    let sql =
        "SELECT number, throwIf(number = 3000000) FROM numbers(5000000) SETTINGS max_block_size = 10000";
    let answer = Engine::shared().reader("/").body(sql).send();
    assert_eq!(answer.status, 200);
    assert!(!answer.complete, "the transfer must not look complete");
    let tag = answer.header("x-clickhouse-exception-tag").to_owned();
    let end = String::from_utf8_lossy(&answer.body[answer.body.len() - 600..]).into_owned();
    assert_eq!(tag.len(), 16);
    assert!(end.contains(&format!("\r\n__exception__\r\n{tag}\r\nCode: 395.")), "{end}");
    assert!(end.ends_with(&format!(" {tag}\r\n__exception__\r\n")), "{end}");
    let waited = Engine::shared().reader("/?wait_end_of_query=1").body(sql).send();
    assert_eq!(waited.refusal(), (500, 395));
}

#[test]
fn users_are_told_apart() {
    let engine = Engine::shared();
    let as_user = |request: support::Request<'_>| request.body("SELECT 1").send().refusal();
    assert_eq!(as_user(engine.writer("/")), (200, 0));
    assert_eq!(
        as_user(engine.reader("/").parameter("user", "fettle").parameter("password", &engine.password)),
        (200, 0)
    );
    let basic = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("fettle:{}", engine.password),
    );
    assert_eq!(as_user(engine.reader("/").header("Authorization", &format!("Basic {basic}"))), (200, 0));
    for (user, key) in [("fettle", "wrong"), ("fettle", ""), ("someone", ""), ("default", "x")] {
        assert_eq!(
            as_user(engine.reader("/").header("X-ClickHouse-User", user).header("X-ClickHouse-Key", key)),
            (403, 516),
            "{user}"
        );
    }
}

#[test]
fn settings_end_with_their_request() {
    let engine = Engine::shared();
    let setting =
        |name: &str| engine.ask(&format!("SELECT value FROM system.settings WHERE name = '{name}'"));
    let before = setting("max_block_size");
    assert_eq!(
        engine.reader("/?max_block_size=77").body("SELECT getSetting('max_block_size')").send().ok(),
        "77\n"
    );
    assert_eq!(engine.reader("/").body("SET max_block_size = 88").send().status, 200);
    for _ in 0..20 {
        assert_eq!(setting("max_block_size"), before);
    }
    assert_eq!(setting("insert_deduplication_token"), "");
}

#[test]
fn parameters_are_bound_in_the_url_and_in_forms() {
    let engine = Engine::shared();
    let sql = "SELECT {a:UInt64} + 1, {b:String}, {c:Array(String)}, {d:Nullable(String)} IS NULL";
    let url = engine
        .reader("/")
        .parameter("query", sql)
        .parameter("param_a", "41")
        .parameter("param_b", "it's \\t")
        .parameter("param_c", "['x','y']")
        .parameter("param_d", "\\N");
    assert_eq!(url.send().ok(), "42\tit\\'s \\t\t['x','y']\t1\n");
    let field = |name: &str, value: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = [
        field("query", "SELECT {a:UInt64} * 2 AS x, {b:String} AS y"),
        field("param_a", "21"),
        field("param_b", "ü"),
        "--B--\r\n".to_owned(),
    ]
    .concat();
    let posted = engine
        .reader("/?default_format=CSV")
        .header("Content-Type", "multipart/form-data; boundary=B")
        .body(form);
    assert_eq!(posted.send().ok(), "42,\"ü\"\n");
    assert_eq!(engine.reader("/").body("SELECT {missing:UInt8}").send().refusal().1, 456);
}

#[test]
fn sessions_keep_what_is_set_and_nothing_else() {
    let engine = Engine::shared();
    let session = |id: &str, sql: &str| engine.reader(&format!("/?session_id={id}")).body(sql).send();
    assert_eq!(session("s1", "SET max_block_size = 99").status, 200);
    assert_eq!(session("s1", "SELECT getSetting('max_block_size')").ok(), "99\n");
    assert_eq!(
        engine
            .reader("/?session_id=s1&max_block_size=5")
            .body("SELECT getSetting('max_block_size')")
            .send()
            .ok(),
        "5\n"
    );
    assert_eq!(session("s1", "SELECT getSetting('max_block_size')").ok(), "99\n");
    assert_ne!(session("s2", "SELECT getSetting('max_block_size')").ok(), "99\n");
    assert_eq!(engine.reader("/?session_id=s3&session_check=1").body("SELECT 1").send().refusal().1, 372);
    assert_eq!(engine.reader("/?session_id=s4&session_timeout=x").body("SELECT 1").send().refusal().1, 374);
    assert_eq!(session("s1", "SET ROLE writer").refusal().1, 164);
    engine.writer("/?session_id=w").body("CREATE TEMPORARY TABLE tmp (a UInt8)").send().ok();
    engine.writer("/?session_id=w").body("INSERT INTO tmp VALUES (7)").send().ok();
    assert_eq!(engine.writer("/?session_id=w").body("SELECT a FROM tmp").send().ok(), "7\n");
    assert_eq!(engine.writer("/").body("SELECT a FROM tmp").send().refusal().1, 60);
}

#[test]
fn a_session_serves_one_request_at_a_time() {
    let engine = Engine::shared();
    engine.run("CREATE TABLE busy_session (a UInt64) ENGINE = MergeTree ORDER BY a");
    let rows = b"1\n2\n3\n";
    let session = || engine.writer("/?session_id=busy");
    // It runs for as long as its rows do not come.
    let request = session().parameter("query", "INSERT INTO busy_session FORMAT TSV");
    let mut slow = request.open_with_length(rows.len());
    slow.write_all(&rows[..2]).unwrap();
    eventually("the insert runs", || {
        engine.ask("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO busy_session%'") == "1"
    });
    assert_eq!(session().body("SELECT 1").send().refusal().1, 373);
    slow.write_all(&rows[2..]).unwrap();
    assert_eq!(read_answer(slow).status, 200);
    assert_eq!(session().body("SELECT count() FROM busy_session").send().ok(), "3\n");
}

#[test]
fn a_client_that_leaves_ends_its_query() {
    let engine = Engine::shared();
    let count = || {
        engine.ask("SELECT count() FROM system.processes WHERE query LIKE '%left-alone%' AND query NOT LIKE '%system.processes%'")
    };
    for sql in [
        "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1 AND 'left-alone' != ''",
        "SELECT number, 'left-alone' FROM numbers(1000000000000)",
    ] {
        let stream = engine.reader("/").body(sql).open();
        eventually("the query runs", || count() == "1");
        drop(stream);
        eventually("the query is cancelled", || count() == "0");
    }
}

#[test]
fn an_insert_that_breaks_off_leaves_nothing() {
    let engine = Engine::shared();
    engine.run("CREATE TABLE broken_off (a UInt64) ENGINE = MergeTree ORDER BY a");
    let request = engine.writer("/").parameter("query", "INSERT INTO broken_off FORMAT TSV");
    let mut stream = request.open_with_length(1 << 20);
    stream.write_all(b"1\n2\n3\n").unwrap();
    eventually("the insert runs", || {
        engine.ask("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO broken_off%'") == "1"
    });
    drop(stream);
    eventually("the insert has ended", || {
        engine.ask("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO broken_off%'") == "0"
    });
    assert_eq!(engine.ask("SELECT count() FROM broken_off"), "0");
}

#[test]
fn a_large_result_passes_in_little_memory() {
    let engine = Engine::shared();
    let mut stream = engine.reader("/").body("SELECT number, toString(number) FROM numbers(20000000)").open();
    let (mut total, mut highest) = (0_u64, 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        if total >> 24 != (total + count as u64) >> 24 {
            highest = highest.max(engine.rss());
        }
        total += count as u64;
    }
    assert!(total > 300_000_000, "{total}");
    assert!(highest < 450 << 20, "resident {} MiB", highest >> 20);
}

#[test]
fn queries_run_side_by_side() {
    let engine = Engine::shared();
    let sums: Vec<String> = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..32)
            .map(|n| {
                scope.spawn(move || engine.ask(&format!("SELECT sum(number) + {n} FROM numbers(1000000)")))
            })
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    let expected: Vec<String> = (0..32_u64).map(|n| (499_999_500_000 + n).to_string()).collect();
    assert_eq!(sums, expected);
}
