//! `fettle eval` on small folders made here: what it writes is what the scorers read, row by row, and what
//! is wrong with a folder is said in one sentence that names the file and the line.

#![allow(clippy::unwrap_used)] // a test that cannot go on says so by panicking

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;

use support::{err, fettle, out};
use tempfile::TempDir;

/// A folder with these files in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn eval(form: &str, data: &Path, place: &Path) -> Output {
    let (data, place) = (data.display().to_string(), place.display().to_string());
    fettle(&["eval", form, "--data", &data, "--out", &place]).output().unwrap()
}

/// Runs an evaluation that must go well; gives what it printed.
fn done(form: &str, data: &Path, place: &Path) -> String {
    let output = eval(form, data, place);
    assert!(output.status.success(), "{}", err(&output));
    out(&output)
}

/// Runs an evaluation that must fail with one line that holds all these words.
fn refused(form: &str, data: &Path, place: &Path, words: &[&str]) {
    let output = eval(form, data, place);
    let said = err(&output);
    assert_ne!(output.status.code(), Some(0), "it went well: {}", out(&output));
    let last = said.trim_end().lines().last().unwrap_or_default();
    assert_eq!(said.matches("fettle: ").count(), 1, "more than one sentence: {said}");
    for word in words {
        assert!(last.contains(word), "{word:?} is not in: {said}");
    }
}

/// A CSV file's rows under exactly this header.
fn rows(path: &Path, header: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(header), "{}", path.display());
    let width = header.split(',').count();
    lines
        .map(|line| {
            let cells: Vec<String> = line.split(',').map(str::to_owned).collect();
            assert_eq!(cells.len(), width, "{line} in {}", path.display());
            cells
        })
        .collect()
}

fn number(cell: &str) -> f64 {
    let number: f64 = cell.parse().unwrap_or_else(|e| panic!("{cell:?}: {e}"));
    assert!(number.is_finite(), "{cell}");
    number
}

/// A value that wobbles without being random: the same in every run.
fn wobble(at: usize) -> f64 {
    ((at * 7919) % 101) as f64 / 101.0
}

fn minutes(at: usize) -> String {
    format!("2014-04-{:02} {:02}:{:02}:00", 1 + at / 288, at / 12 % 24, at % 12 * 5)
}

/// A quiet series with one spike, five minutes a row.
fn series(length: usize, spike: usize) -> String {
    let mut text = String::from("timestamp,value\n");
    for at in 0..length {
        let value = 50.0 + wobble(at) + if at == spike { 400.0 } else { 0.0 };
        writeln!(text, "{},{value:.3}", minutes(at)).unwrap();
    }
    text
}

#[test]
fn nab_mirrors_the_folder_with_a_score_a_row() {
    let (first, second) = (series(1500, 1200), series(900, usize::MAX));
    let files = [("data/real/one.csv", &*first), ("data/two.csv", &*second), ("labels/windows.csv", "no")];
    let data = folder(&[files[0], files[1], files[2], ("data/README.md", "words")]);
    let place = TempDir::new().unwrap();
    let said = done("nab", data.path(), place.path());
    assert!(said.contains("2 series, 2,400 rows"), "{said}");
    for (name, text) in [("real/one.csv", &first), ("two.csv", &second)] {
        let scores = rows(&place.path().join(name), "timestamp,anomaly_score");
        let stamps: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
        assert!(scores.iter().map(|row| &*row[0]).eq(stamps), "the times are not the data's");
        assert!(scores.iter().all(|row| (0.0..=1.0).contains(&number(&row[1]))));
    }
    let scores = rows(&place.path().join("real/one.csv"), "timestamp,anomaly_score");
    assert!(number(&scores[1200][1]) >= 0.5, "the spike was not seen: {:?}", scores[1200]);
    assert_eq!(number(&scores[0][1]), 0.0);
    assert!(!place.path().join("labels").exists() && !place.path().join("windows.csv").exists());

    // The folder of the series itself will do, and an answer below it is no series the next time.
    let inside = data.path().join("data/answer");
    for _ in 0..2 {
        let said = done("nab", &data.path().join("data"), &inside);
        assert!(said.contains("2 series"), "{said}");
    }
    let again = rows(&inside.join("real/one.csv"), "timestamp,anomaly_score");
    assert_eq!(again, scores, "the same rows did not get the same scores");
}

