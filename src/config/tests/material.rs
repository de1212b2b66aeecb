//! Wrong keys, certificates and listeners.

use super::*;

/// Malformed keys, profiles, tokens and passwords.
pub(super) const NO_KEYS: [(&str, &str); 12] = [
    ("ak.quoted", "\"HPUAQ5F3EXAMPLE00001\"\n"),
    ("sk.lines", "5ec2e7-va1ue\nan0ther-va1ue\n"),
    ("sk.inside", "5ec2e7 va1ue\n"),
    ("sk.bom", "\u{feff}  5ec2e7-va1ue \r\n\n"),
    ("token.foreign", "t0k\u{e9}n\n"),
    ("swapped.ak", "5ec2e7va1ue5ec2e7va1ue5ec2e7va1ue5ec2e7v\n"),
    ("swapped.sk", "HPUAQ5F3EXAMPLE00001\n"),
    ("profile.twice", "[basic]\nak = HPUAQ5F3EXAMPLE00001\nsk = 5ec2e7\nSK = 5ec2e7-va1ue\n"),
    ("profile.stray", "[basic]\nak = HPUAQ5F3EXAMPLE00001\nsk = 5ec2e7\n5ec2e7-va1ue\n"),
    ("profile.other", "[global]\nak = HPUAQ5F3EXAMPLE00001\nsk = 5ec2e7\n"),
    ("profile.quoted", "[basic]\nak = HPUAQ5F3EXAMPLE00001\nsk = '5ec2e7-va1ue'\n"),
    ("password.lines", "5ec2e7-va1ue\n\n5ec2e7-va1ue\n"),
];

/// Certificates and keys of which a lenient parser would accept a part.
pub(super) fn no_pem() -> [(&'static str, String); 6] {
    let (whole, [_, _, (_, key), _]) = (certificate(), tls_files());
    let half: String = whole.lines().take(3).map(|line| format!("{line}\n")).collect();
    let indented: String = whole.lines().map(|line| format!("  {line}\n")).collect();
    [
        ("joined.pem", format!("{}{whole}", whole.trim_end())),
        ("indented.pem", format!("# two\n{indented}{whole}")),
        ("half.pem", format!("{half}{whole}")),
        ("trusted.pem", whole.replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
        ("bom.pem", format!("\u{feff}{whole}")),
        ("encrypted.key", key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
    ]
}

impl Directory {
    /// Returns the problems, by severity and message only.
    fn told(&self, reload: bool) -> Vec<(Severity, String)> {
        let loaded = load_at(&self.path("proxy.yaml"), LoadPhase { now: now(), reload });
        let report = loaded.map_or_else(|report| report, |loaded| loaded.warnings);
        let told = |problem: &Problem| (problem.severity, problem.message.clone());
        report.problems().iter().map(told).collect()
    }
}

#[test]
fn a_key_file_that_holds_no_key_keeps_a_start_back_and_no_reload() {
    let directory = Directory::valid();
    directory.write("sk", "5ec2e7\nva1ue\n");
    let [(at_start, message)] = &directory.told(false)[..] else { panic!("{:?}", directory.told(false)) };
    assert!(message.ends_with("/sk has no valid key: the secret key has more than one line"), "{message}");
    assert_eq!(*at_start, Severity::Error);
    assert_eq!(directory.told(true), [(Severity::Warning, message.clone())]);
}

#[test]
fn who_reaches_a_listener_with_tls_is_nobody_unless_that_is_accepted() {
    let tls = "tls: { certificate: tls.crt, key: tls.key }";
    let directory = Directory::valid();
    directory.change("proxy.yaml", "unsafe_listen: true", tls);
    assert_eq!(directory.told(false), []);
    let settings = load(&directory.path("proxy.yaml")).unwrap().settings;
    assert!(settings.listeners[2].may_be_remote);
    directory.change("policy.yaml", "listener: app }", "listener: app }, { listener: mesh }");
    let told = directory.told(false);
    let message = "anyone who can reach `mesh` would be this caller: it requires no certificate";
    assert!(told.contains(&(Severity::Error, message.into())), "{told:?}");
    directory.change("proxy.yaml", tls, &format!("{tls}\n    unsafe_listen: true"));
    assert_eq!(directory.told(false), []);
    // Only the process that gets a passed socket knows who can reach it.
    directory.change("proxy.yaml", "    unsafe_listen: true\n", "");
    directory.change("proxy.yaml", "bind: 0.0.0.0:8081", "bind: systemd:mesh");
    let settings = load(&directory.path("proxy.yaml")).unwrap().settings;
    assert!(!settings.listeners[2].may_be_remote);
}
