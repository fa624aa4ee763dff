//! A request's body, as the threads that wait on the engine read it.
//!
//! A plain body passes piece by piece without a copy of ours; an encoded one is decoded here, on the
//! waiting thread, never on the runtime's.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;

use crate::blocks::BlockReader;
use crate::exception::{code, Exception};

/// Longest wait for the client's next bytes.
const STALL: Duration = Duration::from_secs(60);
/// Size of the pieces that decoding gives.
const PIECE: usize = 1 << 20;

/// A body being read.
pub(crate) enum Input {
    /// As it came.
    Plain(Pieces),
    /// Decoded on the way.
    Decoded(Box<dyn Read + Send>),
}

/// The raw pieces, in order.
pub(crate) struct Pieces {
    runtime: Handle,
    receiver: Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Pieces {
    /// Reads what the connection's task sends.
    pub(crate) fn new(runtime: Handle, receiver: Receiver<io::Result<Bytes>>) -> Self {
        Self { runtime, receiver, current: Bytes::new() }
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let wait = async { tokio::time::timeout(STALL, self.receiver.recv()).await };
        match self.runtime.block_on(wait) {
            Ok(piece) => piece.transpose(),
            Err(_) => Err(io::Error::other(Exception::new(
                code::SOCKET_TIMEOUT,
                "SOCKET_TIMEOUT",
                format_args!("The client sent nothing for {} seconds", STALL.as_secs()),
            ))),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.next()? {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

impl Input {
    /// Undoes the body's `Content-Encoding`, then ClickHouse's blocks if it is in them.
    pub(crate) fn new(pieces: Pieces, content_encoding: &str, blocks: bool) -> Result<Self, Exception> {
        let decoded: Box<dyn Read + Send> = match content_encoding {
            "" | "identity" if !blocks => return Ok(Self::Plain(pieces)),
            "" | "identity" => Box::new(pieces),
            "gzip" | "x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(pieces)),
            "deflate" => Box::new(flate2::read::ZlibDecoder::new(pieces)),
            "lz4" => Box::new(lz4_flex::frame::FrameDecoder::new(pieces)),
            "zstd" => Box::new(zstd::stream::read::Decoder::new(pieces).map_err(|error| exception(&error))?),
            other => {
                return Err(Exception::new(
                    code::UNKNOWN_COMPRESSION_METHOD,
                    "UNKNOWN_COMPRESSION_METHOD",
                    format_args!("Unknown Content-Encoding '{other}'; use gzip, deflate, lz4 or zstd"),
                ))
            }
        };
        Ok(Self::Decoded(if blocks { Box::new(BlockReader::new(decoded)) } else { decoded }))
    }

    /// The next bytes; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, Exception> {
        match self {
            Self::Plain(pieces) => pieces.next().map_err(|error| exception(&error)),
            Self::Decoded(reader) => {
                let mut piece = vec![0; PIECE];
                let mut filled = 0;
                while filled < PIECE {
                    match reader.read(&mut piece[filled..]).map_err(|error| exception(&error))? {
                        0 => break,
                        count => filled += count,
                    }
                }
                piece.truncate(filled);
                Ok((filled > 0).then(|| piece.into()))
            }
        }
    }
}

/// What a reading error means to the client.
fn exception(error: &io::Error) -> Exception {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Exception>()) {
        Some(exception) => exception.clone(),
        None => Exception::new(
            code::CANNOT_DECOMPRESS,
            "CANNOT_DECOMPRESS",
            format_args!("Cannot read the request's body: {error}"),
        ),
    }
}