#[test]
fn a_score_does_not_depend_on_what_comes_later() {
    let data = folder(&[("long.csv", &series(1500, 1200)), ("short.csv", &series(1300, 1200))]);
    let place = TempDir::new().unwrap();
    done("nab", data.path(), place.path());
    let of = |name: &str| rows(&place.path().join(name), "timestamp,anomaly_score");
    assert_eq!(of("long.csv")[..1300], of("short.csv")[..]);
}

fn host(length: usize) -> String {
    let mut text = String::from("sample,cpu,memory\n");
    for at in 0..length {
        writeln!(text, "{at},{:.3},{:.3}", wobble(at), 0.5 + wobble(at) / 4.0).unwrap();
    }
    text
}

#[test]
fn hosts_are_scored_from_where_the_labels_say() {
    let labels = r#"{"web": {"scored_from": 400, "seconds": 300, "window": 8, "rows": 600, "incidents": [[500, 510]]},
                     "db": {"scored_from": 0, "seconds": 60}}"#;
    let data =
        folder(&[("labels.json", labels), ("web.csv", &host(600)), ("db.csv", &host(300)), ("x.csv", "x")]);
    let place = TempDir::new().unwrap();
    let said = done("hosts", data.path(), place.path());
    assert!(said.contains("2 hosts, 900 rows"), "{said}");
    for (name, from, to) in [("web.csv", 400, 600), ("db.csv", 0, 300)] {
        let scores = rows(&place.path().join(name), "sample,anomaly_score");
        assert!(scores.iter().map(|row| row[0].parse::<usize>().unwrap()).eq(from..to), "{name}");
        assert!(scores.iter().all(|row| (0.0..=1.0).contains(&number(&row[1]))));
        let reports = rows(&place.path().join("reports").join(name), "sample,voice");
        assert!(reports.iter().all(|row| ["series", "host"].contains(&&*row[1])), "{reports:?}");
    }
    // 600 rows of five minutes and 300 of one.
    assert!(said.contains("reports: ") && said.contains("in 2 days"), "{said}");

    // Without labels every CSV file is a host, and all of its rows are written.
    let data = folder(&[("web.csv", &host(600))]);
    let all = TempDir::new().unwrap();
    done("hosts", data.path(), all.path());
    let scores = rows(&all.path().join("web.csv"), "sample,anomaly_score");
    assert_eq!(scores.len(), 600);
    assert_eq!(scores[400..], rows(&place.path().join("web.csv"), "sample,anomaly_score")[..]);
}

/// Units whose second sensor climbs to the end of their life; `cut` rows before it are missing.
fn units(count: usize, cut: usize) -> String {
    let mut text = String::from("unit,cycle,s1,s2\n");
    for unit in 1..=count {
        let life = 120 + unit * 7 % 60;
        for cycle in 1..=life - cut {
            let wear = (cycle as f64 / life as f64).powi(3);
            let noise = wobble(unit * 1000 + cycle);
            writeln!(text, "{unit},{cycle},{:.4},{:.4}", noise, 10.0 * wear + noise).unwrap();
        }
    }
    text
}

