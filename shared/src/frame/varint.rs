//! Variable-length integers: LEB128, seven bits a byte, least significant first. Signed values are
//! zigzagged so that small differences of either sign are short.

/// Appends `value`.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a 128-bit map.
pub(super) fn put_u128(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads one value and moves `bytes` past it; `None` when cut off or over 64 bits.
pub(super) fn get(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    let mut shift = 0;
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

/// Reads one 128-bit map.
pub(super) fn get_u128(bytes: &mut &[u8]) -> Option<u128> {
    let mut value = 0u128;
    let mut shift = 0;
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 126 && byte > 3 {
            return None;
        }
        value |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
        if shift > 126 {
            return None;
        }
    }
}

/// Maps 0, -1, 1, -2 … to 0, 1, 2, 3 …
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(value: u64, wide: u128, signed: i64) {
            let mut out = Vec::new();
            put(&mut out, value);
            put_u128(&mut out, wide);
            put(&mut out, zigzag(signed));
            let mut rest = &out[..];
            prop_assert_eq!(get(&mut rest), Some(value));
            prop_assert_eq!(get_u128(&mut rest), Some(wide));
            prop_assert_eq!(get(&mut rest).map(unzigzag), Some(signed));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = get(&mut &bytes[..]);
            let _ = get_u128(&mut &bytes[..]);
        }
    }

    #[test]
    fn over_long_values_are_refused() {
        assert_eq!(get(&mut &[0xff; 11][..]), None);
        assert_eq!(get_u128(&mut &[0xff; 20][..]), None);
        assert_eq!(get(&mut &[][..]), None);
    }
}
