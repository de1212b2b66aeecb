//! Reloads: however files change, the whole new policy is in force soon after, on open connections too;
//! a file that cannot be loaded changes nothing and is reported with the location.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Authority, Proxy, Setup, Wanted, Wire, cancel, request, wait_for};

#[test]
fn every_way_to_write_a_file_is_noticed() {
    let proxy = Setup::new().policy(&policy("allow")).start();
    let path = proxy.path("policy.yaml");
    for (step, write) in [in_place, by_rename, like_vim, removed_and_made_again].into_iter().enumerate() {
        let effect = if step % 2 == 0 { "deny" } else { "allow" };
        write(&path, &policy(effect));
        decides(&proxy, effect);
    }
}

#[test]
fn a_kubernetes_config_map_is_followed_through_its_links() {
    let setup = Setup::new();
    let folder = setup.path("mounted");
    let version = |name: &str, effect: &str| {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("policy.yaml"), policy(effect)).unwrap();
    };
    version("..1", "allow");
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/policy.yaml", folder.join("policy.yaml")).unwrap();
    let proxy = setup.policy_file("mounted/policy.yaml").start();
    decides(&proxy, "allow");
    version("..2", "deny");
    symlink("..2", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    decides(&proxy, "deny");
}

#[test]
fn sighup_reloads() {
    let proxy = Setup::new().policy(&policy("allow")).start();
    proxy.signal_and_wait(Signal::SIGHUP, "configuration reloaded");
}

#[test]
fn what_cannot_be_loaded_keeps_the_last_good_policy_and_is_told_with_its_place() {
    let deny = policy("deny");
    for (broken, place) in [
        (policy("alow"), "policy.yaml:5:28: `alow` is not one of allow, deny"),
        (
            deny.replace("rules:", "  editor-api: { identify: [ { listener: app } ] }\nrules:"),
            "policy.yaml:4:3: ",
        ),
        (deny.replace("[editor-api]", "[editor-apy]"), "policy.yaml:5:"),
        (deny[..deny.len() - 20].to_owned(), "policy.yaml:5:"),
        (String::new(), "policy.yaml"),
    ] {
        let proxy = Setup::new().policy(&policy("allow")).start();
        let hash = hash_in_force(&proxy);
        proxy.write("policy.yaml", &broken);
        let line = proxy.logged("configuration not reloaded: the last good one stays in force");
        let problem = line["problem"].as_str().unwrap();
        assert!(problem.contains(place), "{problem}");
        decides(&proxy, "allow");
        let status = proxy.probe("/status").json();
        assert_eq!(
            (&status["policy"]["hash"], &status["reload"]["state"], &status["reload"]["problem"]),
            (&json!(hash), &json!("refused"), &json!(problem))
        );
        let metrics = proxy.probe("/metrics").body;
        assert!(metrics.contains("mpc_auth_proxy_reloads_total{outcome=\"failure\"} 1"), "{metrics}");
        proxy.write("policy.yaml", &policy("deny"));
        decides(&proxy, "deny");
        let reload = proxy.probe("/status").json()["reload"].clone();
        assert_eq!((&reload["state"], &reload["problem"]), (&json!("in_force"), &json!(null)));
    }
}

#[test]
fn what_needs_a_restart_refuses_the_whole_reload_and_is_named() {
    let proxy = Setup::new().policy(&policy("allow")).start();
    let yaml = fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    proxy.write("policy.yaml", &policy("deny"));
    decides(&proxy, "deny");
    proxy.write("proxy.yaml", &yaml.replace("name: app,", "name: app, bearer: true,"));
    let line = proxy.logged("configuration not reloaded: the last good one stays in force");
    assert_eq!(line["problem"], "changing listeners requires a restart");
    decides(&proxy, "deny");
}

