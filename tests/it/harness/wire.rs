//! A connection to the proxy on which the test controls every byte, and its answers.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
};

use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use super::BOUND;

pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// A request without a body, to `localhost` unless the headers say otherwise.
pub(crate) fn request(method: &str, target: &str, headers: &[&str]) -> String {
    let host = match headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
        true => "",
        false => "Host: localhost\r\n",
    };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\n{host}{headers}\r\n")
}

/// The request that cancels this job.
pub(crate) fn cancel(job: &str) -> String {
    request("DELETE", &format!("/v2/media-prod/editing/jobs/{job}"), &[])
}

pub(crate) trait Stream: Read + Write + Send {
    fn half_close(&self);
}

impl Wire {
    pub(crate) fn new(stream: impl IntoStream) -> Self {
        Self { stream: stream.into_stream(), read: Vec::new() }
    }

    /// A connection of which some bytes were read already.
    pub(crate) fn begun(stream: impl Stream + 'static, read: Vec<u8>) -> Self {
        Self { stream: Box::new(stream), read }
    }

    /// Writes bytes. If the connection was closed meanwhile, the answer says why.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.stream.write_all(bytes.as_ref()));
    }

    /// Closes the sending side.
    pub(crate) fn half_close(&mut self) {
        self.stream.half_close();
    }

    /// Writes a request, or what is left of it, and reads the answer.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.write(request);
        self.answer()
    }

    /// Reads one answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.all("content-length").next().map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            assert!(self.read_more(), "the body was cut: {answer:#?}");
        }
        answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        answer
    }

    /// Reads the head of an answer, which is the whole answer to HEAD.
    pub(crate) fn head(&mut self) -> Answer {
        let end = loop {
            match self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => assert!(self.read_more(), "no answer: {}", self.read.escape_ascii()),
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        Answer::of_head(&head)
    }

    /// Reads the end of the connection, and fails if anything comes before it.
    pub(crate) fn closed(mut self) {
        assert!(!self.read_more(), "{}", self.read.escape_ascii());
    }

    fn read_more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // The machine was suspended meanwhile.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read_more(),
            Err(error) => panic!("{error}"),
        }
    }
}

impl Answer {
    /// An answer whose body is yet to come.
    pub(crate) fn of_head(head: &str) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let (version, status) = lines.next().unwrap().split_once(' ').unwrap();
        // Probes are answered in the version that they asked in.
        assert!(["HTTP/1.1", "HTTP/1.0"].contains(&version), "{head}");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self {
            status: status[..3].parse().unwrap(),
            headers: lines.map(header).collect(),
            body: String::new(),
        }
    }

    /// The value of a header, asserted to occur once.
    pub(crate) fn header(&self, name: &str) -> &str {
        let values: Vec<&str> = self.all(name).collect();
        assert_eq!(values.len(), 1, "{name} in {self:#?}");
        values[0]
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether the connection closes after it.
    pub(crate) fn is_last(&self) -> bool {
        self.all("connection").eq(["close"])
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    pub(crate) fn error_msg(&self) -> String {
        self.json()["error_msg"].as_str().unwrap().to_owned()
    }

    /// The same, which has this status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The same, which is a refusal with this status and code.
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        self.is_refusal(status, code);
        self
    }

    /// Asserts a complete answer of the proxy itself: status, code, text, and the id three times.
    pub(crate) fn is_refusal(&self, status: u16, code: &str) {
        let body = self.json();
        assert_eq!((self.status, body["error_code"].as_str()), (status, Some(code)), "{self:#?}");
        assert_eq!(self.header("content-type"), "application/json");
        assert!(self.header("date").ends_with(" GMT"), "{self:#?}");
        let id = self.header("x-request-id");
        assert_eq!((self.header("proxy-request-id"), &body["request_id"]), (id, &Value::from(id)));
        assert!(is_request_id(id), "{id}");
        let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["error_code", "error_msg", "request_id"]);
        let status = self.header("proxy-status");
        assert!(status.starts_with("mpc-auth-proxy; error="), "{status}");
        assert!(status.contains("; details=\"") && status.ends_with('"'), "{status}");
    }
}

/// `uuid-timestamp-hostname`.
fn is_request_id(id: &str) -> bool {
    let parts: Vec<&str> = id.splitn(7, '-').collect();
    let lengths = parts.iter().take(5).map(|part| part.len()).eq([8, 4, 4, 4, 12]);
    lengths && parts.len() == 7 && parts[5].parse::<u64>().is_ok() && !parts[6].is_empty()
}

pub(crate) trait IntoStream {
    fn into_stream(self) -> Box<dyn Stream>;
}

impl IntoStream for TcpStream {
    fn into_stream(self) -> Box<dyn Stream> {
        self.set_read_timeout(Some(BOUND)).unwrap();
        Box::new(self)
    }
}

impl IntoStream for UnixStream {
    fn into_stream(self) -> Box<dyn Stream> {
        self.set_read_timeout(Some(BOUND)).unwrap();
        Box::new(self)
    }
}

impl Stream for TcpStream {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Stream for UnixStream {
    fn half_close(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn half_close(&self) {
        self.sock.shutdown(Shutdown::Write).unwrap();
    }
}
