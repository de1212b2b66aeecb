//! Property tests with random requests: the signature covers all of a request, and nothing else.

use super::{SigningKey, Timestamp, Unsigned, explain, sign};
use crate::secret::Secret;
use chrono::{TimeZone, Utc};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

/// A request whose parts tests can change or reorder.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    path: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: String,
    seconds: i64,
}

impl Request {
    fn signature(&self) -> String {
        self.with_parts(|request, key, at| sign(request, key, at).unwrap().authorization().to_owned())
    }

    fn canonical_request(&self) -> String {
        self.with_parts(|request, key, at| explain(request, key, at).unwrap().canonical_request)
    }

    fn with_parts(&self, work: impl Fn(&Unsigned<'_>, &SigningKey, Timestamp) -> String) -> String {
        let path: String = self.path.iter().map(|segment| format!("/{segment}")).collect();
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers: Vec<(&str, &[u8])> = vec![("host", b"mpc.example")];
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        let key = SigningKey::new("AK", &Secret::new("SK"), Some(Secret::new("T"))).unwrap();
        let request = Unsigned {
            method: &self.method,
            path: &path,
            query: &query.join("&"),
            headers: &headers,
            body: self.body.as_bytes(),
        };
        work(&request, &key, Utc.timestamp_opt(self.seconds, 0).unwrap().into())
    }

    /// Returns every text in which a changed byte must change the signature.
    fn texts(&mut self) -> Vec<&mut String> {
        let Self { method, path, query, headers, body, .. } = self;
        let mut texts = vec![method, body];
        texts.extend(path);
        texts.extend(query.iter_mut().flat_map(|(name, value)| [name, value]));
        texts.extend(headers.iter_mut().map(|(_, value)| value));
        texts
    }
}

fn request() -> impl Strategy<Value = Request> {
    let word = || "[A-Za-z0-9_.~-]{1,12}";
    (
        "[A-Z]{3,7}",
        vec(word(), 1..5),
        vec((word(), word()), 0..5),
        btree_map("x-[a-z]{1,8}", "[a-zA-Z0-9/:;,]{1,12}", 0..5),
        "[a-z{}]{1,20}",
        0..4_000_000_000_i64,
    )
        .prop_map(|(method, path, query, headers, body, seconds)| {
            let headers = headers.into_iter().collect();
            Request { method, path, query, headers, body, seconds }
        })
}

/// Changes a byte to another that is allowed everywhere in a [`Request`].
fn change(text: &mut String, at: Index) {
    let at = at.index(text.len());
    let other = if text.as_bytes()[at] == b'Z' { "Y" } else { "Z" };
    text.replace_range(at..=at, other);
}

proptest! {
    #[test]
    fn any_changed_byte_changes_the_signature(request in request(), which: Index, at: Index) {
        let mut changed = request.clone();
        let mut texts = changed.texts();
        let which = which.index(texts.len());
        change(texts[which], at);
        prop_assert_ne!(request.signature(), changed.signature());
    }

    #[test]
    fn another_second_changes_the_signature(request in request(), later in 1..1_000_i64) {
        let mut changed = request.clone();
        changed.seconds += later;
        prop_assert_ne!(request.signature(), changed.signature());
    }

    #[test]
    fn another_key_changes_the_signature(request in request(), secret in "[a-z]{1,20}") {
        let with_key = |secret: &str| request.with_parts(|request, _, at| {
            let key = SigningKey::new("AK", &Secret::new(secret), None).unwrap();
            sign(request, &key, at).unwrap().authorization().to_owned()
        });
        prop_assert_ne!(with_key(&secret), with_key("SK"));
    }

    #[test]
    fn the_order_of_headers_and_parameters_is_not_signed(
        request in request(),
        headers: Index,
        parameters: Index,
    ) {
        let mut reordered = request.clone();
        reordered.headers.reverse();
        reordered.query.reverse();
        if !request.headers.is_empty() {
            reordered.headers.rotate_left(headers.index(request.headers.len()));
        }
        if !request.query.is_empty() {
            reordered.query.rotate_left(parameters.index(request.query.len()));
        }
        prop_assert_eq!(request.canonical_request(), reordered.canonical_request());
        prop_assert_eq!(request.signature(), reordered.signature());
    }

    #[test]
    fn the_case_of_header_names_is_not_signed(mut request in request()) {
        let signature = request.signature();
        request.headers.iter_mut().for_each(|(name, _)| name.make_ascii_uppercase());
        prop_assert_eq!(request.signature(), signature);
    }

    #[test]
    fn an_escape_of_a_plain_character_is_not_signed(mut request in request()) {
        let signature = request.signature();
        let escape = |text: &mut String| *text = text.bytes().map(|b| format!("%{b:02x}")).collect();
        request.path.iter_mut().for_each(escape);
        request.query.iter_mut().for_each(|(name, value)| { escape(name); escape(value); });
        prop_assert_eq!(request.signature(), signature);
    }

    #[test]
    fn no_text_makes_signing_panic_or_forges_a_line(
        path in "[!-~é\n]{0,8}",
        query in "[!-~é\n]{0,8}",
        name in "[!-~\n]{1,3}",
        value in "[ -~é\r\n]{0,6}",
    ) {
        let key = SigningKey::new("AK", &Secret::new("SK"), None).unwrap();
        let at = Timestamp::parse("20260115T083000Z").unwrap();
        let (path, headers) = (format!("/{path}"), [("host", b"h".as_slice()), (&name, value.as_bytes())]);
        let request = Unsigned { method: "GET", path: &path, query: &query, headers: &headers, body: b"" };
        if let Ok(explained) = explain(&request, &key, at) {
            let signed_headers = explained.signed.signed_headers().split(';').count();
            prop_assert_eq!(explained.canonical_request.lines().count(), 3 + signed_headers + 1 + 2);
        }
    }
}
