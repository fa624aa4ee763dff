//! Orders that cannot be forged: an Ed25519 signature (RFC 8032) over a domain tag and the order's JSON
//! text. The tag keeps a signature made for anything else from being an order's. Pure: random bytes for a
//! new key come in.
//!
//! One order has exactly one text: what [`serde_json`] writes of it. Any other text of the same meaning
//! (spaces, another sequence of keys, a key twice, a key nobody knows) is refused even when it is signed, so
//! that nobody can read another order out of it than the agent does. Signatures are checked strictly: weak keys
//! and malleable encodings are refused. Checking compares public data only; signing, which handles the
//! secret, is constant in time in the library.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::command::{Order, Refusal, SignedOrder};

/// Longest signed order, in bytes, as it travels.
pub const SIGNED_ORDER_MAX: usize = 16 << 10;
/// Longest order id and component name, in bytes.
pub const NAME_MAX: usize = 128;
/// What stands before the order in the signed bytes.
const DOMAIN: &[u8] = b"fettle order v1\0";

/// A key or an order that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// Not a key's text.
    #[error("a key is 64 hexadecimal digits in lower case; this text is not")]
    KeyText,
    /// The order would not be taken by any agent.
    #[error("the signed order has {0} bytes; shorten its plan or parameters to at most {SIGNED_ORDER_MAX}")]
    TooLong(usize),
    /// An id that no agent would take.
    #[error("an order's id has 1 to {NAME_MAX} printable ASCII characters without spaces; choose another")]
    Id,
}

/// A secret key that signs orders.
#[derive(Clone)]
pub struct Signer(SigningKey);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", key_to_text(&self.public()))
    }
}

impl Signer {
    /// The key of 32 secret, random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the secret's text form: 64 hexadecimal digits.
    pub fn from_text(text: &str) -> Result<Self, SigningError> {
        Ok(Self::from_seed(&key_from_text(text)?))
    }

    /// The secret's text form: whoever has it can give orders.
    pub fn secret_text(&self) -> String {
        key_to_text(self.0.as_bytes())
    }

    /// The public key, which hosts trust.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs an order.
    pub fn sign(&self, order: &Order) -> Result<SignedOrder, SigningError> {
        if !is_id(&order.id) {
            return Err(SigningError::Id);
        }
        // Strings, numbers and maps with text keys: writing them as JSON cannot fail.
        let order = serde_json::to_string(order).unwrap_or_default();
        let signature = to_hex(&self.0.sign(&message(&order)).to_bytes());
        let signed = SignedOrder { order, key: key_to_text(&self.public()), signature };
        match write(&signed).len() {
            len if len > SIGNED_ORDER_MAX => Err(SigningError::TooLong(len)),
            _ => Ok(signed),
        }
    }

