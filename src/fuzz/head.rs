//! Is what the recogniser takes for a head one that hyper reads in the same way, whatever pieces it comes in?
//!
//! hyper's server is the oracle: it has no part in serving callers, and knows nothing of this recogniser.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::pin,
    task::{Context, Waker},
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, request::Parts};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::join;

use crate::{
    config::Limits,
    server::{Fault, Head, Recogniser},
    stage::Refusal,
};

/// The first head of these bytes, as it reaches the stack.
pub(super) fn parse(bytes: &[u8]) -> Result<Parts, Refusal> {
    let head = Recogniser::new(&Limits::default())
        .take(&mut BytesMut::from(bytes))
        .map_err(|fault| fault.refusal)?;
    head.map_or(Err(Refusal::RequestTimeout), |head| Ok(head.parts))
}

/// Compares readings of the first head of these bytes. Says whether there is one that is accepted.
///
/// # Panics
/// Where they differ.
pub fn judge_head(bytes: &[u8]) -> bool {
    let limits = Limits::default();
    let mut rest = BytesMut::from(bytes);
    let whole = Recogniser::new(&limits).take(&mut rest);
    let length = bytes.len() - rest.len();
    in_pieces_it_is_the_same(bytes, &limits, &whole);
    let Ok(Some(head)) = whole else { return false };
    let (head_bytes, behind) = (&bytes[..length], [&bytes[..length], NEXT].concat());
    let hyper = read_by_hyper(head_bytes).expect("hyper reads it too");
    assert_eq!(facts(&head.parts), facts(&hyper), "{}", head_bytes.escape_ascii());
    let (mut recogniser, mut two) = (Recogniser::new(&limits), BytesMut::from(&behind[..]));
    assert!(matches!(recogniser.take(&mut two), Ok(Some(_))));
    let next = recogniser.take(&mut two).expect("a head").expect("all of it");
    assert_eq!((next.parts.uri.path(), two.len()), ("/next", 0), "the next head is the next one");
    true
}

fn in_pieces_it_is_the_same(bytes: &[u8], limits: &Limits, whole: &Result<Option<Head>, Fault>) {
    for piece in [1, 2, 3, 7, 100] {
        let (mut recogniser, mut sofar, mut result) = (Recogniser::new(limits), BytesMut::new(), Ok(None));
        for piece in bytes.chunks(piece) {
            sofar.extend_from_slice(piece);
            result = recogniser.take(&mut sofar);
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        assert_eq!(format!("{result:?}"), format!("{whole:?}"), "{piece}: {}", bytes.escape_ascii());
    }
}

/// What must be the same, whoever reads it. hyper leaves the order of different names as it was, too.
fn facts(head: &Parts) -> (String, String, String, Vec<(String, Vec<u8>)>) {
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    (head.method.to_string(), head.uri.to_string(), format!("{:?}", head.version), headers.collect())
}

fn read_by_hyper(bytes: &[u8]) -> Option<Parts> {
    let found = RefCell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        found.borrow_mut().get_or_insert(request.into_parts().0);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let stream = TokioIo::new(join(io::Cursor::new(bytes.to_vec()), tokio::io::sink()));
    let mut http = http1::Builder::new();
    http.half_close(true).header_read_timeout(None);
    {
        let mut connection = pin!(http.serve_connection(stream, service));
        // Nothing here waits: all of it is there.
        for _ in 0..4 {
            if connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
        }
    }
    found.into_inner()
}

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\n\r\n";