#[test]
fn failure_predicts_every_row_of_the_test_units() {
    let test = units(6, 15);
    let data = folder(&[("train.csv", &units(24, 0)), ("test.csv", &test)]);
    let place = data.path().join("new/answer.csv");
    let said = done("failure", data.path(), &place);
    assert!(said.contains("brier"), "{said}");
    let said = rows(&place, "unit,cycle,rul,risk");
    let asked: Vec<Vec<String>> =
        test.lines().skip(1).map(|line| line.split(',').take(2).map(str::to_owned).collect()).collect();
    assert!(
        said.iter().map(|row| &row[..2]).eq(asked.iter().map(|row| &row[..])),
        "not the rows of test.csv"
    );
    assert!(said.iter().all(|row| number(&row[2]) >= 0.0 && (0.0..=1.0).contains(&number(&row[3]))));
    let last = said.iter().rev().find(|row| row[0] == "1").unwrap();
    let first = said.iter().find(|row| row[0] == "1").unwrap();
    assert!(number(&last[2]) < number(&first[2]), "wear was not seen: {first:?} {last:?}");
    assert!(number(&last[3]) > number(&first[3]), "wear was not seen: {first:?} {last:?}");
}

fn column(length: usize, value: impl Fn(usize) -> f64) -> String {
    let mut text = String::from("value\n");
    for at in 0..length {
        writeln!(text, "{:.4}", value(at)).unwrap();
    }
    text
}

fn forecast_folder() -> TempDir {
    let daily = column(400, |at| 10.0 + (at as f64 / 24.0 * std::f64::consts::TAU).sin() + wobble(at) / 10.0);
    let filling = column(400, |at| 10.0 + 0.1 * at as f64 + wobble(at) / 10.0);
    folder(&[
        (
            "tasks.json",
            r#"[{"group": "hourly", "series": "daily", "season": 24, "horizon": 12, "history": 336, "origins": [200, 300]},
                {"group": "hourly", "series": "filling", "season": 24, "horizon": 6, "history": 336, "origins": [250]}]"#,
        ),
        (
            "exhaustion.json",
            r#"[{"series": "filling", "origin": 300, "limit": 50.0, "horizon": 200, "kind": "linear", "eta": 106},
                {"series": "daily", "origin": 300, "limit": 90.0, "horizon": 200, "kind": "flat"}]"#,
        ),
        ("series/daily.csv", &daily),
        ("series/filling.csv", &filling),
    ])
}

#[test]
fn forecast_answers_both_lists() {
    let data = forecast_folder();
    let place = TempDir::new().unwrap();
    done("forecast", data.path(), place.path());
    let said = rows(&place.path().join("forecasts.csv"), "series,origin,step,value,lower,upper");
    let mut asked = Vec::new();
    for (name, origin, horizon) in [("daily", 200, 12), ("daily", 300, 12), ("filling", 250, 6)] {
        asked.extend((1..=horizon).map(|step| [name.to_owned(), origin.to_string(), step.to_string()]));
    }
    assert!(said.iter().map(|row| &row[..3]).eq(asked.iter().map(|key| &key[..])), "not the steps asked for");
    for row in &said {
        assert!(number(&row[4]) <= number(&row[3]) && number(&row[3]) <= number(&row[5]), "{row:?}");
    }
    let said = rows(&place.path().join("exhaustion.csv"), "series,origin,eta,lower,upper,probability");
    assert_eq!(said.iter().map(|row| &row[..2]).collect::<Vec<_>>(), [["filling", "300"], ["daily", "300"]]);
    let eta = number(&said[0][2]);
    assert!((80.0..=130.0).contains(&eta), "the limit is reached about 106 rows on, not {eta}");
    assert_eq!(said[1][2..5], ["never", "", ""]);

    // One list alone gets one file.
    std::fs::remove_file(data.path().join("tasks.json")).unwrap();
    let place = TempDir::new().unwrap();
    done("forecast", data.path(), place.path());
    assert!(place.path().join("exhaustion.csv").exists() && !place.path().join("forecasts.csv").exists());
}

#[test]
fn a_folder_that_is_missing_or_of_another_form_is_named() {
    let place = TempDir::new().unwrap();
    let nowhere = place.path().join("nowhere");
    let words = folder(&[("README.md", "words")]);
    for form in ["nab", "hosts", "failure", "forecast"] {
        refused(form, &nowhere, place.path(), &["there is no folder", "nowhere", "--data"]);
        refused(
            form,
            words.path(),
            place.path(),
            &["fettle eval", "--help", &words.path().display().to_string()],
        );
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "something was written");
}