    /// Signs bytes that begin with a domain tag of their own.
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Whether this key signed these bytes; strictly, as of orders.
pub(crate) fn fits(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let key = VerifyingKey::from_bytes(key);
    key.is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// A signed order as it travels.
pub fn write(signed: &SignedOrder) -> Vec<u8> {
    serde_json::to_vec(signed).unwrap_or_default()
}

/// Reads what travelled; nothing is believed of it yet.
pub fn read(bytes: &[u8]) -> Result<SignedOrder, Refusal> {
    if bytes.len() > SIGNED_ORDER_MAX {
        return Err(Refusal::Malformed);
    }
    serde_json::from_slice(bytes).map_err(|_| Refusal::Malformed)
}

/// The order, if one of the `trusted` public keys has signed it.
pub fn verify(signed: &SignedOrder, trusted: &[[u8; 32]]) -> Result<Order, Refusal> {
    if signed.order.len() > SIGNED_ORDER_MAX {
        return Err(Refusal::Malformed);
    }
    let key = key_from_text(&signed.key).map_err(|_| Refusal::Malformed)?;
    let signature: [u8; 64] = from_hex(&signed.signature).ok_or(Refusal::Malformed)?;
    if !trusted.contains(&key) {
        return Err(Refusal::UntrustedKey);
    }
    if !fits(&key, &message(&signed.order), &signature) {
        return Err(Refusal::BadSignature);
    }
    let order: Order = serde_json::from_str(&signed.order).map_err(|_| Refusal::Malformed)?;
    let is_canonical = serde_json::to_string(&order).is_ok_and(|text| text == signed.order);
    let fits = is_id(&order.id) && order.component.len() <= NAME_MAX;
    if is_canonical && fits {
        Ok(order)
    } else {
        Err(Refusal::Malformed)
    }
}

fn message(order: &str) -> Vec<u8> {
    [DOMAIN, order.as_bytes()].concat()
}

fn is_id(id: &str) -> bool {
    (1..=NAME_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A key's text form: 64 hexadecimal digits in lower case.
pub fn key_to_text(key: &[u8; 32]) -> String {
    to_hex(key)
}

/// Reads a key's text form.
pub fn key_from_text(text: &str) -> Result<[u8; 32], SigningError> {
    from_hex(text).ok_or(SigningError::KeyText)
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Action;
    use proptest::prelude::*;

    fn order() -> Order {
        Order {
            id: "o-1".into(),
            host: "web-1".into(),
            generation: 7,
            issued_us: 1_000,
            expires_us: 2_000,
            component: "nginx".into(),
            action: Action::Signal { signal: "HUP".into() },
            timeout_s: 30,
            dry_run: false,
            plan: "p/1".into(),
        }
    }

    fn signer() -> Signer {
        Signer::from_seed(&[7; 32])
    }

    /// What an attacker who had the key, but not our serialiser, could sign.
    fn sign_text(text: &str) -> SignedOrder {
        let signature = to_hex(&signer().0.sign(&message(text)).to_bytes());
        SignedOrder { order: text.into(), key: key_to_text(&signer().public()), signature }
    }

    #[test]
    fn what_is_signed_is_read_again_by_those_who_trust_the_key_and_by_no_one_else() {
        let signed = signer().sign(&order()).unwrap();
        let travelled = read(&write(&signed)).unwrap();
        assert_eq!(verify(&travelled, &[[1; 32], signer().public()]), Ok(order()));
        assert_eq!(verify(&travelled, &[]), Err(Refusal::UntrustedKey));
        let other = Signer::from_seed(&[8; 32]);
        assert_eq!(verify(&travelled, &[other.public()]), Err(Refusal::UntrustedKey));
        let claimed = SignedOrder { key: key_to_text(&other.public()), ..travelled };
        assert_eq!(verify(&claimed, &[other.public()]), Err(Refusal::BadSignature));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let signed = signer().sign(&order()).unwrap();
        let bytes = write(&signed);
        for at in 0..bytes.len() * 8 {
            let mut hurt = bytes.clone();
            hurt[at / 8] ^= 1 << (at % 8);
            let taken = read(&hurt).and_then(|signed| verify(&signed, &[signer().public()]));
            assert!(taken.is_err(), "bit {at} makes {taken:?}");
        }
    }

    #[test]
    fn every_truncation_and_anything_too_long_is_refused() {
        let bytes = write(&signer().sign(&order()).unwrap());
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len]), Err(Refusal::Malformed));
        }
        let long = Order { plan: "x".repeat(SIGNED_ORDER_MAX), ..order() };
        assert!(matches!(signer().sign(&long), Err(SigningError::TooLong(_))));
        let signed = sign_text(&serde_json::to_string(&long).unwrap());
        assert_eq!(read(&write(&signed)), Err(Refusal::Malformed));
        assert_eq!(verify(&signed, &[signer().public()]), Err(Refusal::Malformed));
        for id in ["", "a b", "é", "\n", &"x".repeat(NAME_MAX + 1)] {
            assert_eq!(signer().sign(&Order { id: id.into(), ..order() }), Err(SigningError::Id));
        }
    }

