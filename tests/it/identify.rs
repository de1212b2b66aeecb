//! Authentication: each proof alone, and proofs that are refused rather than skipped in favour of a weaker one.

use std::{
    env,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::Command,
};

use nix::unistd::{Gid, Group, User, getegid, geteuid, getgid, getgroups, getuid, setgroups};
use serde_json::json;

use crate::harness::{Proxy, Setup, TOKEN, cancel, request};

#[test]
fn whoever_reaches_a_listener_is_the_caller_it_stands_for() {
    let proxy = Setup::new().start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    proxy.record(&answer).says(json!({
        "caller.id": "editor-api", "caller.identified_by": "listener", "listener": "app",
        "network.peer.address": "127.0.0.1", "outcome": "forwarded",
    }));
    assert_eq!(proxy.upstream_saw_one().status, Some(204));
}

#[test]
fn the_user_and_group_at_the_other_end_of_a_unix_socket_are_proofs() {
    let (uid, gid) = (getuid(), getgid());
    let user = User::from_uid(uid).unwrap().unwrap().name;
    let group = Group::from_gid(gid).unwrap().unwrap().name;
    for proof in [
        format!("uid: {uid}"),
        format!("gid: {gid}"),
        format!("uid: {uid}, gid: {gid}"),
        format!("user: {user}"),
        format!("group: {group}"),
        format!("user: {user}, group: {group}"),
        format!("uid: {uid}, group: {group}"),
    ] {
        let proxy = on_a_socket(&format!("batch-cleaner: {{ identify: [ {{ unix: {{ {proof} }} }} ] }}"));
        let answer = proxy.send_to("local", cancel("100211"));
        assert_eq!(answer.status, 204, "{proof}");
        proxy.record(&answer).says(json!({
            "caller.id": "batch-cleaner", "caller.identified_by": "unix", "listener": "local",
            "network.peer.address": format!("uid:{uid}"),
        }));
        assert_eq!(proxy.upstream_saw_one().status, Some(204));
    }
}

#[test]
fn another_user_or_group_is_nobody() {
    let (uid, gid) = (getuid(), getgid());
    let ours = getgroups().unwrap();
    let other = (gid.as_raw() + 1..).find(|group| !ours.contains(&Gid::from_raw(*group))).unwrap();
    for proof in [
        format!("uid: {}", uid.as_raw() + 1),
        format!("gid: {other}"),
        format!("uid: {uid}, gid: {other}"),
        format!("uid: {}, gid: {gid}", uid.as_raw() + 1),
    ] {
        let proxy = on_a_socket(&format!("batch-cleaner: {{ identify: [ {{ unix: {{ {proof} }} }} ] }}"));
        is_nobody(&proxy, "local", &cancel("100211"));
    }
}

/// Needs root to join other groups.
#[test]
fn a_supplementary_group_is_a_proof() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can join groups");
        return;
    }
    let (uid, others) = (getuid(), |count: u32| 5000..5000 + count);
    for (proof, groups, caller) in [
        ("gid: 4005".to_owned(), vec![4005], Some("batch-cleaner")),
        ("gid: 4005".to_owned(), vec![4004, 4005, 4006], Some("batch-cleaner")),
        (format!("uid: {uid}, gid: 4005"), vec![4005], Some("batch-cleaner")),
        (format!("uid: {}, gid: 4005", uid.as_raw() + 1), vec![4005], None),
        ("gid: 4005".to_owned(), vec![], None),
        ("gid: 4005".to_owned(), vec![4004, 4006], None),
        ("gid: 4005".to_owned(), others(63).chain([4005]).collect(), Some("batch-cleaner")),
        // More than are asked for: the primary group still counts.
        ("gid: 4005".to_owned(), others(64).chain([4005]).collect(), None),
        (format!("gid: {}", getegid()), others(200).collect(), Some("batch-cleaner")),
    ] {
        let proxy = on_a_socket(&format!("batch-cleaner: {{ identify: [ {{ unix: {{ {proof} }} }} ] }}"));
        let many = groups.len() > 64;
        for _ in 0..2 {
            proxy.queue("100211");
            proxy.expect_records(1);
            let status = if caller.is_some() { "HTTP/1.1 204" } else { "HTTP/1.1 401" };
            assert_eq!(ask_in_groups(&proxy, &groups), status, "{proof} {groups:?}");
        }
        for record in proxy.audit(2) {
            record.says(json!({ "caller.id": caller, "listener": "local" }));
        }
        let said = proxy.log().matches("too many supplementary groups").count();
        assert_eq!(said, usize::from(many), "{groups:?}");
    }
}

