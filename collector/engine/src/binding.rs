//! The C interface of libchdb, wrapped so that nothing outside this file is unsafe.
//!
//! The interface's rules, which the types here enforce:
//! - a connection runs one statement at a time, from any thread: [`Connection`] is `Send` and not
//!   `Sync`, and streams borrow it mutably;
//! - every handle is destroyed exactly once: each has its own `Drop`;
//! - result buffers belong to their result: [`Chunk`] owns the result it shows;
//! - the engine lives while any connection does: [`crate::engine::Engine`] keeps one open.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

type Handle = *mut c_void;
type WithParameters = unsafe extern "C" fn(
    Handle,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const *const c_char,
    *const usize,
    *const *const c_char,
    *const usize,
    usize,
) -> Handle;

/// The functions of a loaded libchdb.
pub(crate) struct Api {
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Handle,
    close: unsafe extern "C" fn(*mut Handle),
    query: WithParameters,
    stream_query: WithParameters,
    stream_fetch: unsafe extern "C" fn(Handle, Handle) -> Handle,
    stream_cancel: unsafe extern "C" fn(Handle, Handle),
    destroy_result: unsafe extern "C" fn(Handle),
    result_buffer: unsafe extern "C" fn(Handle) -> *const u8,
    result_length: unsafe extern "C" fn(Handle) -> usize,
    result_error: unsafe extern "C" fn(Handle) -> *const c_char,
    result_numbers: [unsafe extern "C" fn(Handle) -> u64; 5],
    insert: WithParameters,
    insert_append: unsafe extern "C" fn(Handle, *const c_void, usize) -> c_int,
    insert_done: unsafe extern "C" fn(Handle) -> Handle,
    insert_cancel: unsafe extern "C" fn(Handle),
    insert_error: unsafe extern "C" fn(Handle) -> *const c_char,
    insert_destroy: unsafe extern "C" fn(Handle),
    classify:
        unsafe extern "C" fn(Handle, *const c_char, usize, *const c_char, usize, *mut Analysis) -> c_int,
    set_signal_handlers: unsafe extern "C" fn(c_int),
    version: unsafe extern "C" fn() -> *const c_char,
    // Never unloaded: the engine's threads run in it to the end of the process.
    _library: ManuallyDrop<libloading::Library>,
}

/// `chdb_query_analysis_v1`.
#[repr(C)]
struct Analysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    class: u32,
}

/// What a statement does, as the engine's own parser sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS, CHECK.
    ReadOnly,
    /// INSERT and DDL.
    Mutating,
    /// USE, SET, SYSTEM, KILL, BACKUP, INTO OUTFILE and the like.
    Control,
    /// Not parsed.
    Unknown,
}

/// Rows and bytes of a result.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Numbers {
    /// Rows in the result.
    pub(crate) result_rows: u64,
    /// Rows read from storage.
    pub(crate) read_rows: u64,
    /// Bytes read from storage.
    pub(crate) read_bytes: u64,
    /// Rows written.
    pub(crate) written_rows: u64,
    /// Bytes written.
    pub(crate) written_bytes: u64,
}

macro_rules! symbol {
    ($library:expr, $name:literal) => {
        *$library.get(concat!($name, "\0").as_bytes()).map_err(|error| error.to_string())?
    };
}

impl Api {
    /// Loads `path` and finds every function; the error is the loader's sentence.
    pub(crate) fn load(path: &Path) -> Result<Arc<Self>, String> {
        // SAFETY: loading runs the library's initialisers; it is the file the operator installed as
        // libchdb. Each symbol is cast to the signature that chdb.h of 26.7 declares for its name.
        unsafe {
            let library = libloading::Library::new(path).map_err(|error| error.to_string())?;
            let api = Self {
                connect: symbol!(library, "chdb_connect"),
                close: symbol!(library, "chdb_close_conn"),
                query: symbol!(library, "chdb_query_with_params_n"),
                stream_query: symbol!(library, "chdb_stream_query_with_params_n"),
                stream_fetch: symbol!(library, "chdb_stream_fetch_result"),
                stream_cancel: symbol!(library, "chdb_stream_cancel_query"),
                destroy_result: symbol!(library, "chdb_destroy_query_result"),
                result_buffer: symbol!(library, "chdb_result_buffer"),
                result_length: symbol!(library, "chdb_result_length"),
                result_error: symbol!(library, "chdb_result_error"),
                result_numbers: [
                    symbol!(library, "chdb_result_rows_read"),
                    symbol!(library, "chdb_result_storage_rows_read"),
                    symbol!(library, "chdb_result_storage_bytes_read"),
                    symbol!(library, "chdb_result_rows_written"),
                    symbol!(library, "chdb_result_bytes_written"),
                ],
                insert: symbol!(library, "chdb_stream_insert_with_params_n"),
                insert_append: symbol!(library, "chdb_stream_append"),
                insert_done: symbol!(library, "chdb_stream_done"),
                insert_cancel: symbol!(library, "chdb_stream_cancel_insert"),
                insert_error: symbol!(library, "chdb_stream_insert_error"),
                insert_destroy: symbol!(library, "chdb_destroy_insert_stream"),
                classify: symbol!(library, "chdb_classify_query_n"),
                set_signal_handlers: symbol!(library, "chdb_set_signal_handlers_enabled"),
                version: symbol!(library, "chdb_version"),
                _library: ManuallyDrop::new(library),
            };
            Ok(Arc::new(api))
        }
    }

