//! Recorded requests of the stand-in, with their answers.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, request::Parts};
use serde::{Serialize, Serializer};

/// A recorded request. It contains everything that was sent, including secrets: only test secrets belong here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The `X-Request-Id` of its answer, known from the start.
    pub request_id: String,
    /// The source port, the same for requests on one connection.
    pub peer_port: u16,
    /// The method, as received.
    pub method: String,
    /// The request target, as received.
    pub target: String,
    /// The headers: names in lower case, in the order of their first occurrence; values as received, with U+FFFD for invalid
    /// UTF-8.
    pub headers: Vec<(String, String)>,
    /// The body, a text in JSON.
    #[serde(serialize_with = "as_text")]
    pub body: Vec<u8>,
    /// The status of the answer. `None` as long as there is none, for ever if the connection was cut.
    pub status: Option<u16>,
}

impl Seen {
    /// Creates the record of a request whose body has not arrived yet.
    pub(super) fn arriving(head: &Parts, peer: SocketAddr, request_id: String) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let header =
            |(name, value): (&HeaderName, &HeaderValue)| (name.as_str().to_owned(), text(value.as_bytes()));
        Self {
            request_id,
            peer_port: peer.port(),
            method: head.method.to_string(),
            target: head.uri.to_string(),
            headers: head.headers.iter().map(header).collect(),
            body: Vec::new(),
            status: None,
        }
    }

    /// Returns everything that was sent, on one line.
    pub(super) fn repeated(&self) -> String {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = String::from_utf8_lossy(&self.body);
        format!("{} {} | {} | {body}", self.method, self.target, headers.join(" | "))
    }

    /// Returns the value of a header, by its name in lower case. `None` if it is absent or repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Returns all values of a header, by its name in lower case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Declares bodies of requests, with exactly these members.
macro_rules! bodies {
    ($(struct $name:ident { $($(#[$attribute:meta])* $member:ident: $type:ty),* })*) => { $(
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($(#[$attribute])* $member: $type,)*
        }
    )* };
}
pub(super) use bodies;

/// Serialises the body as a text, with U+FFFD for invalid UTF-8.
fn as_text<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}
