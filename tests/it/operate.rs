//! What can an operator do while it runs? Freeze and thaw, look, reload, stop.

use std::fs;

use serde_json::json;

use crate::harness::{Answer, Proxy, Setup, cancel, request, wait_for};

#[test]
fn a_freeze_refuses_every_call_until_it_is_lifted() {
    let proxy = with_admin();
    let told = operator(&proxy, "PUT", "/freeze").json();
    assert_eq!((&told["frozen"], &told["by"]), (&json!(true), &json!(["operator"])));
    assert!(told["note"].as_str().unwrap().contains("ends with this process"), "{told}");
    is_frozen(&proxy);
    let status = proxy.probe("/status").json();
    assert_eq!((&status["frozen"], &status["freeze"][0]["by"]), (&json!(true), &json!("operator")));
    let thawed = json!({ "frozen": false, "by": [], "note": null });
    assert_eq!(operator(&proxy, "DELETE", "/freeze").json(), thawed);
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    proxy.upstream_saw(1);
}

#[test]
fn a_freeze_file_does_the_same_and_neither_lifts_the_others() {
    let proxy = with_admin();
    fs::write(proxy.path("freeze"), "").unwrap();
    wait_for("freeze", || (proxy.probe("/status").json()["frozen"] == true).then_some(()));
    is_frozen(&proxy);
    let told = operator(&proxy, "DELETE", "/freeze").json();
    assert_eq!((&told["frozen"], &told["by"]), (&json!(true), &json!(["file"])));
    is_frozen(&proxy);
    fs::remove_file(proxy.path("freeze")).unwrap();
    wait_for("thaw", || (proxy.probe("/status").json()["frozen"] == false).then_some(()));
    assert_eq!(proxy.send(cancel("100211")).status, 204);
}

#[test]
fn status_says_what_is_in_force_and_what_was_decided_last() {
    let proxy = with_admin();
    let answer = proxy.send(cancel("100211"));
    let record = proxy.record(&answer);
    let status = wait_for("decision", || {
        let status = proxy.probe("/status").json();
        (status["decisions"] != json!([])).then_some(status)
    });
    assert_eq!(status["decisions"][0]["request.id"], answer.header("proxy-request-id"));
    assert_eq!(status["policy"]["hash"], record["policy.hash"]);
    assert_eq!(
        status["credentials"],
        json!([{
            "name": "prod", "source": "files", "ready": true, "key_hint": "HARN", "expires_at": null,
            "held_back_seconds": null, "problem": null, "looked_at": [],
        }])
    );
    assert_eq!(
        status["listeners"],
        json!([{ "name": "app", "address": proxy.address("app"), "problem": null }])
    );
    assert_eq!(
        (&status["ready"], &status["draining"], &status["frozen"]),
        (&json!(true), &json!(false), &json!(false))
    );
    let seen_by_operators = operator(&proxy, "GET", "/status").json();
    assert_eq!(seen_by_operators["policy"]["hash"], status["policy"]["hash"]);
}

#[test]
fn an_operator_reloads_and_is_told_what_came_of_it() {
    let proxy = with_admin();
    let good = fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    let hash = operator(&proxy, "POST", "/reload").json()["policy"].clone();
    assert_eq!(proxy.probe("/status").json()["policy"]["hash"], hash);
    proxy.write("policy.yaml", &good.replace("allow", "alow"));
    let answer = operator(&proxy, "POST", "/reload");
    assert_eq!(answer.status, 409);
    assert!(
        answer.json()["problem"].as_str().unwrap().contains("`alow` is not one of allow, deny"),
        "{answer:?}"
    );
}

#[test]
fn an_operator_stops_it_and_the_socket_is_gone() {
    let mut proxy = with_admin();
    assert_eq!(operator(&proxy, "POST", "/shutdown").status, 202);
    assert_eq!(proxy.ended().code(), Some(0));
    assert!(!proxy.path("admin.sock").exists());
}

#[test]
fn the_probes_listener_changes_nothing() {
    let proxy = with_admin();
    for target in ["/freeze", "/reload", "/shutdown"] {
        assert_eq!(proxy.probe(target).status, 404);
    }
    assert_eq!(proxy.send(cancel("100211")).status, 204);
}

fn with_admin() -> Proxy {
    let setup = Setup::new();
    let admin = format!("admin: {{ bind: 'unix:{}' }}", setup.path("admin.sock").display());
    setup.section(&admin).section("freeze_file: freeze").start()
}

fn operator(proxy: &Proxy, method: &str, target: &str) -> Answer {
    proxy.ask_unix("admin.sock", &request(method, target, &["Connection: close"]))
}

fn is_frozen(proxy: &Proxy) {
    let answer = proxy.send(cancel("100211"));
    answer.is_refusal(503, "PROXY.Frozen");
    proxy.record(&answer).says(json!({
        "outcome": "refused", "error.type": "PROXY.Frozen", "policy.effect": "allow", "upstream.attempts": 0,
    }));
}