/// The beginning of the answer to a process in these groups.
fn ask_in_groups(proxy: &Proxy, groups: &[u32]) -> String {
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    let output = Command::new(env::current_exe().unwrap())
        .args(["identify::a_process_in_groups", "--exact", "--ignored", "--nocapture"])
        .env("TEST_SOCKET", proxy.path("proxy.sock"))
        .env("TEST_GROUPS", groups.join(" "))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let start = text.find("HTTP/1.1").unwrap_or_else(|| panic!("{text}"));
    text[start..].chars().take("HTTP/1.1 204".len()).collect()
}

/// Groups apply to a whole process.
#[test]
#[ignore = "the process that another test starts"]
fn a_process_in_groups() {
    let (Ok(socket), Ok(groups)) = (env::var("TEST_SOCKET"), env::var("TEST_GROUPS")) else { return };
    let groups: Vec<Gid> =
        groups.split_whitespace().map(|group| Gid::from_raw(group.parse().unwrap())).collect();
    setgroups(&groups).unwrap();
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(cancel("100211").as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    println!("{}", str::from_utf8(&answer).unwrap());
}

#[test]
fn two_proofs_of_different_callers_are_a_conflict_and_not_a_choice() {
    let proxy = on_a_socket(&format!(
        "batch-cleaner: {{ identify: [ {{ unix: {{ uid: {} }} }} ] }}
  editor-api: {{ identify: [ {{ listener: local }} ] }}",
        getuid()
    ));
    let answer = is_nobody(&proxy, "local", &cancel("100211"));
    assert!(answer.contains("different callers"), "{answer}");
}

#[test]
fn of_two_proofs_of_one_caller_the_stronger_is_recorded() {
    let proxy = on_a_socket(&format!(
        "batch-cleaner: {{ identify: [ {{ listener: local }}, {{ unix: {{ uid: {} }} }} ] }}",
        getuid()
    ));
    let answer = proxy.send_to("local", cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "caller.id": "batch-cleaner", "caller.identified_by": "unix" }));
    proxy.upstream_saw(1);
}

#[test]
fn a_bearer_token_proves_its_caller_in_either_header() {
    let proxy = with_bearer();
    for headers in [
        vec![format!("Authorization: Bearer {TOKEN}")],
        vec![format!("Proxy-Authorization: Bearer {TOKEN}")],
        vec![format!("authorization: bearer   {TOKEN}")],
        vec![format!("Authorization: Bearer {TOKEN}"), format!("Proxy-Authorization: Bearer {TOKEN}")],
        // The request of an SDK client, signed with dummy keys.
        vec![SDK_SIGNATURE.into(), format!("Proxy-Authorization: Bearer {TOKEN}")],
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        proxy.queue("100211");
        let answer = proxy.send_to("team", request("DELETE", TARGET, &headers));
        assert_eq!(answer.status, 204, "{headers:?}");
        proxy.record(&answer).says(json!({
            "caller.id": "oncall", "caller.identified_by": "bearer", "listener": "team",
        }));
    }
    proxy.upstream_saw(5);
}

/// A token that cannot be verified may be another caller's, so the listener's caller is not assumed.
#[test]
fn a_bearer_token_where_none_is_taken_is_not_passed_over() {
    let proxy = with_bearer();
    for header in [
        format!("Authorization: Bearer {TOKEN}"),
        format!("Proxy-Authorization: Bearer {TOKEN}"),
        "authorization: bearer".into(),
        "Proxy_Authorization: Bearer x".into(),
    ] {
        let answer = proxy.send(request("DELETE", TARGET, &[&header])).refused(401, "PROXY.Unauthenticated");
        assert!(answer.error_msg().contains("`bearer: true`"), "{answer:#?}");
    }
    proxy.upstream_saw(0);
    // The dummy of an SDK is no token.
    assert_eq!(proxy.send(request("DELETE", TARGET, &[SDK_SIGNATURE])).status, 204);
}

