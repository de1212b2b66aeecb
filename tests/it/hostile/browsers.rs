//! Browsers: a page that reaches the listener, by DNS rebinding or otherwise, is no caller.

use super::{Case, FORBIDDEN, HOST, LINE, NO_METHOD, NOT_FOUND, WRONG_HOST, head, judge, with};

#[test]
fn a_request_that_a_page_had_sent_is_refused() {
    let mut cases = Vec::new();
    for (name, values) in [
        (
            "Origin",
            &[
                "http://localhost",
                "http://localhost:8080",
                "https://evil.example",
                "null",
                "",
                "file://",
                "chrome-extension://x",
            ][..],
        ),
        ("Sec-Fetch-Site", &["same-origin", "same-site", "cross-site", "none", "", "x"]),
    ] {
        for value in values {
            for name in [name.to_owned(), name.to_ascii_lowercase(), name.replace('-', "_")] {
                if name == "Origin" && value.is_empty() && cases.iter().any(|c: &Case| c.name == "Origin: ") {
                    continue;
                }
                let line = format!("{name}: {value}");
                if cases.iter().all(|case| case.name != line) {
                    cases.push(Case::refused(line.clone(), with(&[&line]), FORBIDDEN));
                }
            }
        }
    }
    cases.push(Case::refused("all that a browser says", with(BROWSER), FORBIDDEN));
    cases.push(Case::refused("two Origins", with(&["Origin: http://localhost", "Origin: null"]), FORBIDDEN));
    judge(34, cases);
}

#[test]
fn a_page_is_refused_whatever_else_it_asks_for() {
    let origin = "Origin: http://evil.example";
    let preflight = ["Access-Control-Request-Method: DELETE", "Access-Control-Request-Private-Network: true"];
    judge(
        6,
        [
            Case::refused(
                "a preflight",
                head(&LINE.replacen("DELETE", "OPTIONS", 1), &[HOST, origin, preflight[0], preflight[1]]),
                FORBIDDEN,
            ),
            Case::refused(
                "a preflight without its origin",
                head(&LINE.replacen("DELETE", "OPTIONS", 1), &[HOST, preflight[0]]),
                NO_METHOD,
            ),
            Case::refused("a rebound name", head(LINE, &["Host: evil.example"]), WRONG_HOST),
            Case::refused(
                "a rebound name that says so",
                head(LINE, &["Host: evil.example", origin]),
                FORBIDDEN,
            ),
            Case::refused("a form", head("POST / HTTP/1.1", &[HOST, origin, "Content-Length: 0"]), FORBIDDEN),
            Case::refused(
                "a link",
                head("GET / HTTP/1.1", &[HOST, "Referer: http://evil.example/"]),
                NOT_FOUND,
            ),
        ],
    );
}

/// Node's `fetch` sends its mode, but is no browser.
#[test]
fn a_program_that_sounds_like_a_browser_is_none() {
    judge(
        5,
        [
            "Sec-Fetch-Mode: cors",
            "Sec-Fetch-Dest: empty",
            "Sec-Fetch-User: ?1",
            "User-Agent: Mozilla/5.0",
            "Referer: http://localhost/",
            "Access-Control-Request-Method: DELETE",
            "X-Origin: http://evil.example",
            "Originator: x",
        ]
        .map(|line| Case::harmless(line, with(&[line]))),
    );
}

const BROWSER: &[&str] = &[
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: */*",
    "Origin: http://evil.example",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Site: cross-site",
];
