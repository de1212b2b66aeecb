//! Do `check` and `run` agree? Whatever the one refuses the other refuses, in the same words; whatever the one passes
//! the other starts with.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::harness::{ACCESS_KEY, SECRET_KEY, Setup};

/// What `check` says: its exit code and what it printed of problems.
struct Verdict {
    code: Option<i32>,
    problems: String,
}

fn check(setup: &Setup) -> Verdict {
    let output = setup.run("check");
    Verdict { code: output.status.code(), problems: String::from_utf8(output.stderr).unwrap() }
}

/// Runs it until it serves, and stops it; or until it ends by itself.
fn run(setup: &Setup) -> Verdict {
    let mut child = setup.command("run").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut problems = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("\"serving\"") {
            child.kill().unwrap();
            child.wait().unwrap();
            return Verdict { code: Some(0), problems };
        }
        problems.push_str(&line);
        problems.push('\n');
    }
    Verdict { code: child.wait().unwrap().code(), problems }
}

/// Fails unless both refuse it in these words.
fn both_refuse(setup: &Setup, words: &str) {
    let (checked, ran) = (check(setup), run(setup));
    assert_eq!(
        (checked.code, ran.code),
        (Some(78), Some(78)),
        "{words}: {}{}",
        checked.problems,
        ran.problems
    );
    for verdict in [&checked, &ran] {
        assert!(verdict.problems.contains(words), "{words}: {}", verdict.problems);
        assert!(!verdict.problems.contains("s3cr3t"), "{}", verdict.problems);
    }
}

/// Fails unless both take it. Gives what `check` says besides.
fn both_take(setup: &Setup) -> String {
    let (checked, ran) = (check(setup), run(setup));
    assert_eq!((checked.code, ran.code), (Some(0), Some(0)), "{}{}", checked.problems, ran.problems);
    checked.problems
}

const FILES: &str = "{ files: { access_key: ak, secret_key: sk } }";
const SECRET_SHAPE: &str = "s3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr3ts3cr";

#[test]
fn on_keys_in_files() {
    for (file, content, words) in [
        ("ak", "AKEXAMPLE\nsecond", "ak holds no key: the access key has more than one line"),
        ("ak", "'AKEXAMPLE'", "ak holds no key: the access key has a quotation mark"),
        ("ak", "AK,EXAMPLE", "ak holds no key: the access key has a comma"),
        ("sk", "s3cr3t\ns3cr3t", "sk holds no key: the secret key has more than one line"),
        ("sk", "s3cr3t s3cr3t", "sk holds no key: the secret key has white space inside"),
        ("sk", "\"s3cr3t\"", "sk holds no key: the secret key has a quotation mark"),
        ("sk", "s3cr3t\u{e9}", "sk holds no key: the secret key has a character that is not ASCII"),
        ("sk", "s3cr3t\u{0}", "sk holds no key: the secret key has a control character"),
    ] {
        both_refuse(&Setup::new().credential(FILES).file(file, content), words);
    }
    let swapped = Setup::new().file("ak", SECRET_SHAPE).file("sk", ACCESS_KEY);
    both_refuse(&swapped, "ak holds no key: the access key and the secret key look swapped");
    for around in [("", "\n"), ("\u{feff}", "\r\n"), (" \t", "  \n\n")] {
        let with = |text: &str| format!("{}{text}{}", around.0, around.1);
        both_take(&Setup::new().file("ak", &with(ACCESS_KEY)).file("sk", &with(SECRET_KEY)));
    }
}

#[test]
fn on_keys_in_the_environment() {
    let setup = |access: &str, secret: &str| {
        let setup = Setup::new().credential("{ environment: {} }");
        setup.variable("HUAWEICLOUD_SDK_AK", access).variable("HUAWEICLOUD_SDK_SK", secret)
    };
    for (access, secret, words) in [
        ("AK EXAMPLE", "s3cr3t", "HUAWEICLOUD_SDK_AK holds no key: the access key has white space inside"),
        (
            ACCESS_KEY,
            "s3cr3t\ns3cr3t",
            "HUAWEICLOUD_SDK_SK holds no key: the secret key has more than one line",
        ),
        (
            SECRET_SHAPE,
            ACCESS_KEY,
            "HUAWEICLOUD_SDK_AK holds no key: the access key and the secret key look swapped",
        ),
    ] {
        both_refuse(&setup(access, secret), words);
        let auto = Setup::new().credential("{ auto: {} }");
        both_refuse(
            &auto.variable("HUAWEICLOUD_SDK_AK", access).variable("HUAWEICLOUD_SDK_SK", secret),
            words,
        );
    }
    both_take(&setup(&format!("{ACCESS_KEY}\n"), &format!("{SECRET_KEY}\r\n")));
    both_take(&setup("", ""));
    both_take(&setup(ACCESS_KEY, ""));
}

#[test]
fn on_profiles_tokens_and_passwords() {
    for (content, words) in [
        ("ak = A\n", "line 1 stands before the first section"),
        ("[basic]\nak = A\nsk = s3cr3t\nsk = s3cr3t\n", "line 4 sets a key that was set before"),
        ("[basic]\nak = A\n", "has no `sk` in [basic]"),
        ("[basic]\nak = A\nsk = s3cr3t s3cr3t\n", "the secret key has white space inside"),
        (
            "[basic]\nidp_id = i\nid_token_file = /t\niam_endpoint = http://iam.example\n",
            "`iam_endpoint` is no https:// endpoint",
        ),
    ] {
        both_refuse(
            &Setup::new().credential("{ profile: { path: profile } }").file("profile", content),
            words,
        );
    }
    let home = Setup::new().folder(".huaweicloud").file(".huaweicloud/credentials", "[basic]\nak\n");
    let path = home.path("").display().to_string();
    both_refuse(&home.credential("{ profile: {} }").variable("HOME", &path), "line 2 is neither");
    let token = Setup::new().credential("{ token_file: { path: token } }");
    both_refuse(&token.file("token", "s3cr3t s3cr3t"), "token holds no token: it has white space inside");
    let oidc = "{ oidc: { iam_endpoint: 'https://iam.example', idp_id: i, id_token_file: token } }";
    both_refuse(
        &Setup::new().credential(oidc).file("token", "s3cr3t\ns3cr3t"),
        "token holds no token: it has more",
    );
    let password =
        "{ iam_password: { iam_endpoint: 'https://iam.example', domain: d, user: u, password_file: pw } }";
    both_refuse(
        &Setup::new().credential(password).file("pw", "s3cr3t\ns3cr3t"),
        "pw holds no password: it has more",
    );
    both_take(&Setup::new().credential(password).file("pw", "two words and \u{e9}\n"));
}
