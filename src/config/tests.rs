//! Configuration mistakes and their messages.
//!
//! `tests/data/mistakes/cases.txt` holds, for each mistake, what is changed in a valid configuration and the
//! exact report. It is meant to be read: the messages must make sense to someone who has only them.

use super::credentials::RawSource;
use super::declare::Section;
use super::load::{LoadPhase, load_at};
use super::*;
use crate::credential::Source;
use crate::identity::CallerId;
use crate::policy::{Call, Effect, Facts, parse_moment};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mistakes");
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");

/// A directory with a valid configuration and every file it names.
struct Directory(tempfile::TempDir);

impl Directory {
    fn of(samples: &str) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        for name in ["proxy.yaml", "policy.yaml"] {
            fs::copy(format!("{samples}/{name}"), directory.path(name)).unwrap();
        }
        directory
    }

    fn valid() -> Self {
        let directory = Self::of(DATA);
        directory.write("ak", "HPUAQ5F3EXAMPLE\n");
        directory.write("sk", "5ec2e7-va1ue\n");
        for (name, content) in material::NO_KEYS {
            directory.write(name, content);
        }
        directory.write("empty", "");
        directory.write("open", "5ec2e7-va1ue\n");
        fs::set_permissions(directory.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::create_dir(directory.path("directory")).unwrap();
        directory.write("oncall.sha256", &format!("{}  -\n", "0123456789abcdef".repeat(4)));
        directory.write("ca.pem", &certificate());
        for (name, content) in material::no_pem() {
            directory.write(name, &content);
        }
        for (name, content) in tls_files() {
            directory.write(name, &content);
        }
        for name in ["jwks.json", "jwks-next.json"] {
            directory.write(name, include_str!("../../tests/data/service-account/jwks.json"));
        }
        directory.write("private.json", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
        directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        self.write(file, &text.replacen(from, to, 1));
    }

    /// The report without the directory, which differs in every run.
    fn report(&self) -> String {
        let report = match load_at(&self.path("proxy.yaml"), LoadPhase { now: now(), reload: false }) {
            Ok(loaded) => loaded.warnings,
            Err(report) => report,
        };
        report.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// The date of the mistakes.
fn now() -> DateTime<Utc> {
    parse_moment("2027-01-15").unwrap()
}

/// Created once, as it takes longer than loading.
fn certificate() -> String {
    static PEM: LazyLock<String> =
        LazyLock::new(|| rcgen::generate_simple_self_signed(["mpc.example".to_owned()]).unwrap().cert.pem());
    PEM.clone()
}

/// A certificate with its key, an expired one, and the key of another.
fn tls_files() -> [(&'static str, String); 4] {
    static FILES: LazyLock<[(&str, String); 4]> = LazyLock::new(|| {
        let (key, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
        let mut params = rcgen::CertificateParams::new(["proxy.media.svc".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        params.not_after = rcgen::date_time_ymd(2020, 2, 29);
        let old = params.self_signed(&key).unwrap().pem();
        [
            ("tls.crt", certificate),
            ("old.crt", old),
            ("tls.key", key.serialize_pem()),
            ("other.key", other.serialize_pem()),
        ]
    });
    FILES.clone()
}

/// A case of `cases.txt`.
struct Case {
    name: String,
    file: String,
    from: String,
    to: String,
    report: String,
}

fn cases(file: &str) -> Vec<Case> {
    let text = fs::read_to_string(format!("{DATA}/{file}")).unwrap();
    let case = |case: &str| {
        let (name, rest) = case.split_once('\n').unwrap();
        let (change, rest) = rest.split_once("\nin ").unwrap();
        let (file, report) = rest.split_once('\n').unwrap();
        let lines = |mark: &str| -> String {
            change
                .lines()
                .filter_map(|line| line.strip_prefix(mark))
                .map(|line| format!("{line}\n"))
                .collect()
        };
        let (from, to) = (lines("- "), lines("+ "));
        Case { name: name.into(), file: file.into(), from, to, report: report.trim_end().into() }
    };
    text.split("=== ").skip(1).map(case).collect()
}

#[test]
fn every_mistake_is_told_in_these_words() {
    for (file, count) in [("cases.txt", 243), ("material.txt", 34)] {
        let cases = cases(file);
        assert_eq!(cases.len(), count, "{file}");
        for case in cases {
            let directory = Directory::valid();
            directory.change(&case.file, case.from.trim_end(), case.to.trim_end());
            assert_eq!(directory.report().trim_end(), case.report, "{}", case.name);
        }
    }
}

#[test]
fn eight_mistakes_are_told_in_one_run_and_in_order() {
    let directory = Directory::valid();
    for (file, from, to) in [
        ("proxy.yaml", "version: 1", "version: one"),
        ("proxy.yaml", "bearer: true", "bearer: on"),
        ("proxy.yaml", "credential: prod", "credential: pord"),
        ("proxy.yaml", "ca_file: ca.pem", "ca_file: missing.pem"),
        ("proxy.yaml", "level: info", "level: loud"),
        ("policy.yaml", "listener: app", "listener: ap"),
        ("policy.yaml", "  oncall:\n", "  batch-cleaner:\n"),
        ("policy.yaml", "jobs: [\"tmp-*\"]", "jobs: [\"tmp/*\"]"),
    ] {
        directory.change(file, from, to);
    }
    let report = load(&directory.path("proxy.yaml")).unwrap_err();
    let errors = report.problems().iter().filter(|problem| problem.severity == Severity::Error);
    let told: Vec<(&str, u32)> = errors
        .map(|problem| {
            (problem.file.rsplit('/').next().unwrap(), problem.place.map_or(0, |place| place.line))
        })
        .collect();
    let proxy = [1, 12, 19, 30, 35].map(|line| ("proxy.yaml", line));
    // The second `batch-cleaner` was `oncall`, which a rule names.
    let policy = [4, 8, 20, 23].map(|line| ("policy.yaml", line));
    assert_eq!(told, [proxy.as_slice(), &policy].concat());
}

#[test]
fn a_valid_configuration_means_what_it_says() {
    let directory = Directory::valid();
    let Loaded { settings, warnings, .. } = load(&directory.path("proxy.yaml")).unwrap();
    assert_eq!(warnings.to_string(), "");
    let names: Vec<&str> = settings.listeners.iter().map(|listener| &*listener.name).collect();
    assert_eq!(names, ["app", "local", "mesh"]);
    assert_eq!(settings.listeners[0].bind, Bind::Tcp(([127, 0, 0, 1], 8080).into()));
    assert_eq!(settings.listeners[0].hosts, Hosts::Default);
    assert_eq!(settings.listeners[1].bind, Bind::Unix { path: directory.path("proxy.sock"), mode: 0o660 });
    assert_eq!(settings.listeners[2].hosts, Hosts::Names(vec!["proxy.media.svc".into()]));
    assert_eq!(settings.projects[1].credential, "keys".into());
    assert_eq!(settings.credentials[0].source, Source::Environment);
    let (access_key, secret_key) = (directory.path("ak"), directory.path("sk"));
    assert_eq!(
        settings.credentials[1].source,
        Source::Files { access_key, secret_key, security_token: None }
    );
    assert_eq!(settings.upstream.ca_file, Some(directory.path("ca.pem")));
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(settings.drain, Drain::default());
    let policy = fs::read(directory.path("policy.yaml")).unwrap();
    assert_eq!(**settings.policy.hash(), hex::encode(Sha256::digest(policy))[..16]);
    let callers: Vec<&str> = settings.callers.ids().iter().map(CallerId::as_str).collect();
    assert_eq!(callers, ["editor-api", "batch-cleaner", "oncall"]);
    let call = |caller: &str, job| {
        let caller = CallerId::parse(caller).unwrap();
        let action = "mpc:editingTask:delete";
        let call = Call {
            caller: &caller,
            action,
            project: "media-test",
            job: Some(job),
            facts: Facts::none_known(),
            at: now(),
            source_ip: None,
            listener: None,
            identified_by: None,
        };
        settings.policy.decide(&call).applied().unwrap()
    };
    assert_eq!(call("oncall", "tmp-1"), Effect::Allow);
    assert_eq!(call("oncall", "1"), Effect::Deny);
    assert_eq!(call("editor-api", "1"), Effect::Deny);
    let location = settings.policy.rules()[1].location.to_string();
    assert_eq!(location, "policy.yaml:18");
}

#[test]
fn an_owner_is_asked_for_on_loopback_addresses_only() {
    let directory = Directory::valid();
    directory.change("policy.yaml", "unix: { uid: 1001 }", "loopback: { uid: 1001 }");
    assert!(!directory.report().contains("error"), "{}", directory.report());
    directory.change("proxy.yaml", "bind: 127.0.0.1:8080", "bind: unix:app.sock");
    let expected = "\
policy.yaml:7:19: error: no listener is bound to a loopback address, so this proof cannot match
  |
7 |       - loopback: { uid: 1001 }
  |                   ^
  = hint: add a listener with `bind: 127.0.0.1:PORT`, or remove this
";
    assert_eq!(directory.report(), expected);
}

#[test]
fn a_listeners_files_become_its_tls() {
    let directory = Directory::valid();
    let tls = "tls: { certificate: tls.crt, key: tls.key, client_ca: ca.pem }";
    directory.change("proxy.yaml", "unsafe_listen: true", tls);
    let Loaded { settings, warnings, .. } = load(&directory.path("proxy.yaml")).unwrap();
    assert_eq!(warnings.to_string(), "");
    let files = TlsFiles {
        certificate: directory.path("tls.crt"),
        key: directory.path("tls.key"),
        client_ca: Some(directory.path("ca.pem")),
        certificates_required: true,
    };
    assert_eq!(settings.listeners[2].tls, Some(files));
    assert_eq!(settings.tls.keys().map(|name| &**name).collect::<Vec<_>>(), ["mesh"]);
    for file in ["tls.crt", "tls.key", "ca.pem"] {
        assert!(warnings.files().contains(&directory.path(file)), "{file} is not watched");
    }
}

#[test]
fn the_samples_are_valid() {
    let minimal = Directory::of(&format!("{SAMPLES}/minimal"));
    assert_eq!(minimal.report(), "");
    assert!(load(&minimal.path("proxy.yaml")).is_ok());
    let full = Directory::of(&format!("{SAMPLES}/full"));
    for secret in ["ak", "sk", "security-token", "user-token", "id-token", "password"] {
        full.write(&format!("secrets/{secret}"), "value\n");
    }
    full.write("secrets/profile", "[basic]\nak = value\nsk = value\n");
    full.write("secrets/sdk-secret", "value\n");
    full.write("secrets/ca.pem", &certificate());
    full.write("tls/ca.crt", &certificate());
    for (name, content) in tls_files() {
        full.write(&format!("tls/{name}"), &content);
    }
    full.write("jwks.json", include_str!("../../tests/data/service-account/jwks.json"));
    full.write("oncall.sha256", &"0123456789abcdef".repeat(4));
    assert_eq!(full.report(), "");
    let settings = load(&full.path("proxy.yaml")).unwrap().settings;
    let sources: BTreeSet<&str> = settings.credentials.iter().map(|c| c.source.kind()).collect();
    assert_eq!(sources, RawSource::NAMES.iter().copied().collect(), "one of each");
    // The sample shows the defaults.
    let upstream = UpstreamSettings { ca_file: None, proxy: None, ..settings.upstream };
    assert_eq!(upstream, UpstreamSettings::default());
    assert_eq!((settings.limits, settings.drain), (Limits::default(), Drain::default()));
    assert_eq!((settings.audit, settings.log), (AuditSettings::default(), LogSettings::default()));
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused_with_a_reason_or_valid() {
    let directory = Directory::valid();
    for file in ["proxy.yaml", "policy.yaml"] {
        let text = fs::read_to_string(directory.path(file)).unwrap();
        for end in 0..text.len() {
            directory.write(file, &text[..end]);
            let loaded = load(&directory.path("proxy.yaml"));
            assert!(
                loaded.is_ok() || loaded.is_err_and(|report| report.has_errors()),
                "{file} of {end} bytes"
            );
        }
        directory.write(file, &text);
    }
}

#[test]
fn no_secret_that_was_written_into_a_file_by_mistake_is_shown() {
    const SECRET: &str = "s3cr3tV4lu3";
    for (file, from, to) in [
        ("proxy.yaml", "secret_key: sk", "secret_key: s3cr3tV4lu3"),
        ("proxy.yaml", "secret_key: sk", "secret_key: [s3cr3tV4lu3]"),
        ("proxy.yaml", "secret_key: sk", "secret_key: \"s3cr3tV4lu3"),
        ("proxy.yaml", "secret_key: sk", "secret_kye: s3cr3tV4lu3"),
        ("proxy.yaml", "secret_key: sk", "secret_key: sk, secret_key: s3cr3tV4lu3"),
        ("proxy.yaml", "secret_key: sk", "secret_key: &a s3cr3tV4lu3"),
        ("proxy.yaml", "secret_key: sk", "secret_key: !s3cr3tV4lu3 x"),
        ("proxy.yaml", "secret_key: sk", "secret_key: *s3cr3tV4lu3"),
        ("proxy.yaml", "secret_key: sk", "secret_key: @s3cr3tV4lu3"),
        ("proxy.yaml", "secret_key: sk", "secret_key: x: s3cr3tV4lu3"),
        ("proxy.yaml", "prod: { environment: {} }", "prod: s3cr3tV4lu3"),
        ("proxy.yaml", "prod: { environment: {} }", "prod:\n    - s3cr3tV4lu3"),
        ("proxy.yaml", "prod: { environment: {} }", "prod: { environment: { sk: s3cr3tV4lu3 } }"),
        ("proxy.yaml", "prod: { environment: {} }", "prod: { environment: s3cr3tV4lu3 }"),
        ("proxy.yaml", "prod: { environment: {} }", "prod: { token_file: s3cr3tV4lu3 }"),
        ("proxy.yaml", "prod: { environment: {} }", "prod:\n    token_file:\n      path: s3cr3tV4lu3"),
        ("proxy.yaml", "prod: { environment: {} }", "prod: { iam_password: { password: s3cr3tV4lu3 } }"),
        ("proxy.yaml", "connect_timeout: 3s", "proxy: http://user:s3cr3tV4lu3@egress:3128"),
        ("proxy.yaml", "connect_timeout: 3s", "proxy: [user:s3cr3tV4lu3@egress]"),
        ("proxy.yaml", "connect_timeout: 3s", "prxy: http://user:s3cr3tV4lu3@egress:3128"),
        ("policy.yaml", "sha256_file: oncall.sha256", "token: s3cr3tV4lu3"),
        ("policy.yaml", "bearer: { sha256_file: oncall.sha256 }", "bearer: s3cr3tV4lu3"),
        ("policy.yaml", "bearer: { sha256_file: oncall.sha256 }", "bearer:\n          s3cr3tV4lu3"),
        ("policy.yaml", "sha256_file: oncall.sha256", "sha256_file: s3cr3tV4lu3"),
    ] {
        let directory = Directory::valid();
        directory.change(file, from, to);
        let report = load(&directory.path("proxy.yaml")).unwrap_err();
        assert!(!format!("{report} {report:?}").contains(SECRET), "{to}\n{report}");
    }
}

#[test]
fn a_file_that_cannot_be_a_configuration_is_told_as_a_whole() {
    for (content, expected) in [
        (&b""[..], "proxy.yaml: error: the file is empty\n  = hint: start it with `version: 1`\n"),
        (b"# nothing\n", "proxy.yaml: error: the file is empty\n  = hint: start it with `version: 1`\n"),
        (b"version: \xff", "proxy.yaml: error: cannot read file: not UTF-8 text\n"),
        (&[b' '; (8 << 20) + 1], "proxy.yaml: error: cannot read file: larger than 8 MiB\n"),
    ] {
        let directory = Directory::valid();
        fs::write(directory.path("proxy.yaml"), content).unwrap();
        assert_eq!(directory.report(), expected);
    }
    let directory = Directory(tempfile::tempdir().unwrap());
    assert_eq!(directory.report(), "proxy.yaml: error: cannot read file: no such file\n");
}

mod declared;
mod document;
mod facts;
mod many;
mod material;
mod plain;