    #[test]
    fn a_signed_text_that_two_readers_could_read_differently_is_refused() {
        let text = serde_json::to_string(&order()).unwrap();
        assert!(verify(&sign_text(&text), &[signer().public()]).is_ok());
        let restart = serde_json::to_string(&Order { action: Action::Restart, ..order() }).unwrap();
        for other in [
            text.replace("\"id\":\"o-1\"", "\"id\":\"o-1\",\"id\":\"o-2\""),
            text.replace("\"id\":\"o-1\"", "\"id\":\"o-1\",\"root\":true"),
            text.replace("\"signal\":\"HUP\"", "\"signal\":\"HUP\",\"signal\":\"KILL\""),
            text.replace("\"signal\":\"HUP\"", "\"signal\":\"HUP\",\"all\":true"),
            restart.replace("\"restart\"", "\"restart\",\"signal\":\"KILL\""),
            restart.replace("\"restart\"", "\"shell\""),
            text.replace(":7,", ":7.0,"),
            text.replace(":7,", ":-7,"),
            text.replace(":7,", ":18446744073709551616,"),
            text.replace("\"o-1\"", "\"\\u006f-1\""),
            text.replace("{\"id\"", "{ \"id\""),
            format!("{text} "),
            format!("{text}{text}"),
            format!("[{text}]"),
            "{}".into(),
            String::new(),
        ] {
            let taken = verify(&sign_text(&other), &[signer().public()]);
            assert_eq!(taken, Err(Refusal::Malformed), "{other}");
        }
        let outer = String::from_utf8(write(&sign_text(&text))).unwrap();
        for other in [
            outer.replacen("{\"order\"", "{\"x\":1,\"order\"", 1),
            outer.replacen("\"key\"", "\"key\":\"\",\"key\"", 1),
        ] {
            assert_eq!(read(other.as_bytes()), Err(Refusal::Malformed), "{other}");
        }
    }

    #[test]
    fn a_signature_for_another_purpose_is_none_for_an_order() {
        let signed = signer().sign(&order()).unwrap();
        for message in [
            signed.order.clone().into_bytes(),
            [b"fettle order v2\0", signed.order.as_bytes()].concat(),
            [b"fettle receipt v1\0", signed.order.as_bytes()].concat(),
        ] {
            let signature = to_hex(&signer().0.sign(&message).to_bytes());
            let other = SignedOrder { signature, ..signed.clone() };
            assert_eq!(verify(&other, &[signer().public()]), Err(Refusal::BadSignature));
        }
        // The neutral element signs everything for a checker that is not strict.
        let mut weak = [0; 32];
        weak[0] = 1;
        let forged = SignedOrder {
            key: key_to_text(&weak),
            signature: to_hex(&[weak, [0; 32]].concat()),
            order: signed.order,
        };
        assert_eq!(verify(&forged, &[weak]), Err(Refusal::BadSignature));
    }

    #[test]
    fn keys_have_one_text_form() {
        let signer = Signer::from_seed(&[0xab; 32]);
        let text = signer.secret_text();
        assert_eq!(Signer::from_text(&text).unwrap().public(), signer.public());
        assert!(!format!("{signer:?}").contains(&text), "a secret is not logged");
        for bad in
            ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &"g".repeat(64), &"é".repeat(32)]
        {
            assert_eq!(key_from_text(bad), Err(SigningError::KeyText), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_pass(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let taken = read(&bytes).and_then(|signed| verify(&signed, &[signer().public()]));
            prop_assert!(taken.is_err());
        }

        #[test]
        fn any_order_survives(
            id in "[!-~]{1,128}", plan in ".{0,80}", generation: u64, issued_us: i64, dry_run: bool,
            action in prop_oneof![
                Just(Action::DropCaches),
                "[A-Z]{1,5}".prop_map(|signal| Action::Signal { signal }),
                any::<i8>().prop_map(|nice| Action::Renice { nice }),
                ("[a-z]{1,9}", "[ -~]{0,9}").prop_map(|(entry, to)| Action::FailOver { entry, to }),
            ],
        ) {
            let order = Order { id, plan, generation, issued_us, dry_run, action, ..order() };
            let signed = signer().sign(&order).unwrap();
            prop_assert_eq!(verify(&read(&write(&signed)).unwrap(), &[signer().public()]), Ok(order));
        }
    }
}
