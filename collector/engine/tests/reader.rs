//! What the open user must never do, tried against the real engine.
#![allow(clippy::unwrap_used)]

mod support;

use support::Engine;

/// Statements that change something.
const WRITES: [&str; 22] = [
    "INSERT INTO guarded VALUES (2)",
    "INSERT INTO guarded FORMAT CSV\n2\n",
    "INSERT INTO guarded SELECT 2",
    "WITH 2 AS x INSERT INTO guarded SELECT x",
    "CREATE TABLE made (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE made (a UInt8)",
    "CREATE TEMPORARY TABLE made (a String) ENGINE = File(CSV, '/etc/passwd')",
    "CREATE FUNCTION f AS x -> file(x)",
    "CREATE VIEW made AS SELECT 1",
    "CREATE USER someone",
    "DROP TABLE guarded",
    "TRUNCATE TABLE guarded",
    "ALTER TABLE guarded DELETE WHERE 1",
    "OPTIMIZE TABLE guarded",
    "DETACH TABLE guarded",
    "KILL QUERY WHERE 1",
    "SYSTEM DROP MARK CACHE",
    "SYSTEM SHUTDOWN",
    "BACKUP TABLE guarded TO File('/tmp/x')",
    "GRANT ALL ON *.* TO default",
    "SET ROLE writer",
    "EXECUTE AS default SELECT 1",
];

/// Statements that reach the host's files or the network.
const REACHES: [&str; 49] = [
    "SELECT file('/etc/passwd')",
    "SELECT FILE('/etc/passwd')",
    "SELECT `file`('/etc/passwd')",
    "SELECT \"file\"('/etc/passwd')",
    "SELECT `f\\x69le`('/etc/passwd')",
    "SELECT file /* ' */ ('/etc/passwd')",
    "SELECT file -- '\n('/etc/passwd')",
    "SELECT '\\'', file('/etc/passwd'), '\\''",
    "SELECT $x$'$x$, file('/etc/passwd'), $x$'$x$",
    "SELECT arrayMap(file, ['/etc/passwd'])",
    "SELECT * APPLY file FROM (SELECT '/etc/passwd')",
    "SELECT * APPLY(x -> file(x)) FROM (SELECT '/etc/passwd')",
    "WITH (x -> file(x)) AS f SELECT f('/etc/passwd')",
    "EXPLAIN SELECT file('/etc/passwd')",
    "DESCRIBE (SELECT file('/etc/passwd'))",
    "SHOW TABLES WHERE file('/etc/passwd') != ''",
    "SELECT * FROM eval('SELECT fi' || 'le(''/etc/passwd'')')",
    "SELECT * FROM eval('SELECT 1')",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "DESCRIBE file('/etc/passwd')",
    "SELECT * FROM `/etc/passwd`",
    "SELECT * FROM default.`/etc/passwd`",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'a String')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/key.csv', 'CSV', 'a String')",
    "SELECT * FROM remote('127.0.0.1', 'system.one')",
    "SELECT * FROM remoteSecure('127.0.0.1', 'system.one')",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'e String')",
    "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String, v String')",
    "SELECT * FROM sqlite('/tmp/x.db', 't')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:1/a', 'CSV', 'a String')",
    "SELECT * FROM executable('id', 'TSV', 'a String')",
    "SELECT * FROM filesystem('/etc')",
    "SELECT * FROM loop(file('/etc/passwd', 'LineAsString'))",
    "SELECT * FROM icebergLocal('/tmp')",
    "SELECT * FROM deltaLakeLocal('/tmp')",
    "SELECT * FROM jdbc('x', 'y', 'z')",
    "SELECT catboostEvaluate('/etc/passwd', 1)",
    "SELECT reverseDNSQuery('127.0.0.1')",
    "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '/etc/passwd'",
    "SELECT 1 AS a FORMAT Protobuf SETTINGS format_schema = '/etc/passwd:X'",
    "SELECT 1 AS a FORMAT CapnProto SETTINGS output_format_schema = '/tmp/fettle-made'",
    "SELECT 1 AS a FORMAT AvroConfluent SETTINGS format_avro_schema_registry_url = 'http://127.0.0.1:1/'",
    "SET `format_schema` = '/etc/passwd:X'",
    "SELECT 1 INTO OUTFILE '/tmp/fettle-made'",
    "SHOW TABLES INTO OUTFILE '/tmp/fettle-made'",
    "EXPLAIN SELECT 1 INTO OUTFILE '/tmp/fettle-made'",
];

fn guarded() -> &'static Engine {
    let engine = Engine::shared();
    engine.run("CREATE TABLE IF NOT EXISTS guarded (a UInt8) ENGINE = MergeTree ORDER BY a");
    engine
}

#[test]
fn nothing_can_be_changed() {
    let engine = guarded();
    let before = engine.ask("SELECT count() FROM system.tables WHERE database = 'default'");
    for sql in WRITES {
        for target in ["/", "/?session_id=reader", "/?readonly=2"] {
            let answer = engine.reader(target).body(sql).send();
            assert!(
                [(403, 497), (500, 164)].contains(&answer.refusal()),
                "{sql}: {:?} {}",
                answer.refusal(),
                answer.text()
            );
        }
    }
    assert_eq!(engine.ask("SELECT count() FROM guarded WHERE a = 2"), "0");
    assert_eq!(engine.ask("SELECT count() FROM system.tables WHERE database = 'default'"), before);
}

