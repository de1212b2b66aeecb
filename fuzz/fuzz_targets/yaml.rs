//! Fuzzes configuration files: every file becomes settings or a readable report, never a panic.
#![no_main]

use std::cell::OnceCell;
use std::fs;

use libfuzzer_sys::fuzz_target;
use mpc_auth_proxy::config;
use tempfile::TempDir;

thread_local! {
    static DIRECTORY: OnceCell<TempDir> = const { OnceCell::new() };
}

const PROXY: &str = include_str!("../../config/minimal/proxy.yaml");
const POLICY: &str = include_str!("../../config/minimal/policy.yaml");

// The first byte says which file the rest is, so that any sample can be a seed.
fuzz_target!(|input: &[u8]| {
    let Some((which, text)) = input.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    DIRECTORY.with(|directory| {
        let directory = directory.get_or_init(|| TempDir::new_in("/dev/shm").unwrap()).path();
        let [proxy, policy, cases] =
            ["proxy.yaml", "policy.yaml", "cases.yaml"].map(|name| directory.join(name));
        fs::write(&proxy, if which % 3 == 0 { text } else { PROXY }).unwrap();
        fs::write(&policy, if which % 3 == 1 { text } else { POLICY }).unwrap();
        fs::write(&cases, text).unwrap();
        if which % 3 == 2 {
            let _ = config::cases(&cases).map_err(|report| assert!(readable(&report)));
        } else if let Err(report) = config::load(&proxy) {
            assert!(readable(&report));
        }
        if which % 3 == 1 {
            let _ = config::policy_alone(&policy, None, Vec::new).map_err(|report| assert!(readable(&report)));
        }
    });
});

/// A report without an error is none, and it never sends anything to the terminal but text.
fn readable(report: &config::Report) -> bool {
    let text = report.to_string();
    report.has_errors() && !text.contains(|c: char| c.is_control() && c != '\n')
}
