//! Runs `sign`.

use std::{collections::BTreeMap, fmt::Write as _, io::Write, path::Path, process::ExitCode};

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::json;

use super::args::{Args, Header};
use crate::{
    cli::output::{self, Format},
    clock,
    credential::variable_of,
    secret::Secret,
    signing::{Explained, SigningKey, Timestamp, Unsigned, explain, is_set_by_signing},
};

/// Runs the command. Exits with 0 if it signed, with 2 if the request cannot be signed.
///
/// # Errors
/// If the body cannot be read or the answer cannot be written.
pub(in crate::cli) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let body = args.body_file.as_deref().map(read_body).transpose()?.unwrap_or_default();
    let answer = answer(
        args,
        &body,
        |name| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned()),
        clock::now().into(),
    );
    report(answer, &mut output::stdout(), &mut output::stderr())
}

fn read_body(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read the body from {}", file.display()))
}

/// Returns the answer, or why the request cannot be signed.
fn answer(
    args: &Args,
    body: &[u8],
    environment: impl Fn(&str) -> Option<String>,
    now: Timestamp,
) -> anyhow::Result<String> {
    if let Some(repeated) = repeated(&args.headers) {
        bail!("duplicate header {}", repeated.name);
    }
    let (given, stated): (Vec<_>, Vec<_>) = args
        .headers
        .iter()
        .map(|h| (h.name.as_str(), h.value.as_str()))
        .partition(|(name, _)| !is_set_by_signing(name));
    let mut headers = given;
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Host")) {
        headers.insert(0, ("Host", &args.url.authority));
    }
    let as_bytes: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let request = Unsigned {
        method: &args.method,
        path: &args.url.path,
        query: &args.url.query,
        headers: &as_bytes,
        body,
    };
    let key = key(environment)?;
    let explained = explain(&request, &key, args.date.unwrap_or(now))?;
    for (name, value) in stated {
        let agrees = explained.signed.headers().any(|set| set.0.eq_ignore_ascii_case(name) && set.1 == value);
        ensure!(agrees, "header {name} is set by signing: remove it");
    }
    headers.extend(explained.signed.headers());
    match args.format {
        Format::Text => Ok(text(&explained, &headers, args.explain)?),
        Format::Json => Ok(json(&explained, headers)),
    }
}

fn key(environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<SigningKey> {
    let set = |name| environment(name).filter(|value| !value.is_empty());
    let access_key = set(ACCESS_KEY).with_context(|| format!("{ACCESS_KEY} is not set"))?;
    let secret_key = set(SECRET_KEY).with_context(|| format!("{SECRET_KEY} is not set")).map(Secret::new)?;
    SigningKey::new(&access_key, &secret_key, set(SECURITY_TOKEN).map(Secret::new))
        .map_err(|error| anyhow!("{} has no valid key: {error}", variable_of(error.part())))
}

fn text(
    explained: &Explained<'_>,
    headers: &[(&str, &str)],
    with_steps: bool,
) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    if with_steps {
        let Explained { canonical_request, string_to_sign, .. } = explained;
        writeln!(out, "# canonical request\n{canonical_request}\n")?;
        writeln!(out, "# string to sign\n{string_to_sign}\n\n# headers")?;
    }
    for (name, value) in headers {
        writeln!(out, "{name}: {value}")?;
    }
    Ok(out)
}

fn json(explained: &Explained<'_>, headers: Vec<(&str, &str)>) -> String {
    let headers: BTreeMap<&str, &str> = headers.into_iter().collect();
    let answer = json!({
        "canonical_request": explained.canonical_request,
        "string_to_sign": explained.string_to_sign,
        "signed_headers": explained.signed.signed_headers(),
        "authorization": explained.signed.authorization(),
        "headers": headers,
    });
    format!("{answer:#}\n")
}

/// Prints the answer, or the error with exit code 2, because everything that `answer` rejects is the user's input.
fn report(
    answer: anyhow::Result<String>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    match answer {
        Ok(text) => {
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the answer")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(wrong) => {
            writeln!(err, "error: {wrong:#}")?;
            Ok(ExitCode::from(USAGE))
        }
    }
}

