//! Pipelines: requests sent at once are answered one by one in order, up to the first that cannot be
//! trusted.

use super::{
    BAD, Case, FORBIDDEN, HOST, LINE, NOT_FOUND, TOO_LARGE, Then, Told, WRONG_HOST, cancelled, head, judge,
    with,
};

/// A good request was once refused when a broken one arrived with it.
#[test]
fn a_bad_request_says_nothing_about_the_one_before_it() {
    let good = head(LINE, &[HOST]);
    let mut cases = Vec::new();
    for (what, bad, told) in bad() {
        let closes = matches!(told, Told::Refused(400 | 431, _));
        let then = if closes { Then::Closed } else { Then::Usable };
        let behind = vec![cancelled(), told.clone()];
        cases.push(Case::told(format!("good, {what}"), format!("{good}{bad}"), behind, then));
        let missing = Told::Refused(NOT_FOUND.0, NOT_FOUND.1);
        let three = format!("{}{good}{bad}", head("DELETE / HTTP/1.1", &[HOST]));
        cases.push(Case::told(
            format!("not found, good, {what}"),
            three,
            vec![missing, cancelled(), told.clone()],
            then,
        ));
        let before = match closes {
            true => Case::told(format!("{what}, good"), format!("{bad}{good}"), vec![told], Then::Closed),
            false => Case::told(
                format!("{what}, good"),
                format!("{bad}{good}"),
                vec![told, cancelled()],
                Then::Usable,
            ),
        };
        cases.push(before);
    }
    judge(63, cases);
}

#[test]
fn many_requests_in_one_piece_are_all_answered() {
    let missing = || Told::Refused(NOT_FOUND.0, NOT_FOUND.1);
    let (root, good) = (head("DELETE / HTTP/1.1", &[HOST]), head(LINE, &[HOST]));
    judge(
        4,
        [
            Case::told(
                "two hundred",
                format!("{good}{}", root.repeat(200)),
                [vec![cancelled()], vec![missing(); 200]].concat(),
                Then::Usable,
            ),
            Case::told(
                "with empty lines between them",
                format!("{root}\r\n\r\n{root}\r\n{good}"),
                vec![missing(), missing(), cancelled()],
                Then::Usable,
            ),
            Case::told(
                "one of them says it is the last",
                format!("{root}{}{good}", with(&["Connection: close"])),
                vec![missing(), cancelled()],
                Then::Closed,
            ),
            Case::told(
                "more than one reading of the socket",
                good + &head("DELETE / HTTP/1.1", &[HOST, &format!("X-A: {}", "a".repeat(6000))]).repeat(20),
                [vec![cancelled()], vec![missing(); 20]].concat(),
                Then::Usable,
            ),
        ],
    );
}

#[test]
fn a_connection_of_which_no_call_was_passed_on_ends_with_its_eighth_refusal() {
    let missing = || Told::Refused(NOT_FOUND.0, NOT_FOUND.1);
    let (root, good) = (head("DELETE / HTTP/1.1", &[HOST]), head(LINE, &[HOST]));
    judge(
        3,
        [
            Case::told("nine refusals", root.repeat(9), vec![missing(); 8], Then::Closed),
            Case::told(
                "a call as the eighth, and refusals behind it",
                format!("{}{good}{}", root.repeat(7), root.repeat(9)),
                [vec![missing(); 7], vec![cancelled()], vec![missing(); 9]].concat(),
                Then::Usable,
            ),
            Case::told(
                "a call behind the eighth",
                format!("{}{good}", root.repeat(8)),
                vec![missing(); 8],
                Then::Closed,
            ),
        ],
    );
}

/// Refused requests with their codes.
pub(super) fn bad() -> Vec<(&'static str, String, Told)> {
    let refused = |(status, code)| Told::Refused(status, code);
    let good = head(LINE, &[HOST]);
    vec![
        ("a bare line feed", good.replacen("\r\n", "\n", 1), BAD),
        ("bare line feeds", good.replace("\r\n", "\n"), BAD),
        ("a fragment", good.replace("100211", "100211#"), BAD),
        ("a NUL", good.replace("Host", "H\0st"), BAD),
        ("a bare carriage return", good.replace("localhost", "local\rhost"), BAD),
        ("two lengths", with(&["Content-Length: 0", "Content-Length: 0"]), BAD),
        ("a length", with(&["Content-Length: 5"]), BAD),
        ("a coding", with(&["Transfer-Encoding: chunked"]), BAD),
        ("a trailer", with(&["Trailer: X-A"]), BAD),
        ("HTTP/1.2", good.replace("HTTP/1.1", "HTTP/1.2"), BAD),
        ("no version", good.replace(" HTTP/1.1", ""), BAD),
        ("no Host", head(LINE, &[]), BAD),
        ("a folded line", with(&["X-A: b\r\n c"]), BAD),
        ("a space before a colon", with(&["X-A : b"]), BAD),
        ("an encoded job", good.replace("100211", "%3100211"), BAD),
        ("garbage", "\x16\x03\x01\r\n\r\n".into(), BAD),
        ("too many headers", with(&["X-A: b"; 70]), refused(TOO_LARGE)),
        ("another Host", head(LINE, &["Host: evil.example"]), refused(WRONG_HOST)),
        ("an Origin", with(&["Origin: null"]), refused(FORBIDDEN)),
        ("another path", head("DELETE /x HTTP/1.1", &[HOST]), refused(NOT_FOUND)),
        ("a project that is not ours", good.replace("media-prod", "other"), refused(FORBIDDEN)),
    ]
}
