//! Generates heads of the grammar with one or two mistakes.
//!
//! It uses only `oracle`, because the tests over sockets include both files.

use fastrand::Rng;

use super::oracle::BODIES;

/// An endless sequence of heads, the same for the same seed.
pub(crate) struct Heads {
    rng: Rng,
    /// Heads to start from, in addition to generated ones.
    corpus: Vec<Vec<u8>>,
    head: Vec<u8>,
}

impl Heads {
    /// Creates the sequence of a seed.
    pub(crate) fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Self {
        Self { rng: Rng::with_seed(seed), corpus, head: Vec::with_capacity(4096) }
    }

    /// Returns the next head, mostly for this job.
    pub(crate) fn next(&mut self, job: &str) -> &[u8] {
        self.head.clear();
        if self.rng.u32(..16) == 0 && !self.corpus.is_empty() {
            let known = self.rng.usize(..self.corpus.len());
            self.head.extend_from_slice(&self.corpus[known]);
        } else {
            self.grammar(job);
        }
        if self.rng.u32(..8) < 3 {
            for _ in 0..self.rng.u32(1..4) {
                self.mutate();
            }
        }
        &self.head
    }

    fn grammar(&mut self, job: &str) {
        let (methods, forms) = match self.rng.u32(..8) {
            0 => (["POST"], &CREATES[..]),
            1 | 2 => (["GET"], &VIEWS[..]),
            _ => (["DELETE"], &FORMS[..]),
        };
        let method = self.mostly(&methods, &METHODS);
        self.put(method);
        self.put(" ");
        let form = self.mostly(forms, &STRANGE_FORMS);
        for piece in form.split_inclusive(['P', 'J']) {
            self.put(piece.trim_end_matches(['P', 'J']));
            match piece.bytes().last() {
                Some(b'P') => {
                    let project = self.mostly(&PROJECTS, &STRANGE_PROJECTS);
                    self.put(project);
                }
                Some(b'J') => {
                    self.put(job);
                    let rest = self.mostly(&[""], &AFTER_JOBS);
                    self.put(rest);
                }
                _ => {}
            }
        }
        self.put(" ");
        let version = self.mostly(&["HTTP/1.1"], &VERSIONS);
        self.put(version);
        self.put("\r\n");
        let host = self.mostly(&HOSTS, &STRANGE_HOSTS);
        self.field(host);
        for _ in 0..self.rng.u32(..5) {
            let header = self.mostly(&HEADERS, &STRANGE_HEADERS);
            self.field(header);
        }
        if methods == ["POST"] {
            self.body();
        } else {
            self.put("\r\n");
        }
    }

    /// Writes the end of a head and its body.
    fn body(&mut self) {
        let body = self.mostly(&BODIES, &STRANGE_BODIES);
        let kind = self.mostly(&TYPES, &STRANGE_TYPES);
        self.field(kind);
        self.field(&format!("Content-Length: {}", body.len()));
        self.put("\r\n");
        self.put(body);
    }

    fn field(&mut self, text: &str) {
        self.put(text);
        self.put("\r\n");
    }

    fn put(&mut self, text: &str) {
        self.head.extend_from_slice(text.as_bytes());
    }

    /// Returns a usual value or, occasionally, a strange one.
    fn mostly(&mut self, usual: &[&'static str], strange: &[&'static str]) -> &'static str {
        let from = if self.rng.u32(..24) == 0 { strange } else { usual };
        from[self.rng.usize(..from.len())]
    }

    fn mutate(&mut self) {
        let at = self.rng.usize(..=self.head.len());
        let end = self.rng.usize(at..=(at + 24).min(self.head.len()));
        match self.rng.u32(..7) {
            0 => drop(self.head.drain(at..end)),
            1 => self.head.extend_from_within(at..end),
            2 => {
                let piece = PIECES[self.rng.usize(..PIECES.len())];
                self.head.splice(at..at, piece.iter().copied());
            }
            3 => {
                let piece = PIECES[self.rng.usize(..PIECES.len())];
                self.head.splice(at..end, piece.iter().copied());
            }
            4 => {
                let again: Vec<u8> = self.head[at..end].to_vec();
                self.head.splice(at..at, again);
            }
            5 => {
                if let Some(byte) = self.head.get_mut(at) {
                    *byte = self.rng.u8(..);
                }
            }
            _ => {
                if let Some(byte) = self.head.get_mut(at) {
                    *byte ^= 1 << self.rng.u32(..8);
                }
            }
        }
    }
}

const FORMS: [&str; 3] =
    ["/v2/P/editing/jobs/J", "/v2/P/editing/job?job_id=J", "/v1/P/editing/jobs?job_id=J"];
