//! An independent parser of heads, which shares only the documentation with the product.
//!
//! It has no dependencies, because the tests over sockets include this file.

use memchr::{memchr, memchr_iter};

/// A listener.
pub(crate) struct Gate {
    /// The accepted values of `Host`, without ports.
    pub(crate) hosts: &'static [&'static str],
    /// The caller that the listener identifies.
    pub(crate) caller: Option<&'static str>,
    /// The accepted bearer tokens with their callers; empty if it accepts none.
    pub(crate) tokens: &'static [(&'static str, &'static str)],
}

/// A call that must be permitted if the policy allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call<'h> {
    /// The caller.
    pub(crate) caller: &'static str,
    /// The project as written.
    pub(crate) project: &'h str,
    /// The job, or the whole query of a view.
    pub(crate) job: &'h str,
    /// The method and the URL, with `P` and `J` as placeholders.
    pub(crate) form: &'static str,
    /// The length of its body.
    pub(crate) body: usize,
}

/// The three URLs by which jobs are cancelled.
pub(crate) const FORMS: [&str; 3] = [
    "DELETE /v2/P/editing/jobs/J",
    "DELETE /v2/P/editing/job?job_id=J",
    "DELETE /v1/P/editing/jobs?job_id=J",
];
/// The URLs by which jobs are viewed.
pub(crate) const VIEWS: [&str; 3] =
    ["GET /v1/P/editing/jobs?J", "GET /v2/P/editing/jobs?J", "GET /v1/P/editing/jobs"];

/// The URLs by which jobs are created.
pub(crate) const CREATES: [&str; 2] = ["POST /v1/P/editing/jobs", "POST /v2/P/editing/jobs"];

/// Bodies of creates, with buckets that everybody may use.
pub(crate) const BODIES: [&str; 3] = [
    r#"{"edit_type":["CLIP"],"clips":[{"input":{"bucket":"media-in","location":"l","object":"a/b.mp4"}}],
        "output_setting":{"output":{"bucket":"media-out","location":"l","object":"c/","file_name":"d"}},"user_data":"w"}"#,
    r#"{"inputs":[{"input":{"bucket":"media-in","object":"\u8bfe\ud83c\udfac"}}],"output":{"bucket":"media-out","object":"x"}}"#,
    r#"{"input":{"bucket":"media-in","object":"o"},"output":{"bucket":"media-out","object":"p"},"x":[-0,1.5,null,true,[[{}]]]}"#,
];

/// Returns where the first head of these bytes ends. `None` if it is unfinished.
pub(crate) fn end(bytes: &[u8]) -> Option<usize> {
    let start = blank_lines(bytes);
    let ends = memchr_iter(b'\n', &bytes[start..]).map(|at| start + at + 1);
    ends.into_iter().find(|end| bytes[start..*end].ends_with(b"\r\n\r\n"))
}

/// Parses the one call of a head. `None` if the head must be refused.
pub(crate) fn read<'h>(head: &'h [u8], gate: &Gate) -> Option<Call<'h>> {
    let text = &head[blank_lines(head)..];
    let (first, mut rest) = line(text.strip_suffix(b"\r\n")?)?;
    let (project, job, form) = target(first).or_else(|| view(first)).or_else(|| create(first))?;
    let mut found = Found::default();
    while !rest.is_empty() {
        let (header, behind) = line(rest)?;
        found.header(header)?;
        rest = behind;
    }
    let host = found.host.filter(|host| gate.hosts.iter().any(|own| is_host(own, host)));
    if host.is_none() || found.count > 64 {
        return None;
    }
    let body = if CREATES.contains(&form) { found.body()? } else { found.nothing()? };
    Some(Call { caller: found.caller(gate)?, project, job, form, body })
}

/// Counts the empty lines before a head.
fn blank_lines(bytes: &[u8]) -> usize {
    2 * bytes.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count()
}

/// Splits off a line without its end.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = bytes.split_at(memchr(b'\n', bytes)? + 1);
    Some((line.strip_suffix(b"\r\n")?, rest))
}

fn target(line: &[u8]) -> Option<(&str, &str, &'static str)> {
    let target = line.strip_prefix(b"DELETE /v")?;
    let target = target.strip_suffix(b" HTTP/1.1").or(target.strip_suffix(b" HTTP/1.0"))?;
    let (version, rest) = target.split_at_checked(2)?;
    let (project, rest) = segment(rest)?;
    let (between, form) = match version {
        b"2/" if rest.starts_with(b"/editing/jobs/") => ("/editing/jobs/", FORMS[0]),
        b"2/" => ("/editing/job?job_id=", FORMS[1]),
        b"1/" => ("/editing/jobs?job_id=", FORMS[2]),
        _ => return None,
    };
    let (job, behind) = segment(rest.strip_prefix(between.as_bytes())?)?;
    behind.is_empty().then_some((project, job, form))
}

