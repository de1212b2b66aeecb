//! Problems of the machine: files, disks and the process itself.

use std::fs;

use nix::sys::signal::Signal;

use super::{page::Page, setup};
use crate::harness::{ACCESS_KEY, Authority, Mount, Setup, Wanted, cancel, wait_for};

pub(super) fn there_is_no_credential(page: &mut Page) -> Option<()> {
    let setup = setup().credential("{ files: { access_key: ./ak, secret_key: ./sk } }");
    fs::remove_file(setup.path("ak")).unwrap();
    let proxy = setup.start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&["NOT READY", "prod from files", "cannot read ./ak: No such file"]);
    proxy.write("ak", ACCESS_KEY);
    page.block(&proxy);
    Some(())
}

pub(super) fn the_audit_sink_takes_nothing(page: &mut Page) -> Option<()> {
    let proxy = setup().start().records_elsewhere();
    proxy.limit_file_size(0);
    proxy.send(cancel("none"));
    page.block(&proxy);
    page.one_says(&["the audit sink is blocked", "audit.log", "File too large"]);
    proxy.limit_file_size(1 << 30);
    page.block(&proxy);
    Some(())
}

pub(super) fn the_disk_is_full(page: &mut Page) -> Option<()> {
    let mount = Mount::of_kib(256)?;
    let section = format!("audit: {{ sink: {} }}", mount.inside("audit.log").display());
    let setup = Setup::new().section(&section).section("admin: { bind: 'unix:admin.sock' }");
    let proxy = mount.shown_to(setup).start().records_elsewhere();
    mount.fill();
    page.block(&proxy);
    page.one_says(&["the audit sink is blocked", "audit.log", "No space left on device"]);
    mount.empty();
    page.block(&proxy);
    Some(())
}

pub(super) fn it_stops(page: &mut Page) -> Option<()> {
    let mut proxy = setup().section("drain: { delay: 600s }").start().records_elsewhere();
    proxy.signal_and_wait(Signal::SIGTERM, "draining");
    page.block(&proxy);
    page.one_says(&["draining", "SIGTERM"]);
    // A second signal a while later ends the wait.
    wait_for("the end", || {
        proxy.signal(Signal::SIGINT);
        proxy.log().contains("asked again").then_some(())
    });
    proxy.ended();
    page.block(&proxy);
    Some(())
}

pub(super) fn the_policy_is_half_edited(page: &mut Page) -> Option<()> {
    let proxy = setup().start().records_elsewhere();
    let good = fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    proxy.write("policy.yaml", &good.replace("callers: [editor-api]", "callers: [editr-api]"));
    page.block(&proxy);
    page.one_says(&["RELOAD", "policy.yaml:5", "editr-api"]);
    proxy.write("policy.yaml", &good);
    page.block(&proxy);
    Some(())
}

pub(super) fn a_certificate_has_expired(page: &mut Page) -> Option<()> {
    let authority = Authority::new();
    let expired = authority.issue(Wanted::server().valid(-7200, -3600));
    let setup = setup().mesh(&authority).file("tls.crt", &expired.certificate_pem);
    let proxy = setup.file("tls.key", &expired.key_pem).start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&["mesh", "its certificate expired at", "replace its file"]);
    let renewed = authority.issue(Wanted::server());
    proxy.write("tls.key", &renewed.key_pem);
    proxy.write("tls.crt", &renewed.certificate_pem);
    page.block(&proxy);
    Some(())
}

pub(super) fn it_is_down(page: &mut Page) -> Option<()> {
    let mut proxy = setup().start().records_elsewhere();
    assert_eq!(proxy.stop(), Some(0));
    let good = fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    proxy.write("policy.yaml", &good.replace("callers: [editor-api]", "callers: [editr-api]"));
    page.block(&proxy);
    page.one_says(&["policy.yaml:5", "editr-api"]);
    proxy.write("policy.yaml", &good);
    page.block(&proxy);
    Some(())
}

pub(super) fn it_is_not_ready(page: &mut Page) -> Option<()> {
    let setup = setup().credential("{ files: { access_key: ./ak, secret_key: ./sk } }");
    fs::remove_file(setup.path("ak")).unwrap();
    let proxy = setup.start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&["[-] credential prod of project media-prod", "not ready"]);
    proxy.write("ak", ACCESS_KEY);
    page.block(&proxy);
    Some(())
}

pub(super) fn the_policy_is_only_observed(page: &mut Page) -> Option<()> {
    let setup = setup();
    let good = fs::read_to_string(setup.path("policy.yaml")).unwrap();
    let observed = "  - { id: no-releases, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['release-*'], mode: observe }";
    let proxy = setup.policy(&format!("{good}{observed}\n")).start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&["observed only", "no-releases"]);
    proxy.write("policy.yaml", &good);
    page.block(&proxy);
    Some(())
}