#[test]
fn what_is_enforced_less_than_before_is_a_warning_and_stays_visible() {
    let listeners = ["{ name: app, bind: 127.0.0.1:0 }", "{ name: team, bind: 127.0.0.1:0, bearer: true }"];
    let with_token = policy("deny")
        .replace("rules:", "  oncall: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }\nrules:");
    let proxy = Setup::new().listeners(&listeners).policy(&with_token).start();
    let policy_of = |proxy: &Proxy| proxy.probe("/status").json()["policy"].clone();
    assert_eq!(
        (&policy_of(&proxy)["mode"], &policy_of(&proxy)["observing"]),
        (&json!("enforce"), &json!([]))
    );
    let less = "the reloaded configuration enforces less than before";
    let whats = |proxy: &Proxy| -> Vec<String> {
        let lines = proxy
            .log()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .collect::<Vec<_>>();
        let lines = lines.into_iter().filter(|line| line["message"] == less && line["level"] == "WARN");
        lines.map(|line| line["what"].as_str().unwrap().to_owned()).collect()
    };
    let rule = with_token.replace("id: is-deny,", "id: is-deny, mode: observe,");
    let open = rule.replace("{ bearer: { sha256_file: oncall.sha256 } }", "{ listener: team }");
    for (text, mode, expected) in [
        (rule, "enforce", "rule `is-deny` no longer denies: it has `mode: observe`"),
        (
            open.clone(),
            "enforce",
            "anyone who connects to the listener `team` is now `oncall`, without proof",
        ),
        (
            open.replace("version: 1", "version: 1\nmode: observe"),
            "observe",
            "nothing is denied any more: the policy has `mode: observe`",
        ),
    ] {
        let told = whats(&proxy).len();
        proxy.write("policy.yaml", &text);
        wait_for(expected, || (whats(&proxy).len() > told).then_some(()));
        assert_eq!(whats(&proxy)[told..], [expected]);
        assert_eq!(
            (&policy_of(&proxy)["mode"], &policy_of(&proxy)["observing"]),
            (&json!(mode), &json!(["is-deny"]))
        );
    }
}

#[test]
fn what_check_finds_is_told_at_each_reload() {
    let authority = Authority::new();
    let (good, expired) =
        (authority.issue(Wanted::server()), authority.issue(Wanted::server().valid(-7200, -60)));
    let listener = "{ name: app, bind: 127.0.0.1:0, tls: { certificate: tls.crt, key: tls.key } }";
    let setup = Setup::new().file("tls.crt", &good.certificate_pem).file("tls.key", &good.key_pem);
    let proxy = setup.listeners(&[listener]).start();
    assert!(!proxy.log().contains("expired on"));
    let narrow = "is too broad: `*` in `projects`";
    let told = proxy.log().matches(narrow).count();
    proxy.write("tls.key", &expired.key_pem);
    proxy.write("tls.crt", &expired.certificate_pem);
    wait_for("warning", || proxy.log().contains("expired on").then_some(()));
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains("expired on")).unwrap();
    assert!(line.contains("\"level\":\"WARN\""), "{line}");
    wait_for("the other findings", || (proxy.log().matches(narrow).count() > told).then_some(()));
}

#[test]
fn each_reload_says_what_changed() {
    let rule = |id: &str, jobs: &str| {
        format!(
            "  - {{ id: {id}, effect: allow, callers: [editor-api], actions: [mpc:editingTask:delete], projects: [media-prod], jobs: ['{jobs}'] }}\n"
        )
    };
    let policy = |caller: &str, rules: &[String]| {
        format!(
            "version: 1\ncallers:\n  editor-api: {{ identify: [ {{ listener: app }} ]{caller}\nrules:\n{}",
            rules.concat()
        )
    };
    let proxy = Setup::new().with_team().policy(&policy(" }", &[rule("a", "*"), rule("b", "1*")])).start();
    let oncall = " }\n  oncall: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }";
    for (caller, rules, changed) in [
        (" }", vec![rule("a", "*"), rule("b", "2*"), rule("c", "3*")], "rules added: c; rules changed: b"),
        (
            " }",
            vec![rule("c", "3*"), rule("a", "*"), rule("b", "2*")],
            "only the policy's text, or the order of its rules",
        ),
        (oncall, vec![rule("a", "*")], "rules removed: b, c; callers added: oncall"),
        (
            ", limits: { rate: 5/min } }",
            vec![rule("a", "*")],
            "callers removed: oncall; limits changed: editor-api",
        ),
    ] {
        proxy.write("policy.yaml", &policy(caller, &rules));
        let line = wait_for(changed, || {
            let log = proxy.log();
            let line =
                log.lines().rfind(|line| line.contains("\"configuration reloaded\"")).map(str::to_owned);
            line.filter(|line| line.contains(changed))
        });
        // The share of calls in flight is a limit too, and depends on the number of callers.
        assert!(line.contains(&format!("\"changed\":\"{changed}")), "{line}");
    }
}

