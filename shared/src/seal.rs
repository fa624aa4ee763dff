//! Seals: what a collector keeps where others may write, signed by the key that signs its orders, so that nobody
//! without that key can put anything else there. Pure: numbers and what is trusted come in.
//!
//! A seal binds the bytes to their place and to a number that rises with every seal there. So a state moved to
//! another place is refused, and one put back that is older than what the reader has seen. The tag in front of the
//! signed bytes keeps a seal from being an order, and an order from being a seal.

use crate::signing::{fits, Signer};

/// What stands before everything else in the signed bytes.
const DOMAIN: &[u8] = b"fettle state v1\0";
/// First byte of what is sealed.
const SEALED: u8 = 3;
/// First byte, number, public key, signature.
const HEAD: usize = 1 + 8 + 32 + 64;

/// Why bytes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No seal.
    #[error("it is not signed")]
    Unsealed,
    /// Sealed by somebody who is not trusted.
    #[error("it is signed by the key {}, which is not trusted here", crate::signing::key_to_text(.0))]
    UnknownKey([u8; 32]),
    /// The signature does not fit bytes, place and number.
    #[error("its signature does not fit: somebody without the key has changed it")]
    BadSignature,
    /// Older than what was seen before.
    #[error("it is older than what stood there before (number {number} after {floor})")]
    Old {
        /// Its number.
        number: u64,
        /// The highest number seen.
        floor: u64,
    },
}

impl SealError {
    /// The reason's name, as status and metrics say it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unsealed => "unsigned",
            Self::UnknownKey(_) => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::Old { .. } => "put_back",
        }
    }
}

/// What was under a seal that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The number that rises with every seal of this place.
    pub number: u64,
    /// What was sealed.
    pub body: &'a [u8],
}

/// Seals a body for a place under a number, which must be above all before it.
pub fn seal(signer: &Signer, place: &str, number: u64, body: &[u8]) -> Vec<u8> {
    let signature = signer.sign_bytes(&message(place, number, body));
    [&[SEALED][..], &number.to_le_bytes(), &signer.public(), &signature, body].concat()
}

/// The body, if one of the `trusted` public keys has sealed it for this place and its number is not below `floor`.
///
/// # Errors
/// Why it is not taken.
pub fn open<'a>(
    bytes: &'a [u8],
    place: &str,
    trusted: &[[u8; 32]],
    floor: u64,
) -> Result<Opened<'a>, SealError> {
    let Some((head, body)) = bytes.split_first_chunk::<HEAD>().filter(|(head, _)| head[0] == SEALED) else {
        return Err(SealError::Unsealed);
    };
    let (mut number, mut key, mut signature) = ([0; 8], [0; 32], [0; 64]);
    number.copy_from_slice(&head[1..9]);
    key.copy_from_slice(&head[9..41]);
    signature.copy_from_slice(&head[41..]);
    let number = u64::from_le_bytes(number);
    if !trusted.contains(&key) {
        return Err(SealError::UnknownKey(key));
    }
    if !fits(&key, &message(place, number, body), &signature) {
        return Err(SealError::BadSignature);
    }
    if number < floor {
        return Err(SealError::Old { number, floor });
    }
    Ok(Opened { number, body })
}

/// The place's length stands before it: no place and body can be read as another place and body.
fn message(place: &str, number: u64, body: &[u8]) -> Vec<u8> {
    let length = (place.len() as u64).to_le_bytes();
    [DOMAIN, &length, place.as_bytes(), &number.to_le_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Action, Order};
    use crate::signing;
    use proptest::prelude::*;

    const PLACE: &str = "bucket/state";

    fn signer() -> Signer {
        Signer::from_seed(&[7; 32])
    }

    #[test]
    fn what_is_sealed_opens_at_its_place_for_those_who_trust_the_key() {
        let sealed = seal(&signer(), PLACE, 9, b"body");
        let trusted = [[1; 32], signer().public()];
        assert_eq!(open(&sealed, PLACE, &trusted, 9), Ok(Opened { number: 9, body: b"body" }));
        assert_eq!(open(&sealed, PLACE, &trusted, 10), Err(SealError::Old { number: 9, floor: 10 }));
        assert_eq!(open(&sealed, "bucket/other", &trusted, 0), Err(SealError::BadSignature));
        let unknown = SealError::UnknownKey(signer().public());
        assert_eq!(open(&sealed, PLACE, &[[1; 32]], 0), Err(unknown));
        for unsealed in [&b""[..], b"\x01body", &sealed[..HEAD - 1]] {
            assert_eq!(open(unsealed, PLACE, &trusted, 0), Err(SealError::Unsealed));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let sealed = seal(&signer(), PLACE, 9, b"some body");
        for at in 0..sealed.len() * 8 {
            let mut hurt = sealed.clone();
            hurt[at / 8] ^= 1 << (at % 8);
            assert!(open(&hurt, PLACE, &[signer().public()], 0).is_err(), "bit {at}");
        }
        // Place and body cannot be cut elsewhere.
        let moved = [&sealed[..HEAD], b"y", &sealed[HEAD..]].concat();
        assert!(open(&moved, &PLACE[..PLACE.len() - 1], &[signer().public()], 0).is_err());
    }

    #[test]
    fn a_seal_is_no_order_and_an_order_no_seal() {
        let order = Order {
            id: "o".into(),
            host: "h".into(),
            generation: 1,
            issued_us: 1,
            expires_us: 2,
            component: String::new(),
            action: Action::DropCaches,
            timeout_s: 1,
            dry_run: false,
            plan: String::new(),
        };
        let signed = signer().sign(&order).unwrap();
        let mut forged = seal(&signer(), PLACE, 9, signed.order.as_bytes());
        let signature: Vec<u8> = (0..64)
            .map(|at| u8::from_str_radix(&signed.signature[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        forged[41..HEAD].copy_from_slice(&signature);
        assert_eq!(open(&forged, PLACE, &[signer().public()], 0), Err(SealError::BadSignature));
        let sealed = seal(&signer(), PLACE, 9, signed.order.as_bytes());
        let text: String = sealed[41..HEAD].iter().map(|byte| format!("{byte:02x}")).collect();
        let other = crate::command::SignedOrder { signature: text, ..signed };
        let taken = signing::verify(&other, &[signer().public()]);
        assert_eq!(taken, Err(crate::command::Refusal::BadSignature));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_open(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(open(&bytes, PLACE, &[signer().public()], 0).is_err());
        }
    }
}