    /// The library's own version, for example `26.7.3`.
    pub(crate) fn version(&self) -> String {
        // SAFETY: returns a static NUL-terminated string.
        unsafe { owned(((self.version)()).cast()) }.unwrap_or_default()
    }

    /// Keeps the engine from catching this process's signals, now and at every later connection.
    pub(crate) fn disable_signal_handlers(&self) {
        // SAFETY: may be called at any time.
        unsafe { (self.set_signal_handlers)(0) }
    }

    /// Opens a connection; `None` when the engine refuses (it prints or hides the reason itself).
    pub(crate) fn connect(self: &Arc<Self>, arguments: &[String]) -> Option<Connection> {
        let owned: Vec<CString> = std::iter::once("fettle")
            .chain(arguments.iter().map(String::as_str))
            .map(CString::new)
            .collect::<Result<_, _>>()
            .ok()?;
        let mut argv: Vec<*mut c_char> = owned.iter().map(|text| text.as_ptr().cast_mut()).collect();
        // SAFETY: argv holds argc NUL-terminated strings that live through the call; the engine
        // copies what it keeps and writes to none of them.
        let raw = unsafe { (self.connect)(c_int::try_from(argv.len()).ok()?, argv.as_mut_ptr()) };
        // SAFETY: a non-null result points to the connection's handle until chdb_close_conn.
        if raw.is_null() || unsafe { (*raw).is_null() } {
            return None;
        }
        Some(Connection { api: Arc::clone(self), raw })
    }
}

/// A session with the engine.
pub(crate) struct Connection {
    api: Arc<Api>,
    raw: *mut Handle,
}

// SAFETY: the engine takes a lock per connection and keeps no thread-local state between calls, so
// a connection may move between threads; it is not Sync, so only one uses it at a time.
unsafe impl Send for Connection {}

/// Named values for `{name:Type}` placeholders, as the engine's escaped text.
pub(crate) type Parameters = [(String, String)];

impl Connection {
    fn handle(&self) -> Handle {
        // SAFETY: `raw` came from chdb_connect and is closed only in Drop.
        unsafe { *self.raw }
    }

    /// Runs a statement to its end; the error is ClickHouse's message.
    pub(crate) fn query(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<Chunk, String> {
        let raw = call(self.api.query, self.handle(), sql, format, parameters);
        Chunk::new(&self.api, raw)
    }

    /// Starts a SELECT whose result is fetched piece by piece.
    pub(crate) fn select(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<SelectStream<'_>, String> {
        let raw = call(self.api.stream_query, self.handle(), sql, format, parameters);
        let started = Chunk::new(&self.api, raw)?;
        Ok(SelectStream { stream: started, connection: self })
    }

    /// Starts an INSERT (its text without FORMAT and data) that takes data in `format`.
    pub(crate) fn insert(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &Parameters,
    ) -> Result<InsertStream<'_>, String> {
        let raw = call(self.api.insert, self.handle(), sql, format, parameters);
        let stream = InsertStream { raw, connection: self, finished: false };
        match stream.error() {
            Some(message) => Err(message),
            None => Ok(stream),
        }
    }

    /// How many statements `sql` holds and what they do; nothing is run.
    pub(crate) fn classify(&mut self, sql: &[u8]) -> (u32, Class) {
        let mut analysis =
            Analysis { struct_size: size_of::<Analysis>() as u32, statement_count: 0, flags: 0, class: 4 };
        // SAFETY: pointer and length describe `sql`; a null target database is allowed; the struct
        // says its own size.
        let state = unsafe {
            (self.api.classify)(
                self.handle(),
                sql.as_ptr().cast(),
                sql.len(),
                ptr::null(),
                0,
                &raw mut analysis,
            )
        };
        let class = match (state, analysis.class) {
            (0, 0) => Class::ReadOnly,
            (0, 1 | 2) => Class::Mutating,
            (0, 3) => Class::Control,
            _ => Class::Unknown,
        };
        (analysis.statement_count, class)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: opened by chdb_connect, closed once, and no stream of it is alive (they borrow it).
        unsafe { (self.api.close)(self.raw) }
    }
}

