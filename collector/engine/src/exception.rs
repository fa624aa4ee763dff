//! ClickHouse's errors: a code, a message, and the HTTP status that ClickHouse gives for the code.

use http::StatusCode;

/// Codes that this server itself raises; the engine raises all others.
pub(crate) mod code {
    pub(crate) const BAD_ARGUMENTS: u32 = 36;
    pub(crate) const TOO_LARGE_SIZE_COMPRESSED: u32 = 39;
    pub(crate) const CHECKSUM_DOESNT_MATCH: u32 = 40;
    pub(crate) const NOT_IMPLEMENTED: u32 = 48;
    pub(crate) const SYNTAX_ERROR: u32 = 62;
    pub(crate) const UNKNOWN_COMPRESSION_METHOD: u32 = 89;
    pub(crate) const UNKNOWN_SETTING: u32 = 115;
    pub(crate) const READONLY: u32 = 164;
    pub(crate) const SOCKET_TIMEOUT: u32 = 209;
    pub(crate) const NETWORK_ERROR: u32 = 210;
    pub(crate) const QUERY_IS_TOO_LARGE: u32 = 229;
    pub(crate) const CANNOT_DECOMPRESS: u32 = 271;
    pub(crate) const SESSION_NOT_FOUND: u32 = 372;
    pub(crate) const SESSION_IS_LOCKED: u32 = 373;
    pub(crate) const INVALID_SESSION_TIMEOUT: u32 = 374;
    pub(crate) const TOO_MANY_BYTES: u32 = 307;
    pub(crate) const ACCESS_DENIED: u32 = 497;
    pub(crate) const AUTHENTICATION_FAILED: u32 = 516;
    pub(crate) const STD_EXCEPTION: u32 = 1001;
}

/// An error as ClickHouse words it: `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`.
#[derive(Debug, Clone)]
pub(crate) struct Exception {
    /// The number after `Code:`.
    pub(crate) code: u32,
    /// The whole message, without the version that ends it on the wire.
    pub(crate) message: String,
}

impl std::fmt::Display for Exception {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Exception {}

impl Exception {
    /// One of our own: `name` is the code's name as ClickHouse spells it.
    pub(crate) fn new(code: u32, name: &str, text: impl std::fmt::Display) -> Self {
        Self { code, message: format!("Code: {code}. DB::Exception: {text}. ({name})") }
    }

    /// The engine's message, from which the code is read.
    pub(crate) fn from_engine(message: String) -> Self {
        let digits = message.strip_prefix("Code: ").unwrap_or_default();
        let digits = &digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())];
        match digits.parse() {
            Ok(code) => Self { code, message },
            Err(_) => Self::new(code::STD_EXCEPTION, "STD_EXCEPTION", message),
        }
    }

    /// The status ClickHouse's HTTP interface answers with (`exceptionCodeToHTTPStatus`).
    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            6 | 8 | 15 | 25 | 26 | 27 | 36 | 37 | 38 | 41 | 44 | 53 | 62 | 72 | 117 | 123 | 167 | 168
            | 223 | 321 | 376 | 427 | 441 | 675 | 676 => StatusCode::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
            229 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            381 => StatusCode::LENGTH_REQUIRED,
            159 => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The message as a response's body carries it.
    pub(crate) fn body(&self, version: &str) -> String {
        format!("{} (version {version})\n", self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_from_the_engines_message() {
        let error = Exception::from_engine("Code: 60. DB::Exception: no table. (UNKNOWN_TABLE)".to_owned());
        assert_eq!((error.code, error.status()), (60, StatusCode::NOT_FOUND));
        let odd = Exception::from_engine("something else".to_owned());
        assert_eq!((odd.code, odd.status()), (1001, StatusCode::INTERNAL_SERVER_ERROR));
        assert_eq!(
            odd.body("1.2"),
            "Code: 1001. DB::Exception: something else. (STD_EXCEPTION) (version 1.2)\n"
        );
    }
}