#[test]
fn a_revocation_is_felt_on_the_next_request_of_an_open_connection() {
    let proxy = Setup::new().policy(&policy("allow")).start();
    let mut wire = proxy.connect();
    let (allowed, first) = ask(&proxy, &mut wire);
    assert_eq!(allowed, "allow");
    proxy.write("policy.yaml", &policy("deny"));
    let (_, second) = wait_for("denial", || {
        proxy.expect_records(1);
        Some(ask(&proxy, &mut wire)).filter(|(effect, _)| *effect == "deny")
    });
    assert_ne!(first, second, "each record names the policy that decided it");
}

#[test]
fn reloads_under_load_fail_no_call_and_every_decision_is_of_one_whole_policy() {
    let admin = "admin: { bind: 'unix:admin.sock' }";
    let proxy = Setup::new().policy(&policy("allow")).section(admin).start();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| call_until(&proxy, &over))).collect();
        for round in 0..rounds() {
            let text = match round % 4 {
                0 => policy("deny"),
                1 => policy("alow"),
                2 => policy("allow"),
                _ => policy("deny")[..40].to_owned(),
            };
            proxy.write("policy.yaml", &text);
            let asked = request("POST", "/reload", &["Connection: close"]);
            let taken = if round % 2 == 0 { 200 } else { 409 };
            assert_eq!(proxy.ask_unix("admin.sock", &asked).status, taken, "round {round}");
        }
        over.store(true, Relaxed);
        for caller in callers {
            assert!(caller.join().unwrap() > 0);
        }
    });
    for record in proxy.records() {
        let rule = if record["policy.effect"] == "allow" { "is-allow" } else { "is-deny" };
        assert_eq!(record["policy.rule"], rule, "{record:?}");
    }
}

/// `RELOADS=10000 cargo test --test it reloads_under_load` for a long run.
fn rounds() -> usize {
    std::env::var("RELOADS").map_or(200, |text| text.parse().unwrap())
}

/// Cancels jobs on one connection and returns their number. Each answer matches one of the two policies.
fn call_until(proxy: &Proxy, over: &AtomicBool) -> usize {
    let mut wire = proxy.dial("app");
    let mut calls = 0;
    while !over.load(Relaxed) {
        proxy.expect_records(1);
        let answer = wire.ask(cancel("none"));
        let own = answer.json()["error_code"] == "PROXY.Forbidden";
        assert!(own || answer.json()["error_code"] == "MPC.10211", "{answer:?}");
        calls += 1;
        if answer.is_last() {
            wire = proxy.dial("app");
        }
    }
    calls
}

/// Waits until calls get this answer.
fn decides(proxy: &Proxy, effect: &str) {
    wait_for(effect, || {
        let mut wire = proxy.connect();
        (ask(proxy, &mut wire).0 == effect).then_some(())
    });
}

/// The decision on a call, and the policy it was made by.
fn ask(proxy: &Proxy, wire: &mut Wire) -> (&'static str, String) {
    let answer = wire.ask(cancel("none"));
    let effect = if answer.json()["error_code"] == "PROXY.Forbidden" { "deny" } else { "allow" };
    let record = proxy.record(&answer);
    record.says(json!({ "policy.effect": effect, "policy.rule": format!("is-{effect}") }));
    (effect, record.text("policy.hash").to_owned())
}

fn hash_in_force(proxy: &Proxy) -> String {
    proxy.probe("/status").json()["policy"]["hash"].as_str().unwrap().to_owned()
}

fn policy(effect: &str) -> String {
    format!(
        "version: 1
callers:
  editor-api: {{ identify: [ {{ listener: app }} ] }}
rules:
  - {{ id: is-{effect}, effect: {effect}, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['*'] }}
"
    )
}

fn in_place(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn by_rename(path: &Path, text: &str) {
    fs::write(path.with_extension("new"), text).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

fn like_vim(path: &Path, text: &str) {
    fs::rename(path, path.with_extension("yaml~")).unwrap();
    fs::write(path, text).unwrap();
    fs::remove_file(path.with_extension("yaml~")).unwrap();
}

fn removed_and_made_again(path: &Path, text: &str) {
    fs::remove_file(path).unwrap();
    fs::write(path, text).unwrap();
}
