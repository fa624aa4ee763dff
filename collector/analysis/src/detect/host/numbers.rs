//! A list of numbers that a snapshot gives back bit for bit.
//!
//! Decimal text may come back one unit in the last place off, and a reservoir keeps such a difference.
//! Text formats get the bytes as hexadecimal, binary formats the bytes (little endian).

use std::ops::{Deref, DerefMut};

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

/// What can stand in a list: a plain number with a fixed width.
pub(super) trait Number: Copy + Default {
    const WIDTH: usize;
    fn put(self, into: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            const WIDTH: usize = std::mem::size_of::<$type>();
            fn put(self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &[u8]) -> Self {
                let mut own = [0; std::mem::size_of::<$type>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    };
}

number!(f32);
number!(f64);
number!(u16);

/// A list of fixed length, serialised exactly.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers<T>(Vec<T>);

impl<T: Number> Numbers<T> {
    /// `length` times `value`.
    pub fn of(value: T, length: usize) -> Self {
        Self(vec![value; length])
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.len() * T::WIDTH
    }
}

impl<T> Deref for Numbers<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Numbers<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Number> Serialize for Numbers<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(self.bytes());
        for number in &self.0 {
            number.put(&mut bytes);
        }
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(&bytes);
        }
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }
}

struct Visitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Number> de::Visitor<'de> for Visitor<T> {
    type Value = Numbers<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "numbers of {} bytes each", T::WIDTH)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        if !bytes.len().is_multiple_of(T::WIDTH) {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(Numbers(bytes.chunks_exact(T::WIDTH).map(T::take).collect()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let nibble = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let pair = |pair: &[u8]| Some(nibble(pair[0])? << 4 | nibble(*pair.get(1)?)?);
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
        self.visit_bytes(&bytes.ok_or_else(|| E::custom("hexadecimal digits belong here"))?)
    }
}

impl<'de, T: Number> Deserialize<'de> for Numbers<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = Visitor(std::marker::PhantomData);
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(visitor)
        } else {
            deserializer.deserialize_bytes(visitor)
        }
    }
}

/// Sum of products in four lanes, which the compiler may keep in vector registers.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (left, right) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    let mut lanes = [0.0; 4];
    for (x, y) in left.zip(right) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_gives_every_bit_back() {
        let mut list = Numbers::of(0.0f64, 3);
        list[0] = f64::NAN;
        list[1] = 0.1 + 0.2;
        list[2] = -f64::MIN_POSITIVE;
        let text = serde_json::to_string(&list).unwrap();
        let back: Numbers<f64> = serde_json::from_str(&text).unwrap();
        assert!(list.iter().zip(back.iter()).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!(serde_json::from_str::<Numbers<f64>>("\"00ff\"").is_err(), "two bytes are no f64");
        assert!(serde_json::from_str::<Numbers<f64>>("\"0g\"").is_err(), "g is no digit");
    }
}
