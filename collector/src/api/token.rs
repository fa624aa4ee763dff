//! Who may change things over HTTP: whoever holds the token of the collector's state directory. Reading
//! needs none, as the listener is on loopback unless its owner says otherwise.

use axum::http::{header, HeaderMap};
use subtle::ConstantTimeEq as _;

/// The token; compared in constant time, never shown.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A token of this text; an empty one lets nobody in.
    pub fn new(text: &str) -> Self {
        Self(text.trim().as_bytes().to_vec())
    }

    /// Whether the request shows it: `Authorization: Bearer TOKEN`.
    pub fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .unwrap_or_default();
        !self.0.is_empty() && bool::from(self.0.ct_eq(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_lets_in() {
        let token = Token::new("abc\n");
        let shows = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            token.is_shown(&headers)
        };
        assert!(shows("Bearer abc"));
        assert!(!shows("Bearer ab") && !shows("Bearer abcd") && !shows("abc") && !shows("Bearer "));
        assert!(!token.is_shown(&HeaderMap::new()));
        assert!(!Token::new(" ").is_shown(&HeaderMap::new()));
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