fn create(line: &[u8]) -> Option<(&str, &str, &'static str)> {
    let target = line.strip_prefix(b"POST /v")?;
    let target = target.strip_suffix(b" HTTP/1.1").or(target.strip_suffix(b" HTTP/1.0"))?;
    let (version, rest) = target.split_at_checked(2)?;
    let (project, rest) = segment(rest)?;
    match (version, rest) {
        (b"1/", b"/editing/jobs") => Some((project, "", CREATES[0])),
        (b"2/", b"/editing/jobs") => Some((project, "", CREATES[1])),
        _ => None,
    }
}

fn view(line: &[u8]) -> Option<(&str, &str, &'static str)> {
    let target = line.strip_prefix(b"GET /v")?;
    let target = target.strip_suffix(b" HTTP/1.1").or(target.strip_suffix(b" HTTP/1.0"))?;
    let (version, rest) = target.split_at_checked(2)?;
    let (project, rest) = segment(rest)?;
    let rest = std::str::from_utf8(rest.strip_prefix(b"/editing/jobs")?).ok()?;
    let query = rest.strip_prefix('?');
    match (version, query) {
        (b"1/", None) if rest.is_empty() => Some((project, "", VIEWS[2])),
        (b"1/", Some(query)) if are_ids(query) || are_filters(query) => Some((project, query, VIEWS[0])),
        (b"2/", Some(query)) if are_ids(query) => Some((project, query, VIEWS[1])),
        _ => None,
    }
}

/// Whether a query has one to ten different jobs.
fn are_ids(query: &str) -> bool {
    let pairs: Vec<&str> = query.split('&').collect();
    let is_id = |pair: &str| pair.strip_prefix("job_id=").is_some_and(is_segment);
    let is_new = |(at, pair): (usize, &&str)| !pairs[..at].contains(pair);
    pairs.len() <= 10 && pairs.iter().all(|pair| is_id(pair)) && pairs.iter().enumerate().all(is_new)
}

/// Whether a query has valid filters, each once.
fn are_filters(query: &str) -> bool {
    let mut names = Vec::new();
    query.split('&').all(|pair| {
        let Some((name, value)) = pair.split_once('=') else { return false };
        let is_new = !names.contains(&name);
        names.push(name);
        let number = |most: u32| {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            let plain = digits && (value == "0" || !value.starts_with('0'));
            value.parse().ok().filter(|number: &u32| plain && *number <= most)
        };
        is_new
            && match name {
                "status" => {
                    ["INIT", "WAITING", "PREPROCESSING", "SUCCEED", "FAILED", "CANCELED"].contains(&value)
                }
                "start_time" | "end_time" => is_moment(value),
                "page" => number(50_000).is_some(),
                "size" => number(100).is_some_and(|number| number > 0),
                _ => false,
            }
    })
}

/// Whether it is an existing time in the form `yyyymmddhhmmss`.
fn is_moment(text: &str) -> bool {
    let number = |from: usize, to: usize| text.get(from..to).and_then(|digits| digits.parse::<u32>().ok());
    let parts = [(0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14)].map(|(from, to)| number(from, to));
    let [Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)] = parts else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    let plain = text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit());
    // There are leap seconds.
    plain && (1..=days).contains(&day) && hour < 24 && minute < 60 && second <= 60
}

/// Splits off a project or a job.
fn segment(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| !in_segment(byte)).unwrap_or(bytes.len());
    let (segment, behind) = bytes.split_at(end);
    Some((std::str::from_utf8(segment).ok().filter(|text| is_segment(text))?, behind))
}

fn in_segment(byte: &u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')
}

/// Whether it is a valid project or job.
pub(crate) fn is_segment(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| in_segment(&byte))
}

/// The relevant headers.
#[derive(Default)]
struct Found<'h> {
    count: usize,
    host: Option<&'h [u8]>,
    length: Option<&'h [u8]>,
    /// Whether Content-Length is spelt with `_`.
    is_length_respelled: bool,
    content_type: Option<&'h [u8]>,
    /// Whether the type is repeated or respelled.
    two_types: bool,
    authorization: Option<&'h [u8]>,
    proxy_authorization: Option<&'h [u8]>,
    /// Whether one of the two is repeated or respelled.
    two_authorizations: bool,
    /// Whether any of these presents a bearer token.
    bearer: bool,
}