/// Returns a header that is repeated, ignoring case.
fn repeated(headers: &[Header]) -> Option<&Header> {
    let (first, rest) = headers.split_first()?;
    match rest.iter().any(|header| header.name.eq_ignore_ascii_case(&first.name)) {
        true => Some(first),
        false => repeated(rest),
    }
}

const ACCESS_KEY: &str = "HUAWEICLOUD_SDK_AK";
const SECRET_KEY: &str = "HUAWEICLOUD_SDK_SK";
const SECURITY_TOKEN: &str = "HUAWEICLOUD_SDK_SECURITY_TOKEN";
const USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::parse;

    const KEYS: &[(&str, &str)] =
        &[(ACCESS_KEY, "AKEXAMPLE00000000001"), (SECRET_KEY, "SkExampleKeyForTestVectorsOnly0000000001")];
    const TEMPORARY: &[(&str, &str)] = &[(ACCESS_KEY, "AK"), (SECRET_KEY, "s3cr3t"), (SECURITY_TOKEN, "T")];
    const PROJECT: &str = "X-Project-Id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9";
    const DELETE: &[&str] = &["--method", "DELETE", "--date", "20260115T083000Z"];
    const URL: &str =
        "https://mpc.cn-north-4.myhuaweicloud.com/v2/0a1b2c3d4e5f60718293a4b5c6d7e8f9/editing/jobs/100211";

    fn answered(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<String> {
        let args = parse(&[DELETE, arguments].concat())?;
        let now = Timestamp::parse("20261123T160000Z")?;
        let get = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        answer(&args, b"", get, now)
    }

    fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
        answered(arguments, environment).unwrap_err().to_string()
    }

    /// The SDK's result for the case `cancel-v2-path` of `tests/data/sdk-hmac-sha256.jsonl`.
    #[test]
    fn the_headers_are_ready_to_paste() {
        let headers = ["--url", URL, "-H", "Content-Type: application/json", "-H", PROJECT];
        let text = answered(&headers, KEYS).unwrap();
        assert_eq!(
            text,
            "Host: mpc.cn-north-4.myhuaweicloud.com\n\
             Content-Type: application/json\n\
             X-Project-Id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9\n\
             X-Sdk-Date: 20260115T083000Z\n\
             Authorization: SDK-HMAC-SHA256 Access=AKEXAMPLE00000000001, \
             SignedHeaders=content-type;host;x-project-id;x-sdk-date, \
             Signature=74e24b1ded68c869f4770597c791b8244dc2329c008a4d2f03a492c8756c074e\n"
        );
        let explained = answered(&[&headers, ["--explain"].as_slice()].concat(), KEYS).unwrap();
        assert!(explained.starts_with("# canonical request\nDELETE\n/v2/"), "{explained}");
        assert!(
            explained.contains("\n\n# string to sign\nSDK-HMAC-SHA256\n20260115T083000Z\nb28685b9"),
            "{explained}"
        );
        assert!(explained.ends_with(&format!("\n\n# headers\n{text}")), "{explained}");
    }

    #[test]
    fn json_has_every_step_and_every_header() {
        let json = ["--url", "http://h:1/p?a", "--format", "json", "-H", "X_A: 1", "-H", "Empty:"];
        let text = answered(&json, TEMPORARY).unwrap();
        assert!(!text.contains("s3cr3t"), "{text}");
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let names =
            |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(
            names(&answer),
            ["canonical_request", "string_to_sign", "signed_headers", "authorization", "headers"]
        );
        assert_eq!(
            names(&answer["headers"]),
            ["Authorization", "Empty", "Host", "X-Sdk-Date", "X-Security-Token", "X_A"]
        );
        assert_eq!(answer["signed_headers"], "empty;host;x-sdk-date;x-security-token");
        assert_eq!(answer["headers"]["Authorization"], answer["authorization"]);
        let canonical_request = answer["canonical_request"].as_str().unwrap();
        assert!(
            canonical_request.starts_with("DELETE\n/p/\na=\nempty:\nhost:h:1\nx-sdk-date:20260115T083000Z\n")
        );
    }

    #[test]
    fn a_host_header_wins_over_the_url() {
        let text = answered(&["--url", "http://127.0.0.1:8080/", "-H", "host: mpc.example"], KEYS).unwrap();
        assert!(text.starts_with("host: mpc.example\nX-Sdk-Date: "), "{text}");
        assert!(!text.contains("127.0.0.1"), "{text}");
    }

    #[test]
    fn without_a_date_it_signs_now() {
        let args = parse(&["--method", "GET", "--url", "http://h/"]).unwrap();
        let get = |_: &str| Some("key".to_owned());
        let text = answer(&args, b"", get, Timestamp::parse("20261123T160000Z").unwrap()).unwrap();
        assert!(text.contains("\nX-Sdk-Date: 20261123T160000Z\n"), "{text}");
    }

    #[test]
    fn the_body_is_signed() {
        let args = parse(&["--method", "POST", "--url", "http://h/", "--explain"]).unwrap();
        let at = Timestamp::parse("20261123T160000Z").unwrap();
        let text = answer(&args, b"a", |_: &str| Some("key".to_owned()), at).unwrap();
        let sha256_of_a = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
        assert!(text.contains(&format!("\n{sha256_of_a}\n")), "{text}");
    }

    #[test]
    fn a_header_that_signing_sets_may_be_given_where_it_says_the_same() {
        let url = ["--url", "http://h/"];
        let stated = |header| [url.as_slice(), &["-H", header]].concat();
        for header in ["x-sdk-date: 20260115T083000Z", "X-Security-Token: T"] {
            assert_eq!(
                answered(&stated(header), TEMPORARY).unwrap(),
                answered(&url, TEMPORARY).unwrap(),
                "{header}"
            );
        }
        for header in ["X-Sdk-Date: 20260115T083001Z", "X-Security-Token: U", "X_Sdk_Date: 20260115T083000Z"]
        {
            assert!(refused(&stated(header), TEMPORARY).contains("is set by signing"), "{header}");
        }
        assert!(refused(&stated("X-Security-Token: T"), KEYS).contains("is set by signing"));
    }

    #[test]
    fn a_missing_key_is_named() {
        let url = ["--url", "http://h/"];
        assert_eq!(refused(&url, &[(SECRET_KEY, "s")]), "HUAWEICLOUD_SDK_AK is not set");
        assert_eq!(refused(&url, &[(ACCESS_KEY, "a")]), "HUAWEICLOUD_SDK_SK is not set");
        assert_eq!(refused(&url, &[(ACCESS_KEY, "a"), (SECRET_KEY, "")]), "HUAWEICLOUD_SDK_SK is not set");
        let bad = refused(&url, &[(ACCESS_KEY, "a"), (SECRET_KEY, "s3cr3t\ns3cr3t")]);
        assert!(
            bad.starts_with("HUAWEICLOUD_SDK_SK has no valid key: the secret key has more than")
                && !bad.contains("s3cr3t"),
            "{bad}"
        );
    }

    #[test]
    fn what_cannot_be_signed_is_refused() {
        for (arguments, expected) in [
            (&["--url", "http://h/%zz"] as &[_], "the path has a `%`"),
            (&["--url", "http://h/a b"], "the path has a character not allowed"),
            (&["--url", "http://h/?a=%00"], "the query contains a control character"),
            (&["--url", "http://h/", "-H", "A: a\nb"], "the value of header A"),
            (&["--url", "http://h/", "-H", "A: 1", "-H", "a: 1"], "duplicate header A"),
            (&["--url", "http://h/", "-H", "A_B: 1", "-H", "a_b: 1"], "duplicate header A_B"),
        ] {
            let refusal = refused(arguments, KEYS);
            assert!(refusal.starts_with(expected), "{arguments:?}: {refusal}");
        }
    }

    #[test]
    fn a_refusal_goes_to_standard_error_with_exit_code_2() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = report(Err(anyhow::anyhow!("why")), &mut out, &mut err).unwrap();
        assert_eq!(
            (code, out.as_slice(), err.as_slice()),
            (ExitCode::from(2), &b""[..], &b"error: why\n"[..])
        );
        let code = report(Ok("answer\n".to_owned()), &mut out, &mut err).unwrap();
        assert_eq!((code, out.as_slice()), (ExitCode::SUCCESS, &b"answer\n"[..]));
    }

    #[test]
    fn a_body_that_cannot_be_read_is_an_error_that_names_the_file() {
        let args = parse(&["--method", "GET", "--url", "http://h/", "--body-file", "/no/such/file"]).unwrap();
        assert!(run(&args).unwrap_err().to_string().contains("/no/such/file"));
    }
}