#[test]
fn a_file_of_another_form_is_named_with_its_line() {
    let place = TempDir::new().unwrap();
    let check = |form: &str, files: &[(&str, &str)], words: &[&str]| {
        refused(form, folder(files).path(), &place.path().join("answer"), words);
    };
    check("nab", &[("in/a.csv", "sample,m1\n0,1\n")], &["in/a.csv, line 1:", "timestamp and value"]);
    let times = "timestamp,value\n2014-04-01 00:00:00,1\n\nyesterday,2\n";
    check("nab", &[("a.csv", times)], &["a.csv, line 4:", "2014-04-01"]);

    check("hosts", &[("labels.json", "{\n\"a\": 5}")], &["labels.json, line 2:", "entry a host"]);
    check("hosts", &[("labels.json", "{\"a\": {}}")], &["cannot read", "a.csv", "hosts --help"]);
    check("hosts", &[("a.csv", "timestamp,value\n")], &["a.csv, line 1:", "sample"]);
    check("hosts", &[("a.csv", "sample,m1,m2\n0,1,2\n1,1\n")], &["a.csv, line 3:", "sample's number"]);

    let units = units(12, 0);
    check("failure", &[("train.csv", &units)], &["cannot read", "test.csv"]);
    check(
        "failure",
        &[("train.csv", "a,b,c\n"), ("test.csv", &units)],
        &["train.csv, line 1:", "unit, cycle"],
    );
    check(
        "failure",
        &[("train.csv", &units), ("test.csv", "unit,cycle,s1\n")],
        &["test.csv, line 1:", "train.csv"],
    );
    let broken = "unit,cycle,s1,s2\n1,1,2,3\n1,two,2,3\n";
    check(
        "failure",
        &[("train.csv", broken), ("test.csv", &units)],
        &["train.csv, line 3:", "unit's number"],
    );
    let few = "unit,cycle,s1,s2\n1,1,2,3\n";
    check("failure", &[("train.csv", few), ("test.csv", &units)], &["train.csv:", "failed so far"]);

    check("forecast", &[("tasks.json", "[\n{]")], &["tasks.json, line 2:", "list of tasks"]);
    check("forecast", &[("tasks.json", "[]")], &["tasks.json:", "empty"]);
    check(
        "forecast",
        &[("tasks.json", r#"[{"series": "a"}]"#), ("series/a.csv", "value\n1\n")],
        &["tasks.json: entry 1", "season"],
    );
    let task = r#"[{"series": "a", "origin": 9, "limit": 1, "horizon": 5}]"#;
    check("forecast", &[("exhaustion.json", task)], &["cannot read", "series/a.csv"]);
    let series = ("series/a.csv", "value\n1\nx\n");
    check("forecast", &[("exhaustion.json", task), series], &["series/a.csv, line 3:", "one number"]);
    let series = ("series/a.csv", "value\n1\n2\n");
    check("forecast", &[("exhaustion.json", task), series], &["exhaustion.json: entry 1", "origin 9"]);
}

#[test]
fn data_is_never_written_over() {
    let text = series(50, usize::MAX);
    let data = folder(&[("test.csv", &units(6, 15)), ("train.csv", &units(24, 0))]);
    let test = data.path().join("test.csv");
    refused("failure", data.path(), &test, &["test.csv", "--out"]);
    assert_eq!(std::fs::read_to_string(&test).unwrap(), units(6, 15));
    refused("failure", data.path(), data.path(), &["cannot write", "directory", "--out"]);
    let data = folder(&[("a.csv", &text)]);
    refused("nab", data.path(), data.path(), &["a.csv", "--out"]);
    assert_eq!(std::fs::read_to_string(data.path().join("a.csv")).unwrap(), text);
    let file = data.path().join("a.csv/answer");
    refused("nab", data.path(), &file, &["cannot write", "a.csv/answer", "--out"]);
}
