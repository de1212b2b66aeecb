//! Which head is this? What hyper makes of raw bytes, by the parser that it uses.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    request::Parts,
};

use crate::{server::Scan, stage::Refusal};

/// The first head of these bytes, as it reaches the stack.
pub(super) fn parse(bytes: &[u8]) -> Result<Parts, Refusal> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(&bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Err(Refusal::RequestTimeout),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadersTooLarge),
        Err(_) => return Err(UNREADABLE),
    };
    let mut scan = Scan::default();
    scan.feed(bytes.get(..length).unwrap_or_default());
    if let Some(fault) = scan.verdict() {
        return Err(Refusal::BadRequest(fault));
    }
    let mut head = Request::new(()).into_parts().0;
    head.method =
        Method::from_bytes(request.method.unwrap_or_default().as_bytes()).map_err(|_| UNREADABLE)?;
    let path = bytes.slice_ref(request.path.unwrap_or_default().as_bytes());
    head.uri = Uri::from_maybe_shared(path).map_err(|_| UNREADABLE)?;
    head.version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    head.headers = fields(request.headers, head.version, &bytes)?;
    Ok(head)
}

/// hyper refuses lengths that are none or differ, and leaves out those that come twice, or beside another framing.
fn fields(headers: &[httparse::Header<'_>], version: Version, bytes: &Bytes) -> Result<HeaderMap, Refusal> {
    let mut fields = HeaderMap::with_capacity(headers.len());
    let mut chunked = None;
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| UNREADABLE)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value)).map_err(|_| UNREADABLE)?;
        if name == TRANSFER_ENCODING {
            if version != Version::HTTP_11 {
                return Err(UNREADABLE);
            }
            fields.remove(CONTENT_LENGTH);
            chunked = Some(value.as_bytes().to_ascii_lowercase().ends_with(b"chunked"));
        } else if name == CONTENT_LENGTH {
            if chunked.is_some() {
                continue;
            }
            let length = number(&value).ok_or(UNREADABLE)?;
            match fields.get(CONTENT_LENGTH).map(number) {
                Some(first) if first != Some(length) => return Err(UNREADABLE),
                Some(_) => continue,
                None => {}
            }
        }
        fields.append(name, value);
    }
    if chunked == Some(false) { Err(UNREADABLE) } else { Ok(fields) }
}

fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

const UNREADABLE: Refusal = Refusal::BadRequest("this is not a request of HTTP/1.1");
/// As many as hyper takes.
const MAX_HEADERS: usize = 100;