impl<'h> Found<'h> {
    /// Reads a header. `None` if it is invalid or not allowed.
    fn header(&mut self, line: &'h [u8]) -> Option<()> {
        let (name, value) = header(line)?;
        self.count += 1;
        // `_` counts as `-`, and case does not matter.
        let mut plain = [0; 32];
        let plain = plain.get_mut(..name.len()).unwrap_or_default();
        for (to, from) in plain.iter_mut().zip(name) {
            *to = if *from == b'_' { b'-' } else { from.to_ascii_lowercase() };
        }
        let respelled = name.contains(&b'_');
        self.bearer |= means_bearer(plain, value);
        match &*plain {
            b"transfer-encoding" | b"trailer" | b"content-encoding" => return None,
            b"expect" => return value.eq_ignore_ascii_case(b"100-continue").then_some(()),
            b"origin" | b"sec-fetch-site" => return None,
            b"host" if self.host.is_some() => return None,
            b"host" => self.host = Some(value),
            b"content-length" => {
                self.is_length_respelled |= respelled;
                return self.length.replace(value).is_none().then_some(());
            }
            b"content-type" => {
                self.two_types |= self.content_type.replace(value).is_some() || respelled;
            }
            b"authorization" => self.two_authorizations |= self.authorization.replace(value).is_some(),
            b"proxy-authorization" => {
                self.two_authorizations |= self.proxy_authorization.replace(value).is_some() || respelled;
            }
            _ => {}
        }
        Some(())
    }

    /// Checks that it declares no body.
    fn nothing(&self) -> Option<usize> {
        self.length.is_none_or(|length| length == b"0").then_some(0)
    }

    /// Returns the length of its JSON body.
    fn body(&self) -> Option<usize> {
        let length = std::str::from_utf8(self.length.filter(|_| !self.is_length_respelled)?).ok()?;
        let number: usize = length.parse().ok().filter(|number: &usize| number.to_string() == length)?;
        let text = std::str::from_utf8(self.content_type.filter(|_| !self.two_types)?).ok()?;
        let lower = text.to_ascii_lowercase();
        let (kind, parameter) =
            lower.split_once(';').map_or((&*lower, None), |(kind, rest)| (kind, Some(rest)));
        let bare = |text: &str| text.trim_matches([' ', '\t']).to_owned();
        let is_utf8 = |text: &str| ["charset=utf-8", "charset=\"utf-8\""].contains(&&*bare(text));
        let is_json = bare(kind) == "application/json" && parameter.is_none_or(is_utf8);
        (is_json && number <= 262_144).then_some(number)
    }

    /// Returns the caller that all credentials agree on.
    fn caller(&self, gate: &Gate) -> Option<&'static str> {
        if gate.tokens.is_empty() {
            return gate.caller.filter(|_| !self.bearer);
        }
        if self.two_authorizations {
            return None;
        }
        // A client of Huawei's SDK signs with keys of its own.
        let by_sdk = |value: &&[u8]| scheme(value).eq_ignore_ascii_case(b"SDK-HMAC-SHA256");
        let tokens = [self.authorization.filter(|value| !by_sdk(value)), self.proxy_authorization];
        let mut caller = gate.caller;
        for value in tokens.into_iter().flatten() {
            let scheme = scheme(value);
            let rest = &value[scheme.len()..];
            // One or more spaces (RFC 9110, section 11.4), no other white space.
            let token = &rest[rest.iter().take_while(|byte| **byte == b' ').count()..];
            let known = gate.tokens.iter().find(|(known, _)| known.as_bytes() == token);
            let owner = known.filter(|_| scheme.eq_ignore_ascii_case(b"Bearer"))?.1;
            if caller.is_some_and(|caller| caller != owner) {
                return None;
            }
            caller = Some(owner);
        }
        caller
    }
}

/// Whether a header of this name presents a bearer token, or something that may be taken for one.
fn means_bearer(name: &[u8], value: &[u8]) -> bool {
    let Some((word, rest)) = value.split_at_checked(6) else { return false };
    (name == b"authorization" || name == b"proxy-authorization")
        && word.eq_ignore_ascii_case(b"bearer")
        && !rest.first().is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'-')
}

/// Splits into the name and the trimmed value.
fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if name.is_empty() || !name.iter().all(token) || !value.iter().all(text) {
        return None;
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    Some((name, &value[start..end]))
}

fn scheme(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b' ').next().unwrap_or_default()
}

fn is_host(own: &str, host: &[u8]) -> bool {
    let Some((name, rest)) = host.split_at_checked(own.len()) else { return false };
    let port = |rest: &[u8]| match rest.strip_prefix(b":") {
        Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let add = |port: u32, digit: &u8| (port * 10 + u32::from(digit - b'0')).min(1 << 16);
            digits.iter().fold(0, add) < 1 << 16
        }
        _ => false,
    };
    name.eq_ignore_ascii_case(own.as_bytes()) && (rest.is_empty() || port(rest))
}
