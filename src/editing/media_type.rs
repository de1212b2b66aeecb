//! Recognises the media type of JSON in UTF-8.

/// Whether this value of `Content-Type` is `application/json`, with no parameter or `charset=utf-8`.
pub fn is_json(content_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content_type) else { return false };
    let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
    let media_type = parts.next().unwrap_or_default();
    let is_utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        name.eq_ignore_ascii_case("charset") && bare.eq_ignore_ascii_case("utf-8")
    };
    media_type.eq_ignore_ascii_case("application/json")
        && parts.next().is_none_or(is_utf8)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_utf_8_is_taken_and_nothing_else() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json;charset=UTF-8", true),
            ("application/json ; charset=\"utf-8\"", true),
            ("", false),
            ("application/json;", false),
            ("application/json;charset=latin1", false),
            ("application/json;charset=utf-8;charset=utf-16", false),
            ("application/json;version=1", false),
            ("application/json, text/plain", false),
            ("application/json+x", false),
            ("text/json", false),
            ("application/jsön", false),
        ] {
            assert_eq!(is_json(value.as_bytes()), expected, "{value}");
        }
        assert!(!is_json(b"application/json\xff"));
    }
}