#[test]
fn neither_files_nor_the_network_can_be_reached() {
    let engine = guarded();
    for sql in REACHES {
        for target in ["/", "/?session_id=reader2"] {
            let answer = engine.reader(target).body(sql).send();
            assert_ne!(answer.status, 200, "{sql}: {}", answer.text());
            assert!(!answer.text().contains("root:"), "{sql} told: {}", answer.text());
            let code = answer.refusal().1;
            assert!([497, 164, 46, 60, 62, 344, 701].contains(&code), "{sql}: {code} {}", answer.text());
        }
    }
    assert!(!std::path::Path::new("/tmp/fettle-made").exists());
    // Names that come in as parameters are names all the same.
    let bound =
        engine.reader("/?param_f=file").body("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])").send();
    assert_eq!(bound.refusal().1, 497, "{}", bound.text());
}

#[test]
fn readonly_cannot_be_lifted() {
    let engine = guarded();
    for sql in ["SET readonly = 0", "SET readonly = 1, readonly = 0", "SELECT 1 SETTINGS readonly = 0"] {
        let answer = engine.reader("/").body(sql).send();
        assert_eq!(answer.refusal().1, 164, "{sql}: {}", answer.text());
    }
    for target in [
        "/?readonly=0",
        "/?readonly=",
        "/?readonly=2&readonly=0",
        "/?dialect=prql",
        "/?format_template_row=/etc/passwd",
    ] {
        let answer = engine.reader(target).body("SELECT 1").send();
        assert_eq!(answer.refusal().1, 164, "{target}: {}", answer.text());
    }
}

#[test]
fn limits_can_be_lowered_and_not_lifted() {
    let engine = guarded();
    for sql in [
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SELECT 1 SETTINGS max_execution_time = 1000000",
        "SELECT 1 SETTINGS /* max_threads = 1 */ max_threads = 10000",
        "SELECT 1 SETTINGS max_threads /**/ = 10000",
        "SELECT * FROM (SELECT 1 SETTINGS max_threads = 10000)",
        "SELECT 1 SETTINGS `max_execution_time` = 0",
        "SELECT 1 SETTINGS \"max_execution_time\" = 0",
        "SET max_execution_time = 0",
        "SET max_threads = DEFAULT",
    ] {
        for target in ["/", "/?session_id=limits"] {
            let answer = engine.reader(target).body(sql).send();
            assert_eq!(answer.refusal().1, 164, "{sql}: {}", answer.text());
        }
    }
    for target in ["/?max_execution_time=0", "/?max_threads=10000", "/?max_execution_time=x"] {
        let answer = engine.reader(target).body("SELECT 1").send();
        assert_eq!(answer.refusal().1, 164, "{target}: {}", answer.text());
    }
    for (target, sql) in [
        ("/?max_execution_time=10&max_threads=1", "SELECT 1"),
        ("/", "SELECT 1 SETTINGS max_execution_time = 10, max_threads = 1"),
        ("/", "SELECT count() FROM system.settings WHERE name = 'max_threads' -- max_execution_time = 0"),
    ] {
        let answer = engine.reader(target).body(sql).send();
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    }
    // The writer may need hours.
    engine.run("SELECT 1 SETTINGS max_execution_time = 0");
}

#[test]
fn a_url_cannot_name_what_is_no_setting() {
    for name in ["path", "config-file", "user_files_path", "log-level", "a=b", "x%20y"] {
        let answer = Engine::shared().reader("/").parameter(name, "/etc").body("SELECT 1").send();
        assert_eq!(answer.refusal(), (404, 115), "{name}: {}", answer.text());
    }
}

#[test]
fn looking_around_is_free() {
    let engine = guarded();
    for sql in [
        "SHOW DATABASES",
        "SHOW TABLES",
        "SHOW CREATE TABLE guarded",
        "DESCRIBE TABLE guarded",
        "SELECT count() FROM system.parts",
        "SELECT * FROM system.columns WHERE table = 'guarded'",
        "SELECT * FROM system.settings LIMIT 1",
        "SELECT count() FROM information_schema.tables",
        "SELECT * FROM numbers(3)",
        "SELECT 'a file, eval, into outfile' AS text -- file",
        "SELECT * FROM generateRandom('a UInt8') LIMIT 1",
        "EXPLAIN PIPELINE SELECT count() FROM guarded",
        "SELECT 1 SETTINGS max_threads = 1",
        "SELECT '\\\\', match('a', '\\\\w')",
    ] {
        let answer = engine.reader("/").body(sql).send();
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    }
}

#[test]
fn get_reads_only_even_for_the_writer() {
    let engine = guarded();
    for sql in ["INSERT INTO guarded VALUES (3)", "DROP TABLE guarded", "TRUNCATE TABLE guarded"] {
        for target in ["/", "/?session_id=get"] {
            let answer = engine.writer(target).method("GET").parameter("query", sql).send();
            assert_eq!(answer.refusal(), (500, 164), "{sql}: {}", answer.text());
        }
    }
    assert_eq!(engine.writer("/").method("GET").parameter("query", "SELECT 1").send().ok(), "1\n");
    let outfile = engine.writer("/").body("SELECT 1 INTO OUTFILE '/tmp/fettle-made'").send();
    assert_eq!(outfile.refusal(), (403, 497));
}
