//! Queries sent as `multipart/form-data`: each field means what it means in the URL.

use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use multer::{Constraints, Multipart, SizeLimit};

use crate::auth::User;
use crate::exception::{code, Exception};
use crate::request::Request;

/// Most bytes of a form's fields together.
const MAX_WRITER_FORM: u64 = 16 << 20;
const MAX_FORM: u64 = 1 << 20;

/// The boundary, when the request is such a form.
pub(crate) fn boundary(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get("content-type")?.to_str().ok()?;
    multer::parse_boundary(content_type).ok()
}

/// Reads all fields into `request`.
pub(crate) async fn read(
    request: &mut Request,
    body: Incoming,
    boundary: &str,
    user: User,
) -> Result<(), Exception> {
    let most = if user == User::Writer { MAX_WRITER_FORM } else { MAX_FORM };
    let limits = Constraints::new().size_limit(SizeLimit::new().whole_stream(most).per_field(most));
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary, limits);
    while let Some(field) = form.next_field().await.map_err(|error| bad_form(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        if field.file_name().is_some() && name != "query" && !name.starts_with("param_") {
            return Err(Exception::new(
                code::NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                format_args!("External data ('{name}') is not taken; insert it into a table first"),
            ));
        }
        let value = field.bytes().await.map_err(|error| bad_form(&error))?;
        request.take_field(&name, value.to_vec());
    }
    Ok(())
}

fn bad_form(error: &multer::Error) -> Exception {
    Exception::new(code::BAD_ARGUMENTS, "BAD_ARGUMENTS", format_args!("The form cannot be read: {error}"))
}
