//! `check` and `run` agree: what one refuses, the other refuses with the same message; what `check` accepts, `run`
//! starts with.

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, pipe},
    os::unix::fs::{OpenOptionsExt, symlink},
    process::{Command, Stdio},
};

use nix::{libc::O_NONBLOCK, sys::stat::Mode, unistd::mkfifo};

use crate::harness::{ACCESS_KEY, SECRET_KEY, Setup, certificate};

/// The exit code of `check`, and the problems it printed.
struct Verdict {
    code: Option<i32>,
    problems: String,
}

fn check(setup: &Setup) -> Verdict {
    let output = setup.run("check");
    Verdict { code: output.status.code(), problems: String::from_utf8(output.stderr).unwrap() }
}

/// Runs the proxy until it serves, then stops it; or until it ends by itself.
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

/// Fails unless both refuse it with this message.
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

/// Fails unless both accept it. Returns the other output of `check`.
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
        ("ak", "AKEXAMPLE\nsecond", "ak has no valid key: the access key has more than one line"),
        ("ak", "'AKEXAMPLE'", "ak has no valid key: the access key contains a quotation mark"),
        ("ak", "AK,EXAMPLE", "ak has no valid key: the access key contains a comma"),
        ("sk", "s3cr3t\ns3cr3t", "sk has no valid key: the secret key has more than one line"),
        ("sk", "s3cr3t s3cr3t", "sk has no valid key: the secret key contains white space"),
        ("sk", "\"s3cr3t\"", "sk has no valid key: the secret key contains a quotation mark"),
        ("sk", "s3cr3t\u{e9}", "sk has no valid key: the secret key contains a non-ASCII character"),
        ("sk", "s3cr3t\u{0}", "sk has no valid key: the secret key contains a control character"),
    ] {
        both_refuse(&Setup::new().credential(FILES).file(file, content), words);
    }
    let swapped = Setup::new().file("ak", SECRET_SHAPE).file("sk", ACCESS_KEY);
    both_refuse(&swapped, "ak has no valid key: the access key and secret key look swapped");
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
        ("AK EXAMPLE", "s3cr3t", "HUAWEICLOUD_SDK_AK has no valid key: the access key contains white space"),
        (
            ACCESS_KEY,
            "s3cr3t\ns3cr3t",
            "HUAWEICLOUD_SDK_SK has no valid key: the secret key has more than one line",
        ),
        (
            SECRET_SHAPE,
            ACCESS_KEY,
            "HUAWEICLOUD_SDK_AK has no valid key: the access key and secret key look swapped",
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
        ("ak = A\n", "line 1 is before the first section"),
        ("[basic]\nak = A\nsk = s3cr3t\nsk = s3cr3t\n", "line 4 repeats a key"),
        ("[basic]\nak = A\n", "has no `sk` in [basic]"),
        ("[basic]\nak = A\nsk = s3cr3t s3cr3t\n", "the secret key contains white space"),
        (
            "[basic]\nidp_id = i\nid_token_file = /t\niam_endpoint = http://iam.example\n",
            "`iam_endpoint` is not an https:// endpoint",
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
    both_refuse(&token.file("token", "s3cr3t s3cr3t"), "token has no valid token: it contains white space");
    let oidc = "{ oidc: { iam_endpoint: 'https://iam.example', idp_id: i, id_token_file: token } }";
    both_refuse(
        &Setup::new().credential(oidc).file("token", "s3cr3t\ns3cr3t"),
        "token has no valid token: it has more",
    );
    let password =
        "{ iam_password: { iam_endpoint: 'https://iam.example', domain: d, user: u, password_file: pw } }";
    both_refuse(
        &Setup::new().credential(password).file("pw", "s3cr3t\ns3cr3t"),
        "pw has no valid password: it has more",
    );
    both_take(&Setup::new().credential(password).file("pw", "two words and \u{e9}\n"));
}

#[test]
fn on_endpoints() {
    for (endpoint, words) in [
        ("https://127.1:8443", "the host is not an IPv4 address"),
        ("https://256.1.1.1", "the host is not an IPv4 address"),
        ("https://a..b", "the host is not a DNS name"),
        (
            "https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example",
            "the host is not a DNS name",
        ),
        ("https://-a.example", "the host is not a DNS name"),
    ] {
        both_refuse(&Setup::new().upstream(endpoint), words);
        let source = format!("{{ oidc: {{ iam_endpoint: '{endpoint}', idp_id: i, id_token_file: sk }} }}");
        both_refuse(&Setup::new().credential(&source), words);
    }
    for endpoint in ["https://a", "https://a.example.", "https://[::1]:8443", "https://x-1.example:1"] {
        both_take(&Setup::new().upstream(endpoint));
    }
}

#[test]
fn on_certificates_of_authorities() {
    let pem = certificate("localhost").0;
    let half: String = pem.lines().take(3).map(|line| format!("{line}\n")).collect();
    let section = "upstream: { ca_file: ca.pem }";
    for (content, words) in [
        (format!("{}{pem}", pem.trim_end()), "each on its own line"),
        (format!("{half}{pem}"), "ca.pem, line 4: a block begins before the previous one ends"),
        (pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "OpenSSL trusted certificate"),
        (pem.lines().map(|line| format!(" {line}\n")).collect(), "each on its own line"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(), "not an X.509 certificate"),
    ] {
        both_refuse(&Setup::new().section(section).file("ca.pem", &content), words);
    }
    both_take(&Setup::new().section(section).file("ca.pem", &format!("\u{feff}# two\r\n{pem}{pem}")));
}

#[test]
fn on_egress_proxies_of_the_environment() {
    let setup = || Setup::new().upstream("https://mpc.example");
    let escaped = "HTTPS_PROXY is not an egress proxy: in a user or password, write `@` as %40";
    both_refuse(&setup().variable("HTTPS_PROXY", "http://u:s3cr3t@x@h:1"), escaped);
    both_refuse(&setup().variable("HTTPS_PROXY", "socks5://u:s3cr3t@h:1"), "expected http://HOST:PORT");
    both_take(&setup().variable("HTTPS_PROXY", ""));
    let said = both_take(&setup().variable("NO_PROXY", "*.mpc.example a.example:443 ht*p"));
    assert!(said.contains("NO_PROXY entry `ht*p` has no effect") && !said.contains("a.example"), "{said}");
}

#[test]
fn on_options_in_variables() {
    for (name, good, bad) in [
        ("MPC_AUTH_PROXY_NO_SANDBOX", &["0", "1", "TRUE", "yes", "Off"][..], "maybe"),
        ("MPC_AUTH_PROXY_REQUIRE_CREDENTIALS", &["false", "YES"], "2"),
        ("MPC_AUTH_PROXY_LOG_FORMAT", &["JSON", "json"], "xml"),
        ("MPC_AUTH_PROXY_LOG_LEVEL", &["INFO"], "loud"),
    ] {
        for value in good.iter().copied().chain([""]) {
            both_take(&Setup::new().variable(name, value));
        }
        let refused = run(&Setup::new().variable(name, bad));
        assert_eq!(refused.code, Some(2), "{name}");
        assert!(
            refused.problems.contains(&format!("from the environment variable {name}")),
            "{}",
            refused.problems
        );
    }
}

#[test]
fn a_reader_that_leaves_changes_nothing() {
    let valid = Setup::new();
    let invalid = Setup::new().section("log: { level: loud }");
    for (setup, expected) in [(&valid, Some(0)), (&invalid, Some(78))] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = setup.command("check");
        let status = command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), expected);
        let output = setup.run("check");
        let last = if expected == Some(0) { output.stdout } else { output.stderr };
        assert_eq!(last.last(), Some(&b'\n'));
    }
    for command in [&["man"][..], &["completions", "bash"], &["--help"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut process = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
        let output = process.args(command).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
    }
}

