// The npm client @clickhouse/client against the embedded ClickHouse: CLICKHOUSE_URL, WRITER_PASSWORD.

import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";

import { ClickHouseLogLevel, createClient as create } from "@clickhouse/client";

const url = process.env.CLICKHOUSE_URL;
const password = process.env.WRITER_PASSWORD;

// Refusals are expected here; the client would log each of them.
const createClient = (options) => create({ ...options, log: { level: ClickHouseLogLevel.OFF } });

const reader = createClient({ url, compression: { response: true } });
const writer = createClient({
  url,
  username: "fettle",
  password,
  compression: { request: true, response: true },
});

before(async () => {
  assert.equal((await reader.ping()).success, true);
  await writer.command({ query: "CREATE DATABASE IF NOT EXISTS node" });
  await writer.command({
    query: "CREATE OR REPLACE TABLE node.rows (id UInt32, name String, at DateTime64(3), tags Map(String, UInt8)) ENGINE = MergeTree ORDER BY id",
  });
});

after(async () => {
  await reader.close();
  await writer.close();
});

test("rows come out typed, with names and statistics", async () => {
  const answer = await reader.query({
    query: "SELECT toUInt8(1) AS a, 'ü' AS b, [1.5, 2] AS c, NULL AS d, map('k', 2) AS e, toUInt64(number) AS f FROM numbers(2)",
    format: "JSON",
  });
  const { data, meta, rows } = await answer.json();
  assert.equal(rows, 2);
  assert.deepEqual(meta.map((column) => column.type), ["UInt8", "String", "Array(Float64)", "Nullable(Nothing)", "Map(String, UInt8)", "UInt64"]);
  assert.deepEqual({ ...data[1], f: String(data[1].f) }, { a: 1, b: "ü", c: [1.5, 2], d: null, e: { k: 2 }, f: "1" });
});

test("parameters are bound, not pasted", async () => {
  const answer = await reader.query({
    query: "SELECT {text:String} AS text, {list:Array(Int32)} AS list, {none:Nullable(String)} AS none",
    query_params: { text: "it's \\ a\ttab\nline", list: [1, -2], none: null },
    format: "JSONEachRow",
  });
  assert.deepEqual(await answer.json(), [{ text: "it's \\ a\ttab\nline", list: [1, -2], none: null }]);
});

test("rows go in, in bulk and as a stream, and are counted", async () => {
  const row = (id) => ({ id, name: `n${id}`, at: "2026-01-02 03:04:05.678", tags: { a: id % 5 } });
  const stored = await writer.insert({
    table: "node.rows",
    values: Array.from({ length: 50_000 }, (_, id) => row(id)),
    format: "JSONEachRow",
  });
  assert.equal(stored.summary.written_rows, "50000");
  const stream = Readable.from((function* () {
    for (let id = 50_000; id < 100_000; id++) yield row(id);
  })(), { objectMode: true });
  await writer.insert({ table: "node.rows", values: stream, format: "JSONEachRow" });
  const answer = await reader.query({ query: "SELECT count() AS n, max(id) AS top, any(at) AS at FROM node.rows", format: "JSONEachRow" });
  const [{ n, top, at }] = await answer.json();
  assert.deepEqual([Number(n), top, at], [100_000, 99_999, "2026-01-02 03:04:05.678"]);
});

test("a large result streams", async () => {
  const answer = await reader.query({ query: "SELECT number, toString(number) AS text FROM numbers(500000)", format: "JSONCompactEachRow" });
  let count = 0;
  for await (const rows of answer.stream()) count += rows.length;
  assert.equal(count, 500_000);
});

test("errors carry ClickHouse's code and type", async () => {
  await assert.rejects(reader.query({ query: "SELECT * FROM nowhere" }), { code: "60", type: "UNKNOWN_TABLE" });
  await assert.rejects(reader.query({ query: "SELEC 1" }), { code: "62" });
  await assert.rejects(reader.query({ query: "SELECT 1", clickhouse_settings: { no_such_setting: 1 } }), { code: "115" });
  const wrong = createClient({ url, username: "fettle", password: "wrong" });
  await assert.rejects(wrong.query({ query: "SELECT 1" }), { code: "516", type: "AUTHENTICATION_FAILED" });
  await wrong.close();
});

test("an error in the middle of a result is not lost", async () => {
  const answer = await reader.query({
    query: "SELECT number, throwIf(number = 2000000) AS thrown FROM numbers(3000000) SETTINGS max_block_size = 10000",
    format: "JSONCompactEachRow",
  });
  await assert.rejects(async () => {
    for await (const rows of answer.stream()) rows.length;
  });
});

test("the open user cannot write, nor reach files", async () => {
  await assert.rejects(reader.insert({ table: "node.rows", values: [{ id: 1 }], format: "JSONEachRow" }), { code: "164", type: "READONLY" });
  await assert.rejects(reader.command({ query: "DROP TABLE node.rows" }), { code: "164" });
  await assert.rejects(reader.query({ query: "SELECT file('/etc/passwd')" }), { code: "497", type: "ACCESS_DENIED" });
});

test("sessions, settings and query ids", async () => {
  const session = createClient({ url, session_id: "node-session" });
  await session.command({ query: "SET max_block_size = 77" });
  const inside = await session.query({ query: "SELECT getSetting('max_block_size') AS value", format: "JSONEachRow" });
  assert.equal(Number((await inside.json())[0].value), 77);
  await session.close();
  const outside = await reader.query({
    query: "SELECT getSetting('max_block_size') AS value",
    query_id: "node-query",
    format: "JSONEachRow",
    clickhouse_settings: { max_block_size: "55" },
  });
  assert.equal(outside.query_id, "node-query");
  assert.equal(Number((await outside.json())[0].value), 55);
});

test("an aborted query ends", async () => {
  const controller = new AbortController();
  const running = reader.query({
    query: "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1 AND 'node-aborted' != ''",
    abort_signal: controller.signal,
  });
  running.catch(() => {});
  const count = async () => {
    const answer = await reader.query({
      query: "SELECT count() AS n FROM system.processes WHERE query LIKE '%node-aborted%' AND query NOT LIKE '%system.processes%'",
      format: "JSONEachRow",
    });
    return Number((await answer.json())[0].n);
  };
  const until = async (wanted) => {
    const deadline = Date.now() + 30_000;
    while ((await count()) !== wanted) assert.ok(Date.now() < deadline, `still not ${wanted}`);
  };
  await until(1);
  controller.abort();
  await assert.rejects(running);
  await until(0);
});
