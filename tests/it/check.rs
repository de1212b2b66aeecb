//! `check` shows what would run here, and what cannot.

use std::process::Command;

use crate::harness::{ACCESS_KEY, SECRET_KEY, Setup};

fn checked(setup: &Setup, words: &str) -> (Option<i32>, String, String) {
    let output = setup.run(&format!("check{words}"));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A configuration without warnings.
fn setup() -> Setup {
    Setup::new().listeners(&["{ name: app, bind: '127.0.0.1:8080' }"]).ops_bind("127.0.0.1:9090").policy(
        "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules:
  - { id: own, effect: allow, callers: [editor-api], projects: [media-prod], jobs: ['*'], actions: [mpc:editingTask:delete] }
",
    )
}

#[test]
fn all_that_would_run_is_told() {
    let setup = setup()
        .folder("state")
        .section("admin: { bind: 'unix:admin.sock' }")
        .section("freeze_file: state/freeze")
        .section("audit: { sink: audit.log, facts: names, write_ahead: true }")
        .section("log: { format: json, level: debug }")
        .section("drain: { delay: 2s, timeout: 20s }")
        .section("limits: { connections: 100, in_flight: 20, body_bytes: 128KiB }");
    let (code, out, err) = checked(&setup, "");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let folder = setup.path("");
    let folder = folder.display().to_string();
    let out = out.replace(&folder, "");
    for part in [
        "\nlisteners\n  app on 127.0.0.1:8080\n    editor-api, by reaching it\n",
        "  health and metrics on 127.0.0.1:9090\n  operators on unix:admin.sock\n",
        "\nprojects\n  media-prod (",
        "\n  editor-api\n    allow by own (policy.yaml:4)\n",
        &format!("\negress\n  {} directly\n  trusting the built-in roots\n", setup.endpoint()),
        "\nrecords\n  to audit.log, locked against other processes\n  calls that cannot be recorded are refused\n  \
         job facts by name only\n  one line before each call is sent\n",
        "\nfreezes\n  everybody, while state/freeze exists, unless it names callers\n  \
         operators' freezes are kept there\n",
        "\nlog\n  to standard error, JSON, level debug\n",
        "\nlimits\n  connections 100\n  in_flight 20\n  header_timeout 5s\n",
        "  body_bytes 128KiB\n  buffer_bytes 16MiB\n",
        "  drain 20s, after a delay of 2s\n",
        "\nsandbox, unless --no-sandbox is given\n  no_core_dumps on\n  no_new_privs on\n  landlock o",
        "  reads ",
        "  writes state\n",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
}

/// Keys that no configured source looks for are out of reach. A folder named in two ways is reported once.
#[test]
fn what_is_within_reach_is_no_more_than_what_is_asked_for() {
    for (source, is_asked) in
        [("{ environment: {} }", false), ("{ auto: {} }", true), ("{ profile: {} }", true)]
    {
        let setup = setup()
            .folder(".huaweicloud")
            .credential(source)
            .file(".huaweicloud/credentials", &format!("[basic]\nak={ACCESS_KEY}\nsk={SECRET_KEY}\n"));
        let home = setup.path("").display().to_string();
        let setup = setup.variable("HOME", &home);
        let (code, out, err) = checked(&setup, "");
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(out.contains(".huaweicloud"), is_asked, "{source}: {out}");
    }
    let setup = setup();
    checked(&setup, "");
    let mut beside = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
    beside.current_dir(setup.path("")).env_clear().args(["check", "--config", "./proxy.yaml"]);
    let out = String::from_utf8(beside.output().unwrap().stdout).unwrap();
    assert_eq!(out.matches("\n  reads ").count(), 1, "{out}");
}

#[test]
fn limits_are_told_as_this_machine_allows_them() {
    let (code, out, err) = checked(&setup().open_files(1024), "");
    assert_eq!(code, Some(0));
    assert!(
        out.contains("  connections 448, lowered from 4096\n  in_flight 224, lowered from 1024\n"),
        "{out}"
    );
    let warning = "warning: this machine allows less than `limits`: lowered `connections` to 448, `in_flight` to 224: raise";
    assert!(err.starts_with(warning), "{err}");
}

#[test]
fn the_way_out_is_told_for_each_endpoint() {
    let setup = setup()
        .another_project("media-test", "https://mpc.cn-north-4.myhuaweicloud.com")
        .variable("HTTPS_PROXY", "http://user:s3cr3t@egress:3128");
    let (_, out, err) = checked(&setup, "");
    let way = "  https://mpc.cn-north-4.myhuaweicloud.com through http://egress:3128 (HTTPS_PROXY)\n";
    assert!(out.contains(way) && !out.contains("s3cr3t") && !err.contains("s3cr3t"), "{out}{err}");
    assert!(out.contains(&format!("  {} directly\n", setup.endpoint())), "{out}");
}

/// The warnings the proxy would log at its start, and what it cannot do here.
#[test]
fn what_cannot_work_is_a_warning_and_with_strict_an_exit_code() {
    for (setup, warning) in [
        (setup().credential("{ environment: {} }"), "credential `prod` is not available here: "),
        (
            setup().section("admin: { bind: 'unix:admin.sock' }").section("freeze_file: freeze"),
            "operators' freezes end with the process: ",
        ),
        (setup().variable("NO_PROXY", "*.example.com:"), "NO_PROXY entry `*.example.com:` has no effect"),
        (setup().open_files(512), "this machine allows less than `limits`: "),
    ] {
        let (code, out, err) = checked(&setup, "");
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains("is valid. This would run:") && err.contains(warning), "{err}");
        let (code, out, strict) = checked(&setup, " --strict");
        assert_eq!(code, Some(1), "{warning}: {strict}");
        assert!(out.contains("is valid. This would run:"), "{out}");
        assert_eq!(strict, err);
    }
    assert_eq!(checked(&setup(), " --strict").0, Some(0));
    assert_eq!(checked(&setup().project("colour: red"), " --strict").0, Some(78));
}