/// Calls one of the functions that take a statement, a format and parameters.
fn call(
    function: WithParameters,
    handle: Handle,
    sql: &[u8],
    format: &str,
    parameters: &Parameters,
) -> Handle {
    let names: Vec<*const c_char> = parameters.iter().map(|(name, _)| name.as_ptr().cast()).collect();
    let name_lengths: Vec<usize> = parameters.iter().map(|(name, _)| name.len()).collect();
    let values: Vec<*const c_char> = parameters.iter().map(|(_, value)| value.as_ptr().cast()).collect();
    let value_lengths: Vec<usize> = parameters.iter().map(|(_, value)| value.len()).collect();
    // SAFETY: every pointer comes with its length and outlives the call; the engine copies them.
    unsafe {
        function(
            handle,
            sql.as_ptr().cast(),
            sql.len(),
            format.as_ptr().cast(),
            format.len(),
            names.as_ptr(),
            name_lengths.as_ptr(),
            values.as_ptr(),
            value_lengths.as_ptr(),
            parameters.len(),
        )
    }
}

/// A result, whole or one piece of a stream; its bytes are the engine's own buffer, not a copy.
pub(crate) struct Chunk {
    api: Arc<Api>,
    raw: Handle,
}

// SAFETY: a result is a heap object with no ties to a thread or to its connection.
unsafe impl Send for Chunk {}
// SAFETY: it is only read until it is destroyed.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(api: &Arc<Api>, raw: Handle) -> Result<Self, String> {
        if raw.is_null() {
            return Err("Code: 1001. DB::Exception: the engine gave no result. (STD_EXCEPTION)".to_owned());
        }
        let chunk = Self { api: Arc::clone(api), raw };
        // SAFETY: `raw` is a live result; the string lives as long as it and is copied here.
        match unsafe { owned((chunk.api.result_error)(raw)) } {
            Some(message) => Err(message),
            None => Ok(chunk),
        }
    }

    /// Rows and bytes of this result.
    pub(crate) fn numbers(&self) -> Numbers {
        // SAFETY: `raw` is a live result.
        let [result_rows, read_rows, read_bytes, written_rows, written_bytes] =
            self.api.result_numbers.map(|function| unsafe { function(self.raw) });
        Numbers { result_rows, read_rows, read_bytes, written_rows, written_bytes }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: buffer and length describe memory that the result owns until Drop.
        unsafe {
            let buffer = (self.api.result_buffer)(self.raw);
            match (self.api.result_length)(self.raw) {
                _ if buffer.is_null() => &[],
                length => std::slice::from_raw_parts(buffer, length),
            }
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: destroyed once; no slice of it outlives it.
        unsafe { (self.api.destroy_result)(self.raw) }
    }
}

/// A SELECT that is being fetched.
pub(crate) struct SelectStream<'c> {
    stream: Chunk,
    connection: &'c mut Connection,
}

impl SelectStream<'_> {
    /// The next piece of formatted output; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Chunk>, String> {
        // SAFETY: the stream was started on this connection, which is borrowed for its life.
        let raw = unsafe { (self.connection.api.stream_fetch)(self.connection.handle(), self.stream.raw) };
        let chunk = Chunk::new(&self.connection.api, raw)?;
        Ok((!chunk.as_ref().is_empty()).then_some(chunk))
    }
}

impl Drop for SelectStream<'_> {
    fn drop(&mut self) {
        // SAFETY: cancelling a finished stream does nothing; the handle is freed by `stream`'s Drop.
        unsafe { (self.connection.api.stream_cancel)(self.connection.handle(), self.stream.raw) }
    }
}

/// An INSERT that is taking data.
pub(crate) struct InsertStream<'c> {
    raw: Handle,
    connection: &'c mut Connection,
    finished: bool,
}

impl InsertStream<'_> {
    fn error(&self) -> Option<String> {
        // SAFETY: never null; the string lives as long as the stream and is copied here.
        unsafe { owned((self.connection.api.insert_error)(self.raw)) }
    }

    /// Hands over the next bytes (the engine copies them); waits while the engine is behind.
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), String> {
        // SAFETY: pointer and length describe `data`.
        let state =
            unsafe { (self.connection.api.insert_append)(self.raw, data.as_ptr().cast(), data.len()) };
        if state == 0 {
            return Ok(());
        }
        Err(self.error().unwrap_or_else(|| {
            "Code: 1001. DB::Exception: the engine stopped taking data. (STD_EXCEPTION)".to_owned()
        }))
    }

    /// Ends the data and commits.
    pub(crate) fn finish(mut self) -> Result<Numbers, String> {
        self.finished = true;
        // SAFETY: called once; gives a result that Chunk destroys.
        let raw = unsafe { (self.connection.api.insert_done)(self.raw) };
        Chunk::new(&self.connection.api, raw).map(|chunk| chunk.numbers())
    }
}

impl Drop for InsertStream<'_> {
    fn drop(&mut self) {
        // SAFETY: an unfinished stream is abandoned, then the handle is freed, each once.
        unsafe {
            if !self.finished {
                (self.connection.api.insert_cancel)(self.raw);
            }
            (self.connection.api.insert_destroy)(self.raw);
        }
    }
}

/// Copies a C string; `None` for null or empty.
///
/// # Safety
/// `text` is null or points to a NUL-terminated string.
unsafe fn owned(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}
