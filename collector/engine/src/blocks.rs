//! ClickHouse's own compressed blocks (`compress=1`, `decompress=1`).
//!
//! A block is a 16-byte CityHash128 (version 1.0.2) of all that follows it, a method byte, the
//! compressed size with this 9-byte header, the size before compression, and the bytes
//! (`src/Compression/CompressedReadBufferBase.cpp` in ClickHouse).

use std::io::{self, Read};

use crate::exception::{code, Exception};

const CHECKSUM: usize = 16;
const HEADER: usize = 9;
const NONE: u8 = 0x02;
const LZ4: u8 = 0x82;
const ZSTD: u8 = 0x90;
/// Larger blocks are refused before anything is allocated for them; ClickHouse writes 1 MiB ones.
const MAX_BLOCK: usize = 256 << 20;
/// A block that says it unpacks to more than this many times its size is not believed, unless it is small.
const MAX_RATIO: usize = 1000;
const SMALL_BLOCK: usize = 1 << 20;
/// Bytes put into one block that we write.
pub(crate) const BLOCK: usize = 1 << 20;

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    cityhash_rs::cityhash_102_128(bytes).rotate_right(64).to_le_bytes()
}

/// Appends `data` to `out` as LZ4 blocks.
pub(crate) fn compress(data: &[u8], out: &mut Vec<u8>) {
    for piece in data.chunks(BLOCK) {
        let start = out.len();
        let bound = lz4_flex::block::get_maximum_output_size(piece.len());
        out.resize(start + CHECKSUM + HEADER + bound, 0);
        let body = &mut out[start + CHECKSUM + HEADER..];
        // The buffer has the maximal size, so compressing cannot fail.
        let length = lz4_flex::block::compress_into(piece, body).unwrap_or(0);
        out.truncate(start + CHECKSUM + HEADER + length);
        let header = &mut out[start + CHECKSUM..start + CHECKSUM + HEADER];
        header[0] = LZ4;
        header[1..5].copy_from_slice(&((length + HEADER) as u32).to_le_bytes());
        header[5..9].copy_from_slice(&(piece.len() as u32).to_le_bytes());
        let sum = checksum(&out[start + CHECKSUM..]);
        out[start..start + CHECKSUM].copy_from_slice(&sum);
    }
}

/// Reads blocks and gives their plain bytes.
pub(crate) struct BlockReader<R> {
    inner: R,
    compressed: Vec<u8>,
    plain: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    /// Reads blocks from `inner`.
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, compressed: Vec::new(), plain: Vec::new(), at: 0 }
    }

    /// Reads the next block; false at a clean end.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut head = [0; CHECKSUM + HEADER];
        let first = self.inner.read(&mut head)?;
        if first == 0 {
            return Ok(false);
        }
        self.inner.read_exact(&mut head[first..])?;
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (method, size, plain_size) = (head[CHECKSUM], number(CHECKSUM + 1), number(CHECKSUM + 5));
        let plausible = plain_size <= (size.saturating_mul(MAX_RATIO)).max(SMALL_BLOCK);
        if !(HEADER..=MAX_BLOCK).contains(&size) || plain_size > MAX_BLOCK || !plausible {
            return Err(refuse(
                code::TOO_LARGE_SIZE_COMPRESSED,
                "TOO_LARGE_SIZE_COMPRESSED",
                format_args!("A compressed block says it has {size} bytes, {plain_size} unpacked, which is too many or too few"),
            ));
        }
        self.compressed.clear();
        self.compressed.extend_from_slice(&head[CHECKSUM..]);
        // Not `resize`: memory is taken as bytes arrive, whatever the block says of itself.
        let wanted = (size - HEADER) as u64;
        let got = self.inner.by_ref().take(wanted).read_to_end(&mut self.compressed)?;
        if got as u64 != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if checksum(&self.compressed) != head[..CHECKSUM] {
            return Err(refuse(
                code::CHECKSUM_DOESNT_MATCH,
                "CHECKSUM_DOESNT_MATCH",
                "Checksum doesn't match: corrupted data in a compressed block of the request",
            ));
        }
        self.unpack(method, plain_size)?;
        self.at = 0;
        Ok(true)
    }

    fn unpack(&mut self, method: u8, plain_size: usize) -> io::Result<()> {
        let body = &self.compressed[HEADER..];
        self.plain.resize(plain_size, 0);
        let unpacked = match method {
            NONE if body.len() == plain_size => {
                self.plain.copy_from_slice(body);
                Some(plain_size)
            }
            LZ4 => lz4_flex::block::decompress_into(body, &mut self.plain).ok(),
            ZSTD => zstd::bulk::decompress_to_buffer(body, &mut self.plain[..]).ok(),
            NONE => None,
            _ => {
                return Err(refuse(
                    code::UNKNOWN_COMPRESSION_METHOD,
                    "UNKNOWN_COMPRESSION_METHOD",
                    format_args!("Unknown compression method {method:#04x}; use NONE, LZ4 or ZSTD"),
                ))
            }
        };
        if unpacked == Some(plain_size) {
            return Ok(());
        }
        Err(refuse(code::CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", "Cannot decompress a block of the request"))
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.plain.len() - self.at);
        buffer[..count].copy_from_slice(&self.plain[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn refuse(code: u32, name: &str, text: impl std::fmt::Display) -> io::Error {
    io::Error::other(Exception::new(code, name, text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        BlockReader::new(bytes).read_to_end(&mut plain).map(|_| plain)
    }

    /// A block that ClickHouse's own tools wrote: `SELECT 1 FORMAT RowBinary` with `compress=1`.
    #[test]
    fn none_blocks_are_read() {
        let mut block = vec![NONE, 12, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', b'c'];
        let sum = checksum(&block);
        block.splice(0..0, sum);
        assert_eq!(unpack(&block).unwrap(), b"abc");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let mut packed = Vec::new();
        compress(b"some text, some text, some text", &mut packed);
        for bit in 0..packed.len() * 8 {
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unpack(&damaged).is_err(), "bit {bit}");
        }
        for cut in 1..packed.len() {
            assert!(unpack(&packed[..cut]).is_err(), "cut {cut}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(data in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let mut packed = Vec::new();
            compress(&data, &mut packed);
            prop_assert_eq!(unpack(&packed).unwrap(), data);
        }
    }
}
