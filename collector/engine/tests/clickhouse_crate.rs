//! The official `clickhouse` crate, a client nobody here wrote, against the real engine.
#![allow(clippy::unwrap_used)]

mod support;

use clickhouse::{Client, Compression, Row};
use serde::{Deserialize, Serialize};
use support::Engine;

#[derive(Debug, PartialEq, Row, Serialize, Deserialize)]
struct Sample {
    id: u64,
    name: String,
    value: f64,
    note: Option<String>,
    tags: Vec<u32>,
}

fn reader(compression: Compression) -> Client {
    Client::default().with_url(format!("http://{}", Engine::shared().address)).with_compression(compression)
}

fn writer(compression: Compression) -> Client {
    reader(compression).with_user("fettle").with_password(&Engine::shared().password)
}

fn sample(id: u64) -> Sample {
    let note = id.is_multiple_of(2).then(|| "even".to_owned());
    Sample { id, name: format!("n{id}"), value: id as f64 / 4.0, note, tags: vec![id as u32, 7] }
}

async fn make_table(name: &str) {
    let sql = format!(
        "CREATE TABLE {name} (id UInt64, name String, value Float64, note Nullable(String), tags Array(UInt32)) \
         ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"
    );
    writer(Compression::None).query(&sql).execute().await.unwrap();
}

#[tokio::test]
async fn rows_go_in_and_come_out_typed() {
    for (table, compression) in [("crate_plain", Compression::None), ("crate_lz4", Compression::Lz4)] {
        make_table(table).await;
        let client = writer(compression);
        let mut insert = client.insert::<Sample>(table).await.unwrap();
        for id in 0..10_000 {
            insert.write(&sample(id)).await.unwrap();
        }
        insert.end().await.unwrap();
        let sql = format!("SELECT ?fields FROM {table} WHERE id >= ? ORDER BY id");
        let rows = reader(compression).query(&sql).bind(9_990).fetch_all::<Sample>().await.unwrap();
        assert_eq!(rows, (9_990..10_000).map(sample).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn results_stream() {
    for compression in [Compression::None, Compression::Lz4] {
        let query = reader(compression);
        let mut cursor = query.query("SELECT number FROM numbers(1000000)").fetch::<u64>().unwrap();
        let (mut count, mut sum) = (0_u64, 0_u64);
        while let Some(number) = cursor.next().await.unwrap() {
            count += 1;
            sum += number;
        }
        assert_eq!((count, sum), (1_000_000, 499_999_500_000));
    }
}

#[tokio::test]
async fn parameters_and_options_are_sent() {
    let client = reader(Compression::Lz4).with_setting("max_block_size", "123");
    let query = client.query("SELECT {a: UInt64} + 1, {b: String}, toUInt64(getSetting('max_block_size'))");
    let row: (u64, String, u64) = query.param("a", 41).param("b", "it's").fetch_one().await.unwrap();
    assert_eq!(row, (42, "it's".to_owned(), 123));
    let plain: u64 = reader(Compression::None)
        .query("SELECT toUInt64(getSetting('max_block_size') = 123)")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(plain, 0, "an option ends with its query");
}

#[tokio::test]
async fn a_token_stores_a_formatted_insert_once() {
    make_table("crate_token").await;
    let client = writer(Compression::None).with_setting("insert_deduplication_token", "crate:1");
    for _ in 0..2 {
        let mut insert = client.insert_formatted_with("INSERT INTO crate_token (id, name) FORMAT CSV");
        insert.send("1,a\n2,b\n".into()).await.unwrap();
        insert.end().await.unwrap();
    }
    let count: u64 =
        reader(Compression::None).query("SELECT count() FROM crate_token").fetch_one().await.unwrap();
    assert_eq!(count, 2);
}

#[tokio::test]
async fn errors_keep_their_code() {
    let unknown = reader(Compression::Lz4).query("SELECT * FROM nowhere").fetch_one::<u64>().await;
    assert!(unknown.unwrap_err().to_string().contains("Code: 60"));
    let refused = reader(Compression::None).query("DROP TABLE nowhere").execute().await;
    assert!(refused.unwrap_err().to_string().contains("Code: 164"));
    let wrong = reader(Compression::None).with_user("fettle").with_password("wrong");
    let wrong = wrong.query("SELECT 1").fetch_one::<u8>().await;
    assert!(wrong.unwrap_err().to_string().contains("Code: 516"));
    for compression in [Compression::None, Compression::Lz4] {
        let sql = "SELECT throwIf(number = 500000) FROM numbers(1000000) SETTINGS max_block_size = 1000";
        let client = reader(compression);
        let mut cursor = client.query(sql).fetch::<u8>().unwrap();
        let error = loop {
            match cursor.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the error was lost"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("Code: 395"), "{error}");
    }
}
