//! Checks that hyper reads recognised heads in the same way, however they are split into reads.
//!
//! hyper's server is an independent oracle: it does not serve callers.

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    pin::pin,
    task::{Context, Waker},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response, request::Parts};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::join;

use crate::{
    config::Limits,
    server::{Head, HeadFault, Recogniser},
    stage::Refusal,
};

/// Returns the first head of these bytes, and the rest.
pub(super) fn parse(bytes: &[u8]) -> Result<(Head, Bytes), Refusal> {
    let mut rest = BytesMut::from(bytes);
    let head = Recogniser::new(&Limits::default()).take(&mut rest).map_err(|fault| fault.refusal)?;
    Ok((head.ok_or(Refusal::RequestTimeout)?, rest.freeze()))
}

/// Compares both readings of the first head of these bytes. Returns whether it is accepted.
///
/// # Panics
/// If they differ.
pub fn judge_head(bytes: &[u8]) -> bool {
    let limits = Limits::default();
    let mut rest = BytesMut::from(bytes);
    let whole = Recogniser::new(&limits).take(&mut rest);
    let length = bytes.len() - rest.len();
    in_pieces_it_is_the_same(bytes, &limits, &whole);
    let Ok(Some(head)) = whole else { return false };
    // The end of a longer body would be unknown.
    let body = vec![b'\n'; head.body.and_then(|body| body.length).unwrap_or_default()];
    let (head_bytes, behind) = (&bytes[..length], [&bytes[..length], &body, NEXT].concat());
    let hyper = read_by_hyper(head_bytes).expect("hyper reads it too");
    assert!(is_same(&head.parts, &hyper), "{:?} is not {hyper:?}", head.parts);
    let (mut recogniser, mut two) = (Recogniser::new(&limits), BytesMut::from(&behind[..]));
    assert!(matches!(recogniser.take(&mut two), Ok(Some(_))));
    two.advance(body.len());
    let next = recogniser.take(&mut two).expect("a head").expect("all of it");
    assert_eq!((next.parts.uri.path(), two.len()), ("/next", 0), "the next head is the next one");
    true
}

/// Compares with the result of a split read, whose size depends on the bytes so that all sizes occur.
fn in_pieces_it_is_the_same(bytes: &[u8], limits: &Limits, whole: &Result<Option<Head>, HeadFault>) {
    let sum =
        bytes.iter().fold(bytes.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let size = 1 + sum % PIECES;
    let (mut recogniser, mut sofar, mut result) = (Recogniser::new(limits), BytesMut::new(), Ok(None));
    for piece in bytes.chunks(size) {
        sofar.extend_from_slice(piece);
        result = recogniser.take(&mut sofar);
        if !matches!(result, Ok(None)) {
            break;
        }
    }
    let same = match (&result, whole) {
        (Ok(None), Ok(None)) => true,
        (Ok(Some(one)), Ok(Some(other))) => {
            let (framing, theirs) = ((one.is_last, one.body), (other.is_last, other.body));
            is_same(&one.parts, &other.parts) && framing == theirs
        }
        (Err(one), Err(other)) => {
            one.is_head == other.is_head && one.refusal.to_string() == other.refusal.to_string()
        }
        _ => false,
    };
    assert!(same, "in pieces of {size}: {result:?} is not {whole:?}");
}

fn is_same(one: &Parts, other: &Parts) -> bool {
    let Parts { method, uri, version, headers, .. } = one;
    (method, uri, version, headers) == (&other.method, &other.uri, &other.version, &other.headers)
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
        // Nothing here waits, because all bytes are available.
        for _ in 0..4 {
            if connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
        }
    }
    found.into_inner()
}

/// The maximum size of pieces.
const PIECES: usize = 120;
const NEXT: &[u8] = b"GET /next HTTP/1.1\r\n\r\n";
