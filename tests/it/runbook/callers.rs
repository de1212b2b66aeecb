//! Problems of callers: identity, permissions and limits.

use super::{page::Page, setup};
use crate::harness::{Held, Proxy, TOKEN, cancel, wait_for};
use sha2::{Digest, Sha256};

pub(super) fn nobody_knows_the_caller(page: &mut Page) -> Option<()> {
    let digest = |token: &str| hex::encode(Sha256::digest(token));
    let setup = setup().with_team().everything_allowed();
    let proxy = setup.file("oncall.sha256", &digest("an-older-token-of-oncall")).start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&["unknown_token", "\"listener\":\"team\"", ", token\"", "sha256_file"]);
    proxy.write("oncall.sha256", &digest(TOKEN));
    reloaded(&proxy);
    page.block(&proxy);
    Some(())
}

pub(super) fn no_rule_allows_it(page: &mut Page) -> Option<()> {
    let proxy = setup().policy(EDITOR).start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&["no_rule", "policy.yaml:4", "its `jobs` are", "the call has 100211"]);
    proxy.write("policy.yaml", &EDITOR.replace("trial-*", "'*'"));
    page.block(&proxy);
    Some(())
}

pub(super) fn another_host_is_meant(page: &mut Page) -> Option<()> {
    let proxy = setup().start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&[
        "wrong_host",
        "\"server.address\":\"mpc-proxy.media.svc\"",
        "\"listener\":\"app\"",
        "`hosts`",
    ]);
    page.block(&proxy);
    Some(())
}

pub(super) fn a_caller_calls_too_often(page: &mut Page) -> Option<()> {
    let limited = EDITOR.replace("] } }", "], limits: { rate: 1/h } } }");
    let proxy = setup().policy(&limited.replace("trial-*", "'*'")).start().records_elsewhere();
    proxy.send(cancel("100211"));
    page.block(&proxy);
    page.one_says(&["caller_limit", "\"caller.id\":\"editor-api\"", "`limits`"]);
    proxy.write("policy.yaml", &EDITOR.replace("trial-*", "'*'"));
    proxy.queue("100211");
    page.block(&proxy);
    Some(())
}

pub(super) fn too_much_is_under_way(page: &mut Page) -> Option<()> {
    let held = Held::answering(|_| "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".into());
    let setup = setup().upstream(&held.url()).section("limits: { in_flight: 1 }");
    let proxy = setup.start().records_elsewhere();
    let mut slow = proxy.sending(cancel("100211"));
    held.has(1);
    page.block(&proxy);
    page.one_says(&["overloaded", "`limits.in_flight`", "\"listener\":\"app\""]);
    held.let_go();
    assert_eq!(slow.answer().status, 204);
    page.block(&proxy);
    Some(())
}

pub(super) fn somebody_froze_it(page: &mut Page) -> Option<()> {
    let proxy = setup().start().records_elsewhere();
    let frozen = proxy.run("freeze --caller editor-api --reason MEDIA-412");
    assert!(frozen.status.success(), "{frozen:?}");
    page.block(&proxy);
    page.one_says(&["FROZEN", "editor-api", "uid", "MEDIA-412"]);
    page.block(&proxy);
    Some(())
}

/// Puts the written files in force.
fn reloaded(proxy: &Proxy) {
    wait_for("reload", || proxy.run("reload").status.success().then_some(()));
}

const EDITOR: &str = "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules:
  - { id: editor-cancels, effect: allow, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: [trial-*] }
";
