"""The PyPI client clickhouse-connect against the embedded ClickHouse: CLICKHOUSE_URL, WRITER_PASSWORD."""

import datetime
import os
import unittest
import urllib.parse

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError

ADDRESS = urllib.parse.urlsplit(os.environ["CLICKHOUSE_URL"])
PASSWORD = os.environ["WRITER_PASSWORD"]


def client(**options):
    return clickhouse_connect.get_client(host=ADDRESS.hostname, port=ADDRESS.port, **options)


def writer(**options):
    return client(username="fettle", password=PASSWORD, **options)


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.reader = client()
        cls.writer = writer()
        cls.writer.command("CREATE DATABASE IF NOT EXISTS python")
        cls.writer.command(
            "CREATE OR REPLACE TABLE python.rows (id UInt32, name LowCardinality(String), at DateTime64(6, 'UTC'),"
            " value Nullable(Float64), tags Array(String)) ENGINE = MergeTree ORDER BY id"
        )

    @classmethod
    def tearDownClass(cls):
        cls.reader.close()
        cls.writer.close()

    def refused(self, code, call, *arguments, **options):
        with self.assertRaises(DatabaseError) as caught:
            call(*arguments, **options)
        self.assertIn(f"ode: {code}", str(caught.exception).replace("error code ", "ode: "))

    def test_rows_come_out_typed(self):
        result = self.reader.query(
            "SELECT toUInt8(1), 'ü', [1.5, 2], NULL, map('k', 2), toDateTime64('2026-01-02 03:04:05.678901', 6, 'UTC'),"
            " toLowCardinality('low'), toDecimal64('1.25', 2), (1, 'x'), generateUUIDv4() != generateUUIDv4()"
        )
        row = result.result_rows[0]
        moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
        self.assertEqual(row[:5], (1, "ü", [1.5, 2.0], None, {"k": 2}))
        self.assertEqual(row[5].replace(tzinfo=None), moment)
        self.assertEqual((row[6], str(row[7]), row[8]), ("low", "1.25", (1, "x")))
        self.assertEqual(self.reader.query("SELECT 1 AS a WHERE 0").result_rows, [])

    def test_parameters_are_bound_by_the_server(self):
        result = self.reader.query(
            "SELECT {text:String}, {number:UInt64} + 1, {list:Array(Int32)}",
            parameters={"text": "it's \\ a\ttab\nline", "number": 41, "list": [1, -2]},
        )
        self.assertEqual(result.result_rows, [("it's \\ a\ttab\nline", 42, [1, -2])])

    def test_rows_go_in_in_bulk(self):
        moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
        for compress in (False, "lz4", "zstd", "gzip"):
            self.writer.command("TRUNCATE TABLE python.rows")
            packed = writer(compress=compress)
            rows = [[n, f"n{n % 10}", moment, None if n % 2 else n / 4, [str(n)]] for n in range(100_000)]
            summary = packed.insert("rows", rows, database="python", column_names=["id", "name", "at", "value", "tags"])
            self.assertEqual(summary.written_rows, 100_000)
            found = self.reader.query("SELECT count(), sum(id), countIf(value IS NULL), uniq(name), any(at) FROM python.rows")
            count, total, empty, names, at = found.result_rows[0]
            self.assertEqual((count, total, empty, names), (100_000, 4_999_950_000, 50_000, 10))
            self.assertEqual(at.replace(tzinfo=None), moment.replace(tzinfo=None))
            packed.close()

    def test_raw_data_goes_in(self):
        self.writer.command("CREATE OR REPLACE TABLE python.raw (a UInt8, b String) ENGINE = MergeTree ORDER BY a")
        self.writer.raw_insert("python.raw", ["a", "b"], "1,one\n2,two\n", fmt="CSV")
        self.assertEqual(self.reader.command("SELECT groupArray(b) FROM python.raw"), "['one','two']")

    def test_results_are_compressed_as_asked(self):
        for compress in (False, "lz4", "zstd", "gzip"):
            packed = client(compress=compress)
            numbers = packed.query_column_block_stream("SELECT number FROM numbers(500000)")
            with numbers:
                self.assertEqual(sum(sum(block[0]) for block in numbers), 124_999_750_000, compress)
            packed.close()

    def test_a_large_result_streams(self):
        count = 0
        with self.reader.query_rows_stream("SELECT number, toString(number) FROM numbers(500000)") as rows:
            for number, text in rows:
                count += int(text) == number
        self.assertEqual(count, 500_000)

    def test_errors_carry_the_code(self):
        self.refused(60, self.reader.query, "SELECT * FROM nowhere")
        self.refused(62, self.reader.query, "SELEC 1")
        self.refused(516, client, username="fettle", password="wrong")

    def test_an_error_in_the_middle_is_not_lost(self):
        sql = "SELECT number, throwIf(number = 2000000) FROM numbers(3000000) SETTINGS max_block_size = 10000"
        with self.assertRaises(Exception):
            with self.reader.query_rows_stream(sql) as rows:
                for _ in rows:
                    pass

    def test_the_open_user_cannot_write_nor_reach_files(self):
        self.refused(164, self.reader.command, "DROP TABLE python.rows")
        self.refused(164, self.reader.insert, "python.rows", [[1]], column_names=["id"])
        self.refused(497, self.reader.query, "SELECT file('/etc/passwd')")
        self.refused(497, self.reader.query, "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')")

    def test_settings_end_with_their_query(self):
        ask = "SELECT getSetting('max_block_size')"
        self.assertEqual(self.reader.query(ask, settings={"max_block_size": 77}).result_rows, [(77,)])
        self.assertNotEqual(self.reader.query(ask).result_rows, [(77,)])

    def test_looking_around(self):
        self.assertIn("rows", self.reader.command("SHOW TABLES FROM python"))
        self.assertEqual(self.reader.query("DESCRIBE TABLE python.rows").result_rows[0][:2], ("id", "UInt32"))
        self.assertGreaterEqual(self.reader.query("SELECT count() FROM system.parts").result_rows[0][0], 0)


if __name__ == "__main__":
    unittest.main()
