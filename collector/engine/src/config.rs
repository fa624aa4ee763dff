//! The configuration files that libchdb reads when the first connection opens the engine.
//!
//! libchdb takes clickhouse-server's own configuration with `--config-file` (server settings, caches,
//! pools, `<merge_tree>`) and, through `<users_config>`, its users file (profiles, roles, grants).
//! It always authenticates as `default`, so the two users of this server are two roles of that one:
//! every connection starts with both, and a reader's connection drops to `reader` with `SET ROLE`.

use std::path::{Path, PathBuf};

use crate::errors::EngineError;
use crate::settings::ServeSettings;

/// Writes `config.xml` and `users.xml` below the data directory; gives the first one's path.
pub(crate) fn write(settings: &ServeSettings) -> Result<PathBuf, EngineError> {
    let directory = settings.path.join("configuration");
    create_directory(&directory)?;
    let users = directory.join("users.xml");
    write_file(&users, &users_xml(settings))?;
    let server = directory.join("config.xml");
    write_file(&server, &server_xml(settings, &users))?;
    Ok(server)
}

/// Makes a directory for this user only; an existing one is left as it is.
pub(crate) fn create_directory(path: &Path) -> Result<(), EngineError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| EngineError::File { path: path.to_owned(), source })
}

fn write_file(path: &Path, text: &str) -> Result<(), EngineError> {
    std::fs::write(path, text).map_err(|source| EngineError::File { path: path.to_owned(), source })
}

fn server_xml(settings: &ServeSettings, users: &Path) -> String {
    format!(
        "<clickhouse>
    <users_config>{users}</users_config>
    <!-- Memory: small caches; the operating system's page cache holds the data. -->
    <max_server_memory_usage>{memory}</max_server_memory_usage>
    <mark_cache_size>33554432</mark_cache_size>
    <primary_index_cache_size>33554432</primary_index_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <index_mark_cache_size>4194304</index_mark_cache_size>
    <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
    <mmap_cache_size>64</mmap_cache_size>
    <query_condition_cache_size>4194304</query_condition_cache_size>
    <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
    <memory_worker_period_ms>1000</memory_worker_period_ms>
    <!-- Threads: few, for a small host. -->
    <background_pool_size>{merges}</background_pool_size>
    <background_merges_mutations_concurrency_ratio>1</background_merges_mutations_concurrency_ratio>
    <background_schedule_pool_size>2</background_schedule_pool_size>
    <background_common_pool_size>2</background_common_pool_size>
    <background_move_pool_size>1</background_move_pool_size>
    <background_fetches_pool_size>1</background_fetches_pool_size>
    <background_message_broker_schedule_pool_size>1</background_message_broker_schedule_pool_size>
    <background_distributed_schedule_pool_size>1</background_distributed_schedule_pool_size>
    <max_thread_pool_free_size>4</max_thread_pool_free_size>
    <max_io_thread_pool_size>8</max_io_thread_pool_size>
    <max_io_thread_pool_free_size>0</max_io_thread_pool_free_size>
    <merge_tree>
        <!-- Ten parts of one level make one of the next: each row is merged once a level. The usual
             selector counts any part below 5 MB as 5 MB, and so merges what one insert a second makes
             into the whole partition again and again (24 times the rows in one minute, against 1.6). -->
        <merge_selector_algorithm>Trivial</merge_selector_algorithm>
        <!-- A compact part is two files, a wide one two for each of fifty columns. -->
        <min_bytes_for_wide_part>67108864</min_bytes_for_wide_part>
        <!-- A merge holds a buffer for each column of each part, and while a long one runs on a small host
             the short ones wait: some minutes are the most. -->
        <max_bytes_to_merge_at_max_space_in_pool>268435456</max_bytes_to_merge_at_max_space_in_pool>
        <!-- Nobody joins here, and statistics of every column cost more than they save. -->
        <auto_statistics_types></auto_statistics_types>
        <!-- A merged part's sources are kept this many seconds, in case the machine goes down before the
             system has written the merged one; each costs 35 kB of memory meanwhile. -->
        <old_parts_lifetime>60</old_parts_lifetime>
        <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
</clickhouse>
",
        users = escape(&users.display().to_string()),
        memory = settings.max_memory_bytes,
        merges = merges(std::thread::available_parallelism().map_or(1, usize::from)),
    )
}

/// Merges that run at the same time: half the cores, and no more than the memory is meant for.
fn merges(cores: usize) -> usize {
    (cores / 2).clamp(1, 4)
}

fn users_xml(settings: &ServeSettings) -> String {
    format!(
        "<clickhouse>
    <profiles><default>
        <max_threads>{threads}</max_threads>
        <max_execution_time>{seconds}</max_execution_time>
        <max_insert_threads>1</max_insert_threads>
        <implicit_select>0</implicit_select>
        <allow_introspection_functions>0</allow_introspection_functions>
        <log_queries>0</log_queries>
        <async_insert>0</async_insert>
        <!-- Nothing is compiled to machine code: the roll-up of one wide family compiles for ten seconds of
             processor time, and is run a few times a minute on a few thousand rows. -->
        <compile_expressions>0</compile_expressions>
        <compile_aggregate_expressions>0</compile_aggregate_expressions>
        <compile_sort_description>0</compile_sort_description>
        <input_format_parallel_parsing>0</input_format_parallel_parsing>
        <output_format_parallel_formatting>0</output_format_parallel_formatting>
        <!-- Blocks of one request are gathered up to these sizes, and a block is never split: one insert
             of one block, or of a few, is one part, and its deduplication token covers all of it. -->
        <min_insert_block_size_rows>1048576</min_insert_block_size_rows>
        <min_insert_block_size_bytes>268435456</min_insert_block_size_bytes>
    </default></profiles>
    <quotas><default/></quotas>
    <roles>
        <reader><grants>
            <query>GRANT SELECT, SHOW, CHECK, dictGet ON *.*</query>
        </grants></reader>
        <writer><grants>
            <query>GRANT SELECT, INSERT, ALTER, CREATE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, SHOW, CHECK, KILL QUERY, MOVE PARTITION BETWEEN SHARDS, SYSTEM, dictGet, INTROSPECTION, BACKUP ON *.*</query>
            <query>GRANT TABLE ENGINE ON *</query>
            <query>GRANT SET DEFINER ON *</query>
        </grants></writer>
    </roles>
    <users><default>
        <password/>
        <networks><ip>::/0</ip></networks>
        <profile>default</profile>
        <quota>default</quota>
        <grants><query>GRANT reader, writer</query></grants>
    </default></users>
</clickhouse>
",
        threads = settings.max_threads.max(1),
        seconds = settings.max_query_time.as_secs(),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
