//! The sandbox. That work is possible in it is tested by all others, which run in it too.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Proxy, Setup, TOKEN, cancel, copy_program, request, wait_for};

#[test]
fn it_confines_itself_and_says_so() {
    let proxy = Setup::new().start();
    let state = proxy.probe("/status").json()["sandbox"].clone();
    let landlock = match (has_landlock(ABI::V5), has_landlock(ABI::V1)) {
        (true, _) => "on",
        (false, true) => "on, as far as this kernel goes",
        (false, false) => "off: not available here",
    };
    assert_eq!(state, json!({ "no_core_dumps": "on", "no_new_privs": "on", "landlock": landlock }));
    for (measure, state) in state.as_object().unwrap() {
        let said = log(&proxy).into_iter().filter(|line| line["measure"] == **measure).collect::<Vec<_>>();
        assert_eq!(said.len(), 1, "{measure}");
        assert_eq!((&said[0]["level"], &said[0]["state"]), (&"INFO".into(), state));
    }
    assert_eq!(of_process(&proxy, "status", "NoNewPrivs:"), ["1"]);
    assert_eq!(of_process(&proxy, "limits", "Max core file size"), ["0", "0", "bytes"]);
}

#[test]
fn told_not_to_it_confines_nothing_and_says_so() {
    let proxy = Setup::new().argument("--no-sandbox").start();
    let off = "off: --no-sandbox";
    let state = proxy.probe("/status").json()["sandbox"].clone();
    assert_eq!(state, json!({ "no_core_dumps": off, "no_new_privs": off, "landlock": off }));
    assert_eq!(of_process(&proxy, "status", "NoNewPrivs:"), own("NoNewPrivs:"));
}

