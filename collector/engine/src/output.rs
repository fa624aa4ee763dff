//! A response's body, as the threads that wait on the engine write it.
//!
//! The head of the response waits for the first piece of the result, so that an error before it has
//! its own status; an error after it is told in the body, in the frame that ClickHouse 25.11 and
//! later uses, and the transfer is then broken off so that nobody takes it for complete.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::binding::{Chunk, Numbers};
use crate::blocks;
use crate::exception::{code, Exception};

/// Longest wait for the client to take the next piece.
const STALL: Duration = Duration::from_secs(60);
/// Most that `wait_end_of_query` holds back.
const MAX_HELD: usize = 256 << 20;

/// How a response's body is encoded.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    #[default]
    Plain,
    /// ClickHouse's own LZ4 blocks.
    Blocks,
    /// gzip with a level.
    Gzip(u32),
    /// zlib with a level.
    Deflate(u32),
    /// Zstandard.
    Zstd,
    /// LZ4 frame.
    Lz4,
}

impl Encoding {
    /// The `Content-Encoding` to announce.
    pub(crate) fn header(self) -> Option<&'static str> {
        match self {
            Self::Plain | Self::Blocks => None,
            Self::Gzip(_) => Some("gzip"),
            Self::Deflate(_) => Some("deflate"),
            Self::Zstd => Some("zstd"),
            Self::Lz4 => Some("lz4"),
        }
    }
}

enum Encoder {
    Plain,
    Blocks(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Deflate(flate2::write::ZlibEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
}

impl Encoder {
    fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Plain => Self::Plain,
            Encoding::Blocks => Self::Blocks(Vec::new()),
            Encoding::Gzip(level) => {
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level)))
            }
            Encoding::Deflate(level) => {
                Self::Deflate(flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level)))
            }
            Encoding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
            Encoding::Lz4 => Self::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(Vec::new()))),
        })
    }

    /// Encodes a piece; what comes out may be empty, and more later.
    fn push(&mut self, data: Bytes) -> io::Result<Bytes> {
        let ready = match self {
            Self::Plain => return Ok(data),
            Self::Blocks(held) => {
                // Small pieces are gathered: a block of ten bytes costs more than it saves.
                held.extend_from_slice(&data);
                let mut packed = Vec::new();
                if held.len() >= blocks::BLOCK {
                    blocks::compress(held, &mut packed);
                    held.clear();
                }
                packed
            }
            Self::Gzip(encoder) => {
                encoder.write_all(&data)?;
                std::mem::take(encoder.get_mut())
            }
            Self::Deflate(encoder) => {
                encoder.write_all(&data)?;
                std::mem::take(encoder.get_mut())
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&data)?;
                std::mem::take(encoder.get_mut())
            }
            Self::Lz4(encoder) => {
                encoder.write_all(&data)?;
                std::mem::take(encoder.get_mut())
            }
        };
        Ok(ready.into())
    }

    /// The encoding's end.
    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Plain => Bytes::new(),
            Self::Blocks(held) => {
                let mut packed = Vec::new();
                blocks::compress(&held, &mut packed);
                packed.into()
            }
            Self::Gzip(encoder) => encoder.finish()?.into(),
            Self::Deflate(encoder) => encoder.finish()?.into(),
            Self::Zstd(encoder) => encoder.finish()?.into(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other)?.into(),
        })
    }
}

/// What the head of a response says of the statement.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// Rows and bytes so far.
    pub(crate) numbers: Numbers,
    /// Time so far.
    pub(crate) elapsed: Duration,
    /// The result's format, if one was named.
    pub(crate) format: Option<String>,
}

/// A piece of the body, or the end that tells of an error.
pub(crate) enum Piece {
    /// Bytes to send.
    Data(Bytes),
    /// The last bytes, after which the transfer is broken off.
    Broken(Bytes),
}

/// Nobody reads any more: stop.
#[derive(Debug)]
pub(crate) struct Gone;

/// Where a statement's result goes.
pub(crate) struct Output {
    runtime: Handle,
    head: Option<oneshot::Sender<Result<Head, Exception>>>,
    pieces: mpsc::Sender<Piece>,
    encoder: Option<Encoder>,
    hold: bool,
    held: Vec<Bytes>,
    held_bytes: usize,
    numbers: Numbers,
    started: Instant,
    tag: String,
    version: String,
    format: Option<String>,
}

/// What an [`Output`] is made of.
pub(crate) struct Ends {
    /// The runtime that moves the pieces.
    pub(crate) runtime: Handle,
    /// Told when the response can begin.
    pub(crate) head: oneshot::Sender<Result<Head, Exception>>,
    /// Takes the body.
    pub(crate) pieces: mpsc::Sender<Piece>,
    /// Marks an error in the body.
    pub(crate) tag: String,
    /// The engine's version, which ends every error.
    pub(crate) version: String,
}

