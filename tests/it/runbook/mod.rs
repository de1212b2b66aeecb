//! The runbook: each situation is produced with the real binary, and every command of its section is run there and
//! prints what the page shows.

mod callers;
mod cloud;
mod machine;
mod page;

use std::fs;

use page::{Page, RUNBOOK};

use crate::harness::Setup;

/// Defines a test for each section of the runbook, and their list.
macro_rules! situations {
    ($($title:literal: $module:ident::$situation:ident;)*) => {
        $(
            #[test]
            fn $situation() {
                let mut page = Page::of($title);
                if $module::$situation(&mut page).is_some() {
                    page.ends();
                }
            }
        )*

        const SITUATIONS: &[&str] = &[$($title,)*];
    };
}

situations! {
    "401 PROXY.Unauthenticated": callers::nobody_knows_the_caller;
    "403 PROXY.Forbidden": callers::no_rule_allows_it;
    "421 PROXY.WrongHost": callers::another_host_is_meant;
    "429 PROXY.RateLimited": callers::a_caller_calls_too_often;
    "502 PROXY.UpstreamUnreachable": cloud::upstream_cannot_be_reached;
    "503 PROXY.NoCredential": machine::there_is_no_credential;
    "401 APIGW.0301: the key is wrong": cloud::the_key_is_wrong;
    "503 PROXY.NoCredential: suspended": cloud::the_key_is_held_back;
    "503 PROXY.CircuitOpen": cloud::the_circuit_is_open;
    "503 PROXY.Overloaded": callers::too_much_is_under_way;
    "503 PROXY.AuditBlocked": machine::the_audit_sink_takes_nothing;
    "503 PROXY.AuditBlocked: the disk is full": machine::the_disk_is_full;
    "503 PROXY.Frozen": callers::somebody_froze_it;
    "503 PROXY.Draining": machine::it_stops;
    "503 PROXY.LookupFailed": cloud::the_job_cannot_be_looked_up;
    "504 PROXY.UpstreamTimeout": cloud::upstream_does_not_answer;
    "The clock is wrong": cloud::the_clock_is_wrong;
    "A policy is half edited": machine::the_policy_is_half_edited;
    "A certificate has expired": machine::a_certificate_has_expired;
    "It is down": machine::it_is_down;
    "It is not ready": machine::it_is_not_ready;
    "Many calls fail": cloud::many_calls_fail;
    "A policy is only observed": machine::the_policy_is_only_observed;
}

#[test]
fn each_section_has_its_situation() {
    let document = fs::read_to_string(RUNBOOK).unwrap();
    let titles = document.split("\n## ").skip(1).filter_map(|section| section.lines().next());
    assert!(titles.eq(SITUATIONS.iter().copied()), "the sections are those of the list, in its order");
    let table: String = document.lines().filter(|line| line.starts_with("| ")).collect();
    for title in SITUATIONS {
        assert!(table.contains(&format!("[{title}]({})", anchor(title))), "{title} is in the table");
    }
}

/// GitHub's anchor of a heading.
pub(super) fn anchor(title: &str) -> String {
    let kept = title.to_lowercase().replace(' ', "-");
    format!("#{}", kept.replace(|c: char| !(c.is_ascii_alphanumeric() || c == '-'), ""))
}

/// A proxy with its records and admin socket in its folder.
fn setup() -> Setup {
    Setup::new().section("audit: { sink: audit.log }").section("admin: { bind: 'unix:admin.sock' }")
}