/// As under a kernel without it, or a container runtime that forbids it.
#[test]
fn without_landlock_it_says_so_and_goes_on() {
    let inject = "inject=landlock_create_ruleset:error=EOPNOTSUPP";
    if Command::new("strace")
        .args(["-qq", "-e", inject, "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        let setup = Setup::new().under(&["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", inject]);
        let proxy = setup.start();
        assert_eq!(proxy.probe("/status").json()["sandbox"]["landlock"], "off: not available here");
        assert_eq!(proxy.send(cancel("100211")).status, 204);
    } else {
        eprintln!("without strace nobody can take landlock away");
    }
}

#[test]
fn a_file_elsewhere_is_out_of_reach_also_for_a_new_policy() {
    if !kernel_has_landlock() {
        return;
    }
    let elsewhere = TempDir::new().unwrap();
    let digest = elsewhere.path().join("oncall.sha256");
    let policy = |file: &Path| {
        format!(
            "version: 1
callers: {{ oncall: {{ identify: [ {{ bearer: {{ sha256_file: '{}' }} }} ] }} }}
rules:
  - {{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
",
            file.display()
        )
    };
    for (setup, expected) in [(Setup::new(), 401), (Setup::new().argument("--no-sandbox"), 204)] {
        let proxy = setup.listeners(&["{ name: app, bind: 127.0.0.1:0, bearer: true }"]).start();
        fs::copy(proxy.path("oncall.sha256"), &digest).unwrap();
        proxy.write("policy.yaml", &policy(&digest));
        proxy.signal(Signal::SIGHUP);
        wait_for("reload", || {
            let is_reload = |line: &Value| line["message"].as_str().unwrap().starts_with("configuration");
            let reload = log(&proxy).into_iter().rfind(is_reload)?;
            let denied =
                reload["problem"].as_str().is_some_and(|problem| problem.contains("Permission denied"));
            assert_eq!(denied, expected == 401, "{reload}");
            Some(())
        });
        let with_token = format!("Authorization: Bearer {TOKEN}");
        let target = "/v2/media-prod/editing/jobs/100211";
        assert_eq!(proxy.send(request("DELETE", target, &[&with_token])).status, expected);
    }
}

#[test]
fn a_folder_that_others_share_stays_closed() {
    if !kernel_has_landlock() || fs::read("/etc/shadow").is_err() {
        return;
    }
    let shadow = "version: 1
callers: { oncall: { identify: [ { bearer: { sha256_file: /etc/shadow } } ] } }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
";
    let listeners = ["{ name: app, bind: 127.0.0.1:0, bearer: true }"];
    for (setup, expected) in [
        (Setup::new(), "Permission denied"),
        (Setup::new().argument("--no-sandbox"), "must contain one SHA-256 digest"),
    ] {
        let proxy = setup.listeners(&listeners).start();
        proxy.write("policy.yaml", shadow);
        let line = proxy.logged("configuration not reloaded: the last good one stays in force");
        assert!(line["problem"].as_str().unwrap().contains(expected), "{line}");
    }
}

#[test]
fn a_configuration_in_a_shared_folder_is_read_and_what_replaces_it_is_told() {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile_in("/tmp").unwrap();
    fs::write(file.path(), policy("allow")).unwrap();
    let proxy = Setup::new().policy_file(file.path().to_str().unwrap()).start();
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    // In place it can be changed.
    fs::write(file.path(), policy("deny")).unwrap();
    proxy.logged("configuration reloaded");
    assert_eq!(proxy.send(cancel("100211")).status, 403);
    if !kernel_has_landlock() {
        return;
    }
    assert!(proxy.log().contains("this file is in a shared directory"));
    let fresh = file.path().with_extension("fresh");
    fs::write(&fresh, policy("allow")).unwrap();
    fs::rename(&fresh, file.path()).unwrap();
    out_of_reach(&proxy, file.path());
}

#[test]
fn a_configuration_folder_that_is_replaced_is_read_again_or_said_to_be_out_of_reach() {
    for sandboxed in [true, false] {
        let outside = TempDir::new().unwrap();
        let folder = outside.path().join("conf");
        let replace = |effect: &str| {
            let fresh = outside.path().join(effect);
            fs::create_dir(&fresh).unwrap();
            fs::write(fresh.join("policy.yaml"), policy(effect)).unwrap();
            if folder.exists() {
                fs::rename(&folder, outside.path().join("old")).unwrap();
            }
            fs::rename(&fresh, &folder).unwrap();
        };
        replace("allow");
        let setup = Setup::new().policy_file(folder.join("policy.yaml").to_str().unwrap());
        let setup = if sandboxed { setup } else { setup.argument("--no-sandbox") };
        let proxy = setup.start();
        assert_eq!(proxy.send(cancel("100211")).status, 204);
        replace("deny");
        proxy.signal(Signal::SIGHUP);
        if sandboxed && kernel_has_landlock() {
            out_of_reach(&proxy, &folder);
        } else {
            proxy.logged("configuration reloaded");
            assert_eq!(proxy.send(cancel("100211")).status, 403);
        }
    }
}

/// A sink created later, its rotations, and replaced folders within an allowed one.
#[test]
fn what_can_be_read_and_what_is_only_written_is_not_called_out_of_reach() {
    for sink_is_there in [false, true] {
        let setup = Setup::new()
            .folder("one")
            .folder("two")
            .folder("set")
            .policy_file("current/policy.yaml")
            .section("freeze_file: freeze\naudit: { sink: audit.log }")
            .section("admin: { bind: 'unix:admin.sock' }")
            .file("one/policy.yaml", &policy("allow"))
            .file("two/policy.yaml", &policy("deny"));
        symlink("one", setup.path("current")).unwrap();
        let setup = if sink_is_there { setup.file("audit.log", "") } else { setup };
        let proxy = setup.start().records_elsewhere();
        assert_eq!(proxy.send(cancel("100211")).status, 204);
        all_is_in_reach(&proxy, "in_force");
        let log = proxy.path("audit.log");
        for rotation in 1..3 {
            fs::rename(&log, proxy.path(&format!("audit.log.{rotation}"))).unwrap();
            proxy.signal(Signal::SIGHUP);
            wait_for("new file", || log.exists().then_some(()));
            all_is_in_reach(&proxy, "in_force");
        }
        fs::remove_file(&log).unwrap();
        proxy.logged("the audit file was removed: created a new one");
        all_is_in_reach(&proxy, "in_force");
        // The link is switched, as by deployments.
        symlink("two", proxy.path("next")).unwrap();
        fs::rename(proxy.path("next"), proxy.path("current")).unwrap();
        all_is_in_reach(&proxy, "in_force");
        assert_eq!(proxy.send(cancel("100211")).status, 403);
        // The folder is another one.
        proxy.write("set/policy.yaml", &policy("allow"));
        fs::rename(proxy.path("two"), proxy.path("old")).unwrap();
        fs::rename(proxy.path("set"), proxy.path("two")).unwrap();
        all_is_in_reach(&proxy, "in_force");
        proxy.queue("100211");
        assert_eq!(proxy.send(cancel("100211")).status, 204);
        // What is refused is refused for its own reason.
        proxy.write("two/policy.yaml", "version: 2\n");
        all_is_in_reach(&proxy, "refused");
    }
}

/// Reloads, and returns the message.
fn all_is_in_reach(proxy: &Proxy, state: &str) {
    proxy.ask_unix("admin.sock", &request("POST", "/reload", &["Content-Length: 0"]));
    let status = proxy.probe("/status").json();
    assert_eq!(
        (&status["reload"]["state"], &status["out_of_reach"]),
        (&json!(state), &json!([])),
        "{status}"
    );
    assert!(!proxy.log().contains("the sandbox denies"), "{}", proxy.log());
}

/// A file that is unreadable by its permissions is not blamed on the sandbox.
#[test]
fn a_file_that_its_permissions_keep_away_is_not_said_to_be_kept_away_by_the_sandbox() {
    if !geteuid().is_root() {
        eprintln!("only root can be another user");
        return;
    }
    let setup = Setup::new().everything_allowed();
    let (folder, program) = (setup.path(""), setup.path("program"));
    copy_program(&program);
    let script = format!(
        "chown -R 65532:65532 {} && exec setpriv --reuid=65532 --regid=65532 --clear-groups --inh-caps=-all {} \"$@\"",
        folder.display(),
        program.display(),
    );
    let proxy = setup.under(&["sh", "-c", &script]).start();
    let fresh = proxy.path("fresh");
    fs::copy(proxy.path("policy.yaml"), &fresh).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&fresh, proxy.path("policy.yaml")).unwrap();
    let line = proxy.logged("configuration not reloaded: the last good one stays in force");
    assert!(line["problem"].as_str().unwrap().ends_with("policy.yaml: Permission denied"), "{line}");
    assert_eq!(proxy.probe("/status").json()["out_of_reach"], json!([]));
}

fn policy(effect: &str) -> String {
    format!(
        "version: 1
callers: {{ editor-api: {{ identify: [ {{ listener: app }} ] }} }}
rules:
  - {{ id: all, effect: {effect}, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
"
    )
}

/// Waits until the log, `/status` and the refused reload report this as outside of the sandbox.
fn out_of_reach(proxy: &Proxy, path: &Path) {
    let path = path.to_str().unwrap();
    let status = wait_for("refused reload", || {
        let status = proxy.probe("/status").json();
        let problem = status["reload"]["problem"].as_str().unwrap_or_default();
        let said = problem.contains("the sandbox denies access to the replacement: restart");
        said.then_some(status)
    });
    assert_eq!(status["out_of_reach"], json!([path]), "{status}");
    assert!(log(proxy).iter().any(|line| line["level"] == "WARN" && line["path"] == path));
}

#[test]
fn it_writes_nowhere_but_where_its_records_go() {
    if !kernel_has_landlock() {
        return;
    }
    let elsewhere = TempDir::new().unwrap();
    let proxy = Setup::new().section("audit: { sink: logs/audit.log }").folder("logs").start();
    let proxy = proxy.records_elsewhere();
    let (log, precious) = (proxy.path("logs/audit.log"), elsewhere.path().join("precious"));
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    fs::write(&precious, "untouched").unwrap();
    fs::remove_file(&log).unwrap();
    symlink(&precious, &log).unwrap();
    proxy.signal_and_wait(Signal::SIGHUP, "cannot reopen the audit sink: the open one stays in use");
    assert_eq!(fs::read_to_string(precious).unwrap(), "untouched");
    proxy.upstream_saw(1);
}

#[test]
fn a_socket_that_a_killed_process_left_behind_is_replaced() {
    let setup = Setup::new().listeners(&["{ name: app, bind: 'unix:proxy.sock' }"]);
    drop(UnixListener::bind(setup.path("proxy.sock")).unwrap());
    let proxy = setup.start();
    let landlock = proxy.probe("/status").json()["sandbox"]["landlock"].clone();
    assert!(!kernel_has_landlock() || landlock.as_str().unwrap().starts_with("on"), "{landlock}");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
}

#[test]
fn names_are_still_resolved() {
    let setup = Setup::new();
    let endpoint = setup.endpoint().replace("127.0.0.1", "localhost");
    let proxy = setup.upstream(&endpoint).start();
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    proxy.upstream_saw_one();
}

/// As in a container: user 65532, no writable folder. If this test may not change its user or mount, it does
/// what it can, and prints that.
#[test]
fn it_runs_as_a_user_who_may_write_nothing() {
    let setup = Setup::new().policy(&format!(
        "version: 1
callers: {{ me: {{ identify: [ {{ loopback: {{ uid: {} }} }} ] }} }}
rules:
  - {{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
",
        geteuid()
    ));
    let (folder, program) = (setup.path(""), setup.path("program"));
    copy_program(&program);
    let (owner, become_owner) = match geteuid().as_raw() {
        0 => (65532, "setpriv --reuid=65532 --regid=65532 --clear-groups --inh-caps=-all"),
        other => (other, "env"),
    };
    let read_only = "mount -o remount,bind,ro /";
    let mounted =
        Command::new("unshare").args(["--mount", "sh", "-c", read_only]).status().unwrap().success();
    if !mounted || !geteuid().is_root() {
        eprintln!("root file system made read-only: {mounted}; run as user {owner}");
    }
    let (unshare, mount): (&[&str], _) =
        if mounted { (&["unshare", "--mount"], read_only) } else { (&[], "true") };
    let script = format!(
        "chown -R {owner}:{owner} {0} && chmod -R u=rX,go= {0} && {mount} && exec {become_owner} {1} \"$@\"",
        folder.display(),
        program.display(),
    );
    let mut proxy = setup.under(&[unshare, &["sh", "-c", &script]].concat()).start();
    assert_eq!(of_process(&proxy, "status", "Uid:"), [(); 4].map(|()| owner.to_string()));
    assert!(of_process(&proxy, "status", "CapEff:")[0].bytes().all(|b| b == b'0'), "no capabilities");
    let look = format!("{become_owner} cat /proc/{}/environ", proxy.id());
    assert!(!Command::new("sh").args(["-c", &look]).status().unwrap().success(), "its user can look into it");
    let answer = proxy.send(cancel("100211"));
    assert_eq!(answer.status, 204, "{answer:#?}");
    proxy.record(&answer).says(json!({ "caller.id": "me", "caller.identified_by": "loopback" }));
    assert_eq!(proxy.stop(), Some(0));
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

/// The value of a line in one of the kernel's files about the proxy.
fn of_process(proxy: &Proxy, file: &str, name: &str) -> Vec<String> {
    values(&format!("/proc/{}/{file}", proxy.id()), name)
}

fn own(name: &str) -> Vec<String> {
    values("/proc/self/status", name)
}

fn values(path: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

fn log(proxy: &Proxy) -> Vec<Value> {
    proxy.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Prints a note if it has none, as less can be tested then.
fn kernel_has_landlock() -> bool {
    let has = has_landlock(ABI::V1);
    if !has {
        eprintln!("this kernel has no landlock");
    }
    has
}

fn has_landlock(version: ABI) -> bool {
    let required = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    required.handle_access(AccessFs::from_all(version)).is_ok()
}