impl Output {
    /// An output that encodes, and holds everything back to the end if `hold`.
    pub(crate) fn new(ends: Ends, encoding: Encoding, hold: bool) -> Self {
        Self {
            runtime: ends.runtime,
            head: Some(ends.head),
            pieces: ends.pieces,
            // Making an encoder fails only for want of memory.
            encoder: Encoder::new(encoding).ok(),
            hold,
            held: Vec::new(),
            held_bytes: 0,
            numbers: Numbers::default(),
            started: Instant::now(),
            tag: ends.tag,
            version: ends.version,
            format: None,
        }
    }

    /// Says which format the result is in.
    pub(crate) fn name_format(&mut self, format: Option<String>) {
        self.format = format;
    }

    /// Whether the client has gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.pieces.is_closed()
    }

    /// Says how much has been read and written, when that is known as a whole.
    pub(crate) fn count(&mut self, numbers: Numbers) {
        self.numbers = numbers;
    }

    /// Sends a piece of the result on.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Result<(), Stop> {
        let numbers = chunk.numbers();
        self.numbers.result_rows += numbers.result_rows;
        self.numbers.read_rows += numbers.read_rows;
        self.numbers.read_bytes += numbers.read_bytes;
        self.push_bytes(Bytes::from_owner(chunk))
    }

    /// Sends bytes of the result on.
    pub(crate) fn push_bytes(&mut self, data: Bytes) -> Result<(), Stop> {
        let Some(encoder) = &mut self.encoder else { return Err(Stop::Failed(encoding_failed("no memory"))) };
        let ready = encoder.push(data).map_err(|error| Stop::Failed(encoding_failed(error)))?;
        if ready.is_empty() {
            return Ok(());
        }
        if self.hold {
            self.held_bytes += ready.len();
            if self.held_bytes > MAX_HELD {
                return Err(Stop::Failed(Exception::new(
                    code::TOO_MANY_BYTES,
                    "TOO_MANY_BYTES",
                    format_args!(
                        "wait_end_of_query holds at most {MAX_HELD} bytes; read this result as it comes"
                    ),
                )));
            }
            self.held.push(ready);
            return Ok(());
        }
        self.send_head();
        self.send(Piece::Data(ready)).map_err(Stop::from)
    }

    /// Ends the body.
    pub(crate) fn finish(mut self, written: Option<Numbers>) {
        if let Some(numbers) = written {
            self.numbers = numbers;
        }
        let rest = match self.encoder.take().map(Encoder::finish) {
            Some(Ok(rest)) => rest,
            Some(Err(error)) => return self.fail(encoding_failed(error)),
            None => Bytes::new(),
        };
        self.send_head();
        let held = std::mem::take(&mut self.held);
        for piece in held.into_iter().chain([rest]) {
            if !piece.is_empty() && self.send(Piece::Data(piece)).is_err() {
                return;
            }
        }
    }

    /// Tells of an error: with its own status if the response has not begun, else in its body.
    pub(crate) fn fail(mut self, exception: Exception) {
        if let Some(head) = self.head.take() {
            let _ = head.send(Err(exception));
            return;
        }
        let message = exception.body(&self.version);
        let frame = format!(
            "\r\n__exception__\r\n{tag}\r\n{message}{length} {tag}\r\n__exception__\r\n",
            tag = self.tag,
            length = message.len(),
        );
        let encoded = self.encoder.take().and_then(|mut encoder| {
            let mut bytes = encoder.push(frame.into()).ok()?.to_vec();
            bytes.extend_from_slice(&encoder.finish().ok()?);
            Some(Bytes::from(bytes))
        });
        let _ = self.send(Piece::Broken(encoded.unwrap_or_default()));
    }

    fn send_head(&mut self) {
        if let Some(head) = self.head.take() {
            let _ = head.send(Ok(Head {
                numbers: self.numbers,
                elapsed: self.started.elapsed(),
                format: self.format.take(),
            }));
        }
    }

    fn send(&self, piece: Piece) -> Result<(), Gone> {
        match self.pieces.try_send(piece) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
            Err(mpsc::error::TrySendError::Full(piece)) => {
                let wait = async { tokio::time::timeout(STALL, self.pieces.send(piece)).await };
                match self.runtime.block_on(wait) {
                    Ok(Ok(())) => Ok(()),
                    _ => Err(Gone),
                }
            }
        }
    }
}

/// Why a result was not sent to its end.
pub(crate) enum Stop {
    /// The client has gone.
    Gone,
    /// An error to tell.
    Failed(Exception),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Exception> for Stop {
    fn from(exception: Exception) -> Self {
        Self::Failed(exception)
    }
}

fn encoding_failed(error: impl std::fmt::Display) -> Exception {
    Exception::new(
        code::STD_EXCEPTION,
        "STD_EXCEPTION",
        format_args!("The response could not be encoded: {error}"),
    )
}
