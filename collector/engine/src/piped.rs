//! Results in formats that have a beginning or an end.
//!
//! The library's streaming interface formats every block as a document of its own, which only formats
//! without header and footer survive. So all others are written by the engine's own INTO OUTFILE, as
//! one document, into a pipe that is read here: every format, bounded memory, and back-pressure.

use std::io::{PipeReader, Read};
use std::os::fd::AsRawFd;

use crate::binding::{Connection, Numbers};
use crate::exception::{code, Exception};
use crate::output::{Output, Stop};
use crate::sql;
use crate::statement::whole;

/// Bytes read from the pipe at once.
const PIECE: usize = 256 << 10;
/// The engine analyses statements by recursion and measures the stack it has.
const STACK: usize = 8 << 20;

/// Whether pieces of this format make up the whole when they are put together.
pub(crate) fn is_seamless(format: &str) -> bool {
    ["Native", "RowBinary"].iter().any(|name| format.eq_ignore_ascii_case(name))
}

/// Runs a statement that only reads, and sends its result on as one document.
pub(crate) fn run(
    connection: &mut Connection,
    text: &[u8],
    format: &str,
    parameters: &[(String, String)],
    output: &mut Output,
) -> Result<Option<Numbers>, Stop> {
    let (reader, writer) = std::io::pipe().map_err(no_pipe)?;
    let spliced = sql::with_outfile(text, &format!("/proc/self/fd/{}", writer.as_raw_fd()), format);
    let (result, sent) = std::thread::scope(|scope| {
        let query = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || {
            let result = connection.query(&spliced, format, parameters).map(|chunk| chunk.numbers());
            // The end of the pipe, unless the engine still holds it open.
            drop(writer);
            result
        });
        let sent = match &query {
            Ok(_) => forward(reader, output),
            Err(_) => Ok(Vec::new()),
        };
        let result =
            query.map(|query| query.join().unwrap_or_else(|_| Err("the statement panicked".to_owned())));
        (result, sent)
    });
    let result = result.map_err(no_pipe)?;
    // What the client no longer takes matters more than how the engine then failed.
    let last = sent?;
    match result.map_err(Exception::from_engine) {
        Ok(numbers) => {
            output.count(numbers);
            output.push_bytes(last.into())?;
            Ok(Some(numbers))
        }
        Err(error) if error.code == code::SYNTAX_ERROR && last.is_empty() => {
            // The statement parses, as the guard has seen, but not with an addition: run it whole.
            whole(connection, text, format, parameters, output)
        }
        Err(error) => Err(error.into()),
    }
}

/// Sends on what comes out of the pipe, all but the last piece: while nothing is sent, an error still
/// has its own status. Dropped early, the pipe breaks and the statement ends.
fn forward(mut reader: PipeReader, output: &mut Output) -> Result<Vec<u8>, Stop> {
    let mut last = Vec::new();
    loop {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while filled < PIECE {
            match reader.read(&mut piece[filled..]).map_err(no_pipe)? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            return Ok(last);
        }
        piece.truncate(filled);
        if !last.is_empty() {
            output.push_bytes(std::mem::take(&mut last).into())?;
        }
        last = piece;
    }
}

fn no_pipe(error: impl std::fmt::Display) -> Exception {
    Exception::new(
        code::STD_EXCEPTION,
        "STD_EXCEPTION",
        format_args!("The result could not be read: {error}"),
    )
}
