//! Paths that are not exactly one of the three URLs.

use super::{Case, FORBIDDEN, NO_METHOD, NOT_FOUND, TOO_LONG, judge, target};

#[test]
fn a_part_of_a_path_that_is_spelled_otherwise_is_another_path() {
    let mut cases = Vec::new();
    for (form, url) in FORMS {
        let (path, query) = url.split_once('?').map_or((url, String::new()), |(p, q)| (p, format!("?{q}")));
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        for (index, part) in parts.iter().enumerate() {
            for (what, spelled) in respelled(part) {
                let mut parts = parts.clone();
                parts[index] = &spelled;
                let url = format!("/{}{query}", parts.join("/"));
                let name = format!("{form}, {part}: {what}");
                let varies = *part == "media-prod" || *part == "100211";
                cases.push(match (varies, spelled.contains('/')) {
                    // The shape of the path is still an operation's.
                    (true, false) if part.eq_ignore_ascii_case(&spelled) => {
                        Case::refused(name, target(&url), FORBIDDEN)
                    }
                    (true, false) => Case::bad(name, target(&url)),
                    // No target at all.
                    _ if !spelled.is_ascii() => Case::bad(name, target(&url)),
                    _ => Case::refused(name, target(&url), NOT_FOUND),
                });
            }
        }
    }
    judge(363, cases);
}

/// Spellings of a segment that a careless server reads as the same, or as another, segment.
fn respelled(part: &str) -> Vec<(&'static str, String)> {
    let (first, rest) = part.split_at(1);
    let code = first.as_bytes()[0];
    let mut all = vec![
        ("its first letter encoded", format!("%{code:02x}{rest}")),
        ("its first letter encoded twice", format!("%25{code:02x}{rest}")),
        ("its first letter in UTF-16", format!("%u00{code:02x}{rest}")),
        ("its first letter overlong", format!("%c1%{:02x}{rest}", (code & 0x3f) | 0x80)),
        ("a slash before it", format!("/{part}")),
        ("a slash behind it", format!("{part}/")),
        ("an encoded slash behind it", format!("{part}%2f")),
        ("an encoded slash before it", format!("%2F{part}")),
        ("a backslash before it", format!("\\{part}")),
        ("a dot before it", format!("./{part}")),
        ("back and forth", format!("x/../{part}")),
        ("back and forth, encoded", format!("x/%2e%2e/{part}")),
        ("back and forth within it", format!("{part}%2f..%2f{part}")),
        ("a parameter", format!("{part};v=1")),
        ("an empty parameter", format!("{part};")),
        ("a dot behind it", format!("{part}.")),
        ("an encoded NUL", format!("{part}%00")),
        ("an encoded line end", format!("{part}%0d%0a")),
        ("an encoded space", format!("{part}%20")),
        ("an encoded question mark", format!("{part}%3f")),
        ("an encoded fragment", format!("{part}%23")),
        ("a broken escape", format!("{part}%")),
        ("a letter of no alphabet", format!("{part}\u{ff11}")),
        ("nothing", String::new()),
        ("dots", "..".into()),
        ("encoded dots", "%2e%2e".into()),
        ("a wildcard", "*".into()),
    ];
    if part.bytes().any(|b| b.is_ascii_lowercase()) {
        all.push(("upper case", part.to_ascii_uppercase()));
    }
    all
}