const CREATES: [&str; 2] = ["/v1/P/editing/jobs", "/v2/P/editing/jobs"];
const STRANGE_BODIES: [&str; 10] = [
    "",
    "{}",
    "[]",
    r#"{"input":{"bucket":"masters","object":"o"}}"#,
    r#"{"a":{"bucket":"media-in","object":"o"}}"#,
    r#"{"input":{"bucket":"media-in","bucket":"masters","object":"o"}}"#,
    r#"{"input":{"Bucket":"masters","object":"o"}}"#,
    r#"{"input":{"bucket":"media-in","object":"../masters/o"}}"#,
    r#"{"inputs":[{"input":{"bucket":"media-in","object":"a"}},{"input":{"bucket":"masters","object":"a"}}]}"#,
    "DELETE /v2/media-prod/editing/jobs/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
];
const TYPES: [&str; 3] = [
    "Content-Type: application/json",
    "content-type: Application/JSON;charset=UTF-8",
    "Content-Type: application/json ; charset=\"utf-8\"",
];
const STRANGE_TYPES: [&str; 7] = [
    "Content-Type: text/plain",
    "Content-Type: application/json; charset=utf-16",
    "Content-Type: application/json; charset=utf-8; x=y",
    "Content_Type: application/json",
    "Content-Type: application/json, text/plain",
    "Content-Type:",
    "X-Content-Type: application/json",
];
const VIEWS: [&str; 8] = [
    "/v1/P/editing/jobs?job_id=J",
    "/v2/P/editing/jobs?job_id=J",
    "/v2/P/editing/jobs?job_id=z&job_id=J&job_id=1",
    "/v1/P/editing/jobs?job_id=J&job_id=a&job_id=b&job_id=c&job_id=d&job_id=e&job_id=f&job_id=g&job_id=h&job_id=i",
    "/v1/P/editing/jobs",
    "/v1/P/editing/jobs?status=WAITING&size=10&page=0",
    "/v1/P/editing/jobs?start_time=20240229235960&end_time=20260102000000",
    "/v1/P/editing/jobs?page=50000",
];
const STRANGE_FORMS: [&str; 22] = [
    "/v2/P/editing/jobs",
    "/v1/P/editing/jobs?",
    "/v1/P/editing/jobs?job_id=J&job_id=J",
    "/v1/P/editing/jobs?job_id=J&page=1",
    "/v1/P/editing/jobs?page=1&page=1",
    "/v1/P/editing/jobs?start_time=20250229000000",
    "/v1/P/editing/jobs?size=0101",
    "/v2/P/editing/jobs?status=WAITING",
    "//v2/P/editing/jobs/J",
    "/v2/P/editing/jobs/J/",
    "/v2/P/../P/editing/jobs/J",
    "/v2/P/Editing/jobs/J",
    "/v2/P/editing/jobs?job_id=J",
    "/v1/P/editing/jobs/J",
    "/v2/P/editing/jobs/J?job_id=J",
    "/v2/P/editing/job?job_id=J&job_id=J",
    "/v2/P/editing/job?x=1&job_id=J",
    "/v2/P/editing/job?JOB_ID=J",
    "/v2/P/editing/job#?job_id=J",
    "http://localhost/v2/P/editing/jobs/J",
    "*",
    "/",
];
const PROJECTS: [&str; 4] =
    ["media-prod", "media-test", "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "1a1b2c3d4e5f60718293a4b5c6d7e8f9"];
const STRANGE_PROJECTS: [&str; 7] =
    ["elsewhere", "", "..", "media%2dprod", "MEDIA-PROD", "media-prod;x=1", "media-prod/media-test"];
const AFTER_JOBS: [&str; 10] = ["%2F", "/..", ";x", "?", "&", "#", "%00", "\u{e9}", ".", "a"];
const METHODS: [&str; 8] = ["GET", "delete", "DELET", "POST", "OPTIONS", "CONNECT", "DELETE DELETE", ""];
const VERSIONS: [&str; 6] = ["HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/1.11", ""];
const HOSTS: [&str; 6] = [
    "Host: localhost",
    "Host: 127.0.0.1:8080",
    "host: LocalHost:1",
    "Host: [::1]:8080",
    "Host: proxy.media.svc:8443",
    "HOST:\tproxy.media.svc ",
];
const STRANGE_HOSTS: [&str; 12] = [
    "Host: localhost:",
    "Host: localhost:65536",
    "Host: evil.example",
    "Host: localhost@evil.example",
    "Host: localhost:80:80",
    "Host: localhost.",
    "Host: localhost:x",
    "Host: localhost, evil.example",
    "Host: [::1",
    "Host:",
    "Hos_t: localhost",
    "X-Forwarded-Host: localhost",
];
const HEADERS: [&str; 11] = [
    "User-Agent: huaweicloud-usdk-python/3.0",
    "Accept: */*",
    "Content-Length: 0",
    "Content-Type: application/json",
    "Connection: keep-alive, x-project-id",
    "X-Project-Id: somebody-elses",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate: a=1,b=2",
    "Authorization: Bearer cleaner-token-0123456789",
    "Proxy-Authorization: bearer oncall-token-0123456789",
    "Authorization: SDK-HMAC-SHA256 Access=dummy, SignedHeaders=host, Signature=00",
];
const STRANGE_HEADERS: [&str; 28] = [
    "Host: localhost",
    "host: evil.example",
    "Content-Length: 1",
    "Content-Length: 00",
    "Content-Length: +0",
    "Content-Length : 0",
    "content_length: 0",
    "content_length: 5",
    "Transfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding: identity",
    "TE: trailers",
    "Trailer: x",
    "Upgrade: h2c",
    "Expect: 100-continue",
    "Origin: null",
    "Sec_Fetch-Site: cross-site",
    "Authorization: Bearer cleaner-token-012345678",
    "Authorization: Basic YTpi",
    "Authorization:  Bearer   oncall-token-0123456789",
    "Proxy-Authorization: Bearer cleaner-token-0123456789",
    "Proxy_Authorization: Bearer cleaner-token-0123456789",
    "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    "tracestate: \u{e9}",
    " folded: value",
    ": no name",
    "no colon",
    "X-Caller-Id: oncall",
];
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\n\n",
    b"\0",
    b"\t",
    b" ",
    b"/",
    b"..",
    b"%",
    b"%2f",
    b"#",
    b"?",
    b"&",
    b";",
    b":",
    b"_",
    b"-",
    b"=",
    b"\xff",
    b"\xc3\xa9",
    b"DELETE ",
    b"HTTP/1.1",
];
