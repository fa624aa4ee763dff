//! What a request asks, read from its URL, headers and form fields.

use http::{HeaderMap, Method, Uri};

use crate::auth::Credentials;
use crate::output::Encoding;

/// A query as asked, before anyone has looked at its body.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// The `query` parameter; the body may continue it.
    pub(crate) query: Vec<u8>,
    /// The id to answer with.
    pub(crate) query_id: Option<String>,
    /// Current database.
    pub(crate) database: Option<String>,
    /// Output format when the statement names none.
    pub(crate) format: Option<String>,
    /// All other parameters: settings.
    pub(crate) settings: Vec<(String, String)>,
    /// `param_*`, without the prefix.
    pub(crate) parameters: Vec<(String, String)>,
    /// Who asks.
    pub(crate) credentials: Credentials,
    /// The body is in ClickHouse's compressed blocks.
    pub(crate) decompress: bool,
    /// How the response is encoded.
    pub(crate) encoding: Encoding,
    /// The body's `Content-Encoding`.
    pub(crate) content_encoding: String,
    /// Answer only when the statement has ended.
    pub(crate) wait_end: bool,
    /// GET and HEAD read only.
    pub(crate) readonly: bool,
    /// The session to use.
    pub(crate) session: Option<SessionRequest>,
}

/// A named session, as asked for.
#[derive(Debug, Default, Clone)]
pub(crate) struct SessionRequest {
    /// Its name.
    pub(crate) id: String,
    /// Seconds it is kept after its last query, as text.
    pub(crate) timeout: Option<String>,
    /// It must exist already.
    pub(crate) check: bool,
}

impl Request {
    /// Reads the URL and the headers.
    pub(crate) fn read(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut request = Self {
            readonly: method == Method::GET || method == Method::HEAD,
            content_encoding: header("content-encoding").to_ascii_lowercase(),
            ..Self::default()
        };
        let mut compression = Compression::default();
        for (name, value) in form_pairs(uri.query().unwrap_or_default().as_bytes()) {
            request.take(&name, value, &mut compression);
        }
        request.encoding = compression.choose(header("accept-encoding"));
        let or_header = |value: Option<String>, name: &str| {
            value.or_else(|| Some(header(name).to_owned())).filter(|value| !value.is_empty())
        };
        request.format = or_header(request.format.take(), "x-clickhouse-format");
        request.database = or_header(request.database.take(), "x-clickhouse-database");
        if !header("x-clickhouse-user").is_empty() || !header("x-clickhouse-key").is_empty() {
            request.credentials = Credentials {
                user: header("x-clickhouse-user").to_owned(),
                password: header("x-clickhouse-key").to_owned(),
            };
        } else if let Some(basic) = Credentials::from_basic(header("authorization")) {
            request.credentials = basic;
        }
        request
    }

    /// Takes one field of a form; the names mean what they mean in the URL.
    pub(crate) fn take_field(&mut self, name: &str, value: Vec<u8>) {
        self.take(name, value, &mut Compression::default());
    }

    fn take(&mut self, name: &str, value: Vec<u8>, compression: &mut Compression) {
        if name == "query" {
            self.query = value;
            return;
        }
        let value = String::from_utf8_lossy(&value).into_owned();
        match name {
            "query_id" => self.query_id = Some(value).filter(|id| !id.is_empty()),
            "database" => self.database = Some(value).filter(|name| !name.is_empty()),
            "default_format" => self.format = Some(value).filter(|name| !name.is_empty()),
            "user" => self.credentials.user = value,
            "password" => self.credentials.password = value,
            "compress" => compression.blocks = is_true(&value),
            "decompress" => self.decompress = is_true(&value),
            "enable_http_compression" => compression.http = is_true(&value),
            "http_zlib_compression_level" => compression.level = value.parse().ok(),
            "wait_end_of_query" => self.wait_end = is_true(&value),
            "session_id" => self.session_mut().id = value,
            "session_timeout" => self.session_mut().timeout = Some(value),
            "session_check" => self.session_mut().check = is_true(&value),
            // Of no meaning here: buffering is ours, traces are never shown, quotas and the native
            // protocol's version do not exist.
            "buffer_size"
            | "stacktrace"
            | "quota_key"
            | "client_protocol_version"
            | "close_session"
            | "http_make_head_request"
            | "send_progress_in_http_headers"
            | "http_headers_progress_interval_ms" => {}
            _ => match name.strip_prefix("param_") {
                Some(parameter) => self.parameters.push((parameter.to_owned(), value)),
                None => self.settings.push((name.to_owned(), value)),
            },
        }
    }

    fn session_mut(&mut self) -> &mut SessionRequest {
        self.session.get_or_insert_default()
    }
}

#[derive(Default)]
struct Compression {
    blocks: bool,
    http: bool,
    level: Option<u32>,
}

impl Compression {
    fn choose(&self, accepted: &str) -> Encoding {
        if self.blocks {
            return Encoding::Blocks;
        }
        if !self.http {
            return Encoding::Plain;
        }
        let names = || accepted.split(',').map(|item| item.split(';').next().unwrap_or_default().trim());
        let accepts = |name: &str| names().any(|item| item.eq_ignore_ascii_case(name));
        let level = self.level.unwrap_or(3).min(9);
        if accepts("zstd") {
            Encoding::Zstd
        } else if accepts("lz4") {
            Encoding::Lz4
        } else if accepts("gzip") {
            Encoding::Gzip(level)
        } else if accepts("deflate") {
            Encoding::Deflate(level)
        } else {
            Encoding::Plain
        }
    }
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// The pairs of a query string, decoded.
fn form_pairs(text: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        (String::from_utf8_lossy(&form_decode(name)).into_owned(), form_decode(value))
    })
}

fn form_decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match (first, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, tail @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = tail;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => *byte,
        });
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, headers: &[(&'static str, &str)]) -> Request {
        let map =
            headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        Request::read(&Method::POST, &url.parse().unwrap(), &map)
    }

    #[test]
    fn a_url_is_read() {
        let request = read(
            "/?query=SELECT+1%2C%27%25%27&param_x=a%20b&max_threads=1&database=d&user=u&password=p",
            &[],
        );
        assert_eq!(request.query, b"SELECT 1,'%'");
        assert_eq!(request.parameters, [("x".to_owned(), "a b".to_owned())]);
        assert_eq!(request.settings, [("max_threads".to_owned(), "1".to_owned())]);
        assert_eq!(request.database.as_deref(), Some("d"));
        assert_eq!((request.credentials.user.as_str(), request.credentials.password.as_str()), ("u", "p"));
    }

    #[test]
    fn headers_win_over_the_url_for_credentials_and_give_what_it_lacks() {
        let request = read(
            "/?user=a",
            &[("x-clickhouse-user", "b"), ("x-clickhouse-key", "k"), ("x-clickhouse-format", "CSV")],
        );
        assert_eq!((request.credentials.user.as_str(), request.credentials.password.as_str()), ("b", "k"));
        assert_eq!(request.format.as_deref(), Some("CSV"));
    }

    #[test]
    fn encodings_need_both_sides() {
        assert_eq!(read("/?query=1", &[("accept-encoding", "gzip")]).encoding, Encoding::Plain);
        assert_eq!(
            read("/?enable_http_compression=1", &[("accept-encoding", "br, gzip;q=1")]).encoding,
            Encoding::Gzip(3)
        );
        assert_eq!(
            read("/?compress=1&enable_http_compression=1", &[("accept-encoding", "gzip")]).encoding,
            Encoding::Blocks
        );
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(form_decode(b"%zz%4"), b"%zz%4");
    }
}