#[test]
fn a_path_that_is_another_one_as_a_whole_is_not_found() {
    let paths = [
        "/",
        "//",
        "///",
        "/.",
        "/..",
        "/.//",
        "/livez",
        "/readyz",
        "/metrics",
        "/status",
        "/shutdown",
        "/.well-known/security.txt",
        "/v2",
        "/v2/",
        "/v2/media-prod",
        "/v2/media-prod/editing",
        "/v2/media-prod/editing/jobs/100211/",
        "/v2/media-prod/editing/jobs/100211/100212",
        "/v2/media-prod/editing/jobs/100211/100212/",
        "/v2/media-prod/editing/job/100211",
        "/v1/media-prod/editing/jobs/100211",
        "/v1/media-prod/editing/job?job_id=100211",
        "/v3/media-prod/editing/jobs/100211",
        "/v2.0/media-prod/editing/jobs/100211",
        "/v2/media-prod/transcodings/jobs/100211",
        "/v1/media-prod/transcodings?task_id=100211",
        "/v2/media-prod/media-prod/editing/jobs/100211",
        "/proxy/v2/media-prod/editing/jobs/100211",
        "/..;/v2/media-prod/editing/jobs/100211",
        "/%2e/v2/media-prod/editing/jobs/100211",
        "/%2fv2/media-prod/editing/jobs/100211",
        "/\\v2\\media-prod\\editing\\jobs\\100211",
        "//evil.example/v2/media-prod/editing/jobs/100211",
        "///evil.example/v2/media-prod/editing/jobs/100211",
        "/@evil.example/v2/media-prod/editing/jobs/100211",
        "/http://evil.example/v2/media-prod/editing/jobs/100211",
        "/v2/media-prod/editing/jobs/100211/..",
        "/v2/media-prod/editing/jobs/100211/../100212",
        "/v2/media-prod/editing/jobs/../jobs/100211",
        "/v2/media-prod/editing/jobs/./100211",
        "/v2/media-prod/editing/jobs//100211",
    ];
    judge(41, paths.map(|path| Case::refused(path, target(path), NOT_FOUND)));
    // Jobs are viewed there, and not cancelled.
    let paths = ["/v2/media-prod/editing/jobs", "/v2/media-prod/editing/jobs?job_id=100211"];
    judge(2, paths.map(|path| Case::refused(path, target(path), NO_METHOD)));
}

#[test]
fn a_project_or_job_of_another_alphabet_or_length_is_refused() {
    let (whole, more) = ("j".repeat(64), "j".repeat(65));
    let mut cases = vec![
        Case::bad("a job of 65 letters", target(&format!("/v2/media-prod/editing/jobs/{more}"))),
        Case::bad(
            "a job of 65 letters in the query",
            target(&format!("/v1/media-prod/editing/jobs?job_id={more}")),
        ),
        Case::bad("a project of 65 letters", target(&format!("/v2/{more}/editing/jobs/100211"))),
        Case::refused("a project that is not ours", target("/v2/media-test/editing/jobs/100211"), FORBIDDEN),
        Case::refused(
            "a project of 64 letters",
            target(&format!("/v2/{whole}/editing/jobs/100211")),
            FORBIDDEN,
        ),
        Case::refused(
            "a target of 257 bytes",
            target(&format!("/v2/media-prod/editing/jobs/{}", "j".repeat(229))),
            TOO_LONG,
        ),
    ];
    cases.push(Case::bad(
        "a target of 256 bytes",
        target(&format!("/v2/media-prod/editing/jobs/{}", "j".repeat(228))),
    ));
    for byte in (b'!'..=b'~').filter(|b| !b.is_ascii_alphanumeric() && !b"_-/?#".contains(b)) {
        let job = format!("100{}211", char::from(byte));
        let name = format!("a job with {}", char::from(byte));
        cases.push(Case::bad(name.clone(), target(&format!("/v2/media-prod/editing/jobs/{job}"))));
        cases.push(Case::bad(
            format!("{name} in the query"),
            target(&format!("/v1/media-prod/editing/jobs?job_id={job}")),
        ));
    }
    judge(61, cases);
}

const FORMS: [(&str, &str); 3] = [
    ("path form", "/v2/media-prod/editing/jobs/100211"),
    ("query form", "/v2/media-prod/editing/job?job_id=100211"),
    ("v1 form", "/v1/media-prod/editing/jobs?job_id=100211"),
];