#[test]
fn a_wrong_or_malformed_bearer_token_is_nobody_even_where_a_weaker_proof_holds() {
    let proxy = with_bearer();
    let (wrong, right) = ("Authorization: Bearer wrong-token-0123456789", format!("Bearer {TOKEN}"));
    for headers in [
        vec![wrong.to_owned()],
        vec![wrong.replace("Authorization", "Proxy-Authorization")],
        vec![wrong.into(), format!("Proxy-Authorization: {right}")],
        vec![format!("Authorization: {right}x")],
        vec![format!("Authorization: {right}, {right}")],
        vec![format!("Authorization: {right}"), format!("Authorization: {right}")],
        vec![format!("Authorization: {right}"), wrong.into()],
        vec![format!("Proxy-Authorization: {right}"), format!("Proxy-Authorization: {right}")],
        vec!["Authorization: Bearer short".into()],
        vec!["Authorization: Bearer".into()],
        vec!["Authorization:".into()],
        vec![format!("Authorization: Basic {TOKEN}")],
        vec![format!("Authorization: {TOKEN}")],
        vec![SDK_SIGNATURE.replace("Authorization", "Proxy-Authorization")],
        vec![format!("Proxy_Authorization: {right}")],
        vec![format!("proxy_authorization: {right}"), format!("Authorization: {right}")],
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        for listener in ["team", "both"] {
            is_nobody(&proxy, listener, &request("DELETE", TARGET, &headers));
        }
    }
}

#[test]
fn without_a_token_a_listener_for_tokens_knows_nobody() {
    let proxy = with_bearer();
    is_nobody(&proxy, "team", &cancel("100211"));
    is_nobody(&proxy, "team", &request("DELETE", TARGET, &[SDK_SIGNATURE]));
    // If the listener identifies its caller, an SDK's signature does no harm.
    let answer = proxy.send_to("both", request("DELETE", TARGET, &[SDK_SIGNATURE])).with_status(204);
    proxy.record(&answer).says(json!({ "caller.id": "editor-api", "caller.identified_by": "listener" }));
    proxy.upstream_saw(1);
}

#[test]
fn a_token_of_another_caller_than_the_listeners_is_a_conflict() {
    let proxy = with_bearer();
    let with_token = request("DELETE", TARGET, &[&format!("Authorization: Bearer {TOKEN}")]);
    let answer = is_nobody(&proxy, "both", &with_token);
    assert!(answer.contains("different callers"), "{answer}");
}

/// Asserts 401, nothing sent, no caller in the record. Returns the text of the answer.
fn is_nobody(proxy: &Proxy, listener: &str, request: &str) -> String {
    let answer = proxy.send_to(listener, request).refused(401, "PROXY.Unauthenticated");
    proxy.record(&answer).says(json!({
        "caller.id": null, "caller.identified_by": null, "listener": listener, "policy.effect": null,
        "http.response.status_code": 401, "outcome": "refused", "error.type": "PROXY.Unauthenticated",
        "upstream.attempts": 0,
    }));
    proxy.upstream_saw(0);
    answer.error_msg()
}

/// A proxy with a Unix socket, `local`, whose callers may do everything.
fn on_a_socket(callers: &str) -> Proxy {
    Setup::new().listeners(&["{ name: local, bind: 'unix:proxy.sock' }"]).policy(&policy(callers)).start()
}

/// `team` accepts tokens; `both` accepts them besides identifying its caller; `app` accepts none.
fn with_bearer() -> Proxy {
    Setup::new()
        .listeners(&[
            "{ name: app, bind: 127.0.0.1:0 }",
            "{ name: team, bind: 127.0.0.1:0, bearer: true }",
            "{ name: both, bind: 127.0.0.1:0, bearer: true }",
        ])
        .policy(&policy(
            "editor-api: { identify: [ { listener: app }, { listener: both } ] }
  oncall: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }",
        ))
        .start()
}

fn policy(callers: &str) -> String {
    format!(
        "version: 1
callers:
  {callers}
rules:
  - {{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
"
    )
}

const TARGET: &str = "/v2/media-prod/editing/jobs/100211";
const SDK_SIGNATURE: &str =
    "Authorization: SDK-HMAC-SHA256 Access=dummy, SignedHeaders=host;x-sdk-date, Signature=00";