#[test]
fn a_path_of_the_proxys_own_is_no_other_file() {
    let with = |section: &str| Setup::new().file("audit.log", "").section(section);
    for (section, words) in [
        ("audit: { sink: policy.yaml }", "policy.yaml is also an input file"),
        ("audit: { sink: proxy.yaml }", "proxy.yaml is also an input file"),
        ("audit: { sink: sk }", "sk is also an input file"),
        ("freeze_file: policy.yaml", "policy.yaml is also an input file"),
        ("freeze_file: audit.log\naudit: { sink: audit.log }", "audit.log is also the freeze file"),
        (
            "admin: { bind: 'unix:audit.log' }\naudit: { sink: audit.log }",
            "audit.log is also the admin socket",
        ),
    ] {
        both_refuse(&with(section), words);
    }
    // A link is what it leads to.
    let linked = with("audit: { sink: linked }");
    symlink("policy.yaml", linked.path("linked")).unwrap();
    both_refuse(&linked, "linked is also an input file");
    let twice = Setup::new()
        .folder("there")
        .section("admin: { bind: 'unix:there/../a.sock' }")
        .listeners(&["{ name: app, bind: 'unix:a.sock' }"]);
    both_refuse(&twice, "a.sock is also a listener's socket");
}

#[test]
fn check_says_what_has_to_be_there_at_the_start() {
    let pipe = Setup::new().section("audit: { sink: records }");
    mkfifo(&pipe.path("records"), Mode::S_IRWXU).unwrap();
    let checked = check(&pipe);
    assert_eq!(checked.code, Some(0), "somebody may read it by then: {}", checked.problems);
    assert!(
        checked.problems.contains("named pipe: the proxy starts only while it has a reader"),
        "{}",
        checked.problems
    );
    assert_eq!(run(&pipe).code, Some(1));
    let reader = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(pipe.path("records")).unwrap();
    both_take(&pipe);
    drop(reader);
    let own = check(&Setup::new().section("audit: { sink: /dev/stdout }"));
    assert!(own.code == Some(0) && !own.problems.contains("named pipe"), "{}", own.problems);
    for (path, words) in [
        ("audit.log", "audit.log: it is a file"),
        (".", "it is a directory"),
        ("/dev/null", "/dev/null: it is not a socket"),
    ] {
        let setup = Setup::new().file("audit.log", "").section(&format!("admin: {{ bind: 'unix:{path}' }}"));
        let checked = check(&setup);
        assert!(checked.code == Some(0) && checked.problems.contains(words), "{}", checked.problems);
        assert_eq!(run(&setup).code, Some(4));
    }
    let missing = Setup::new().section("admin: { bind: 'unix:missing/admin.sock' }");
    let checked = check(&missing);
    assert_eq!(checked.code, Some(0), "{}", checked.problems);
    assert!(checked.problems.contains("missing/admin.sock does not exist"), "{}", checked.problems);
    assert_eq!(run(&missing).code, Some(4));
    let missing = missing.folder("missing");
    assert!(!both_take(&missing).contains("does not exist"));
}
