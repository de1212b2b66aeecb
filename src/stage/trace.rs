//! W3C Trace Context, the only headers of a caller's that are passed on.
//!
//! Both headers must match the specification's grammar. Invalid ones are dropped, as the specification says, and never a
//! reason to refuse.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A valid `traceparent`, and its `tracestate` if that is valid, too.
#[derive(Clone)]
pub(super) struct TraceContext {
    pub(super) parent: HeaderValue,
    pub(super) state: Option<HeaderValue>,
}

impl TraceContext {
    /// Returns the context of a request, if it has exactly one valid `traceparent`.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let parent = single(headers, &TRACEPARENT).filter(|v| is_parent(v.as_bytes()))?;
        let state = single(headers, &TRACESTATE).filter(|v| is_state(v.as_bytes()));
        Some(Self { parent: parent.clone(), state: state.cloned() })
    }

    /// Returns the trace id: 32 hexadecimal digits.
    pub(super) fn trace_id(&self) -> &str {
        self.parent.to_str().ok().and_then(|v| v.get(3..35)).unwrap_or_default()
    }
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case, neither id all zeros (section 3.2.2).
fn is_parent(value: &[u8]) -> bool {
    let mut fields = value.split(|b| *b == b'-');
    let mut field = |length: usize| {
        fields
            .next()
            .filter(|f| f.len() == length && f.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    let (Some(version), Some(trace), Some(parent), Some(_)) = (field(2), field(32), field(16), field(2))
    else {
        return false;
    };
    let not_zero = |id: &[u8]| id.iter().any(|b| *b != b'0');
    version == b"00" && not_zero(trace) && not_zero(parent) && fields.next().is_none()
}

/// At most 512 bytes (section 3.3.1.5) and 32 members, each empty or `key=value` (section 3.3.1.3).
fn is_state(value: &[u8]) -> bool {
    let members = || value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    (1..=32).contains(&members().count()) && value.len() <= 512 && members().all(is_member)
}

fn is_member(member: &[u8]) -> bool {
    let mut parts = member.split(|b| *b == b'=');
    let (Some(key), Some(value), None) = (parts.next(), parts.next(), parts.next()) else { return false };
    let starts = key.first().is_some_and(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'));
    let allowed = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let printable = value.iter().all(|b| matches!(b, b' '..=b'~'));
    starts && key.len() <= 256 && key.iter().all(allowed) && value.len() <= 256 && printable
}

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_specification_allows_is_a_traceparent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_parent(good.as_bytes()));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(!is_parent(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn only_what_the_specification_allows_is_a_tracestate() {
        let many = |count: usize| vec!["a=1"; count].join(",");
        for good in ["a=1", "a=1,b=2", " a=1 ,\t, b=x y", "tenant@system=1", "0a/b*c-d_e=", &many(32)] {
            assert!(is_state(good.as_bytes()), "{good}");
        }
        let (long_key, long_value) = (format!("{}=1", "a".repeat(257)), format!("a={}", "1".repeat(257)));
        let all = format!("a={},b={}", "1".repeat(255), "1".repeat(255));
        for bad in [
            "",
            ",",
            "a",
            "=1",
            "A=1",
            "_a=1",
            "a b=1",
            "a=1=2",
            "a=\t1",
            "a=1,evil",
            "X-Evil=1",
            "a:b=1",
            &long_key,
            &long_value,
            &all,
            &many(33),
        ] {
            assert!(!is_state(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn two_traceparents_are_none() {
        let good = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut headers = HeaderMap::new();
        headers.append("traceparent", good.clone());
        headers.append("tracestate", HeaderValue::from_static("a=1,b=2"));
        let context = TraceContext::of(&headers).unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.state.unwrap(), "a=1,b=2");
        headers.append("traceparent", good);
        assert!(TraceContext::of(&headers).is_none());
    }
}
