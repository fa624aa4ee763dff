//! Numbers and fields in kernel text. Works on bytes, allocates nothing, never panics.

/// Walks through text; every step leaves it at a place that exists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// What is left.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Skips spaces and tabs.
    #[inline]
    pub(crate) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// Skips to the next blank or line end.
    #[inline]
    pub(crate) fn skip_word(&mut self) {
        while let Some(b) = self.bytes.get(self.at) {
            if matches!(b, b' ' | b'\t' | b'\n') {
                break;
            }
            self.at += 1;
        }
    }

    /// Blanks, then a decimal number with an optional sign. A number above `i64::MAX` keeps its bit
    /// pattern, as the frame wants it. `None` leaves the cursor before what is no number.
    #[inline]
    pub(crate) fn number(&mut self) -> Option<i64> {
        self.skip_blanks();
        let negative = self.bytes.get(self.at) == Some(&b'-');
        let start = self.at + usize::from(negative);
        let mut at = start;
        let mut value = 0u64;
        while let Some(digit) = self.bytes.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        if at == start {
            return None;
        }
        self.at = at;
        Some(if negative { (value as i64).wrapping_neg() } else { value as i64 })
    }

    /// Blanks, then a decimal fraction, in units of 10^-`places`: "1.05" with 2 places is 105. Digits
    /// beyond are cut, missing ones are 0.
    #[inline]
    pub(crate) fn fraction(&mut self, places: u32) -> Option<i64> {
        let mut value = self.number()?;
        let mut left = places;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            while let Some(digit) = self.bytes.get(self.at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10)
            {
                if left > 0 {
                    value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
                    left -= 1;
                }
                self.at += 1;
            }
        }
        Some(value.wrapping_mul(10i64.wrapping_pow(left)))
    }

    /// Blanks, then a hexadecimal number without prefix.
    pub(crate) fn hex(&mut self) -> Option<i64> {
        self.skip_blanks();
        let start = self.at;
        let mut value = 0u64;
        while let Some(digit) = self.bytes.get(self.at).and_then(|b| char::from(*b).to_digit(16)) {
            value = value.wrapping_shl(4) | u64::from(digit);
            self.at += 1;
        }
        (self.at > start).then_some(value as i64)
    }

    /// Blanks, then everything up to the next blank or line end; empty at a line end.
    #[inline]
    pub(crate) fn word(&mut self) -> &'a [u8] {
        self.skip_blanks();
        let start = self.at;
        self.skip_word();
        &self.bytes[start..self.at]
    }

    /// Everything up to `stop`, which is skipped. `None` without it.
    pub(crate) fn until(&mut self, stop: u8) -> Option<&'a [u8]> {
        let rest = self.rest();
        let end = rest.iter().position(|b| *b == stop)?;
        self.at += end + 1;
        Some(&rest[..end])
    }

    /// The rest of the line, its end skipped. `None` once everything was read.
    #[inline]
    pub(crate) fn line(&mut self) -> Option<&'a [u8]> {
        if self.is_done() {
            return None;
        }
        let rest = self.rest();
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        self.at = (self.at + end + 1).min(self.bytes.len());
        Some(&rest[..end])
    }

    /// Whether the text goes on with `prefix`; if so it is skipped.
    #[inline]
    pub(crate) fn skip_prefix(&mut self, prefix: &[u8]) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }
}

/// A file that holds one number; "max" and an empty file are `None`.
pub(crate) fn single(bytes: &[u8]) -> Option<i64> {
    Cursor::new(bytes).number()
}

/// Bytes without blanks and line ends around them.
pub(crate) fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_of_every_kind() {
        let mut c = Cursor::new(b" 12\t-3 18446744073709551615 x 7.5 0.07 1ff\nnext");
        assert_eq!(c.number(), Some(12));
        assert_eq!(c.number(), Some(-3));
        assert_eq!(c.number(), Some(-1), "u64::MAX by its bit pattern");
        assert_eq!(c.number(), None);
        assert_eq!(c.word(), b"x");
        assert_eq!(c.fraction(2), Some(750));
        assert_eq!(c.fraction(1), Some(0));
        assert_eq!(c.hex(), Some(0x1ff));
        assert_eq!(c.line(), Some(&b""[..]));
        assert_eq!(c.line(), Some(&b"next"[..]));
        assert_eq!(c.line(), None);
    }

    #[test]
    fn whole_numbers_are_fractions_too() {
        assert_eq!(Cursor::new(b"3").fraction(3), Some(3000));
        assert_eq!(single(b"max\n"), None);
        assert_eq!(single(b"5\n"), Some(5));
        assert_eq!(trimmed(b" a b\n"), b"a b");
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut c = Cursor::new(&bytes);
            for _ in 0..50 {
                c.number();
                c.fraction(2);
                c.hex();
                c.word();
                c.until(b':');
                c.skip_prefix(b"a");
                c.line();
            }
            prop_assert!(c.is_done() || !c.rest().is_empty());
        }

        #[test]
        fn a_printed_number_is_read_back(n in any::<i64>(), u in any::<u64>()) {
            prop_assert_eq!(single(n.to_string().as_bytes()), Some(n));
            prop_assert_eq!(single(u.to_string().as_bytes()), Some(u as i64));
        }
    }
}
