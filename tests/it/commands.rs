//! The other commands, each run once as a user would; details are tested beside the code.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::harness::{Answer, Record, Setup, cancel, request};

#[test]
fn the_demo_shows_what_is_allowed_denied_unknown_and_refused_by_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let output = binary().args(["demo", "--once"]).env("TMPDIR", folder.path()).output().unwrap();
    let text = succeeded(&output);
    let lines = || text.lines().map(str::trim);
    let statuses: Vec<&str> =
        lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).map(|status| &status[..3]).collect();
    assert_eq!(statuses, ["200", "200", "204", "204", "403", "403", "401", "400"]);
    let records: Vec<Record> =
        lines().filter(|line| line.starts_with("{\"event\"")).map(Record::parse).collect();
    let recorded: Vec<String> =
        records.iter().map(|record| record["http.response.status_code"].to_string()).collect();
    assert_eq!(recorded, statuses);
    for (number, caller, owner, effect, outcome) in [
        (0, "editor-api", "editor-api/clip-9", "allow", "forwarded"),
        (1, "editor-api", "editor-api/clip-9", "allow", "forwarded"),
        (2, "editor-api", "editor-api/clip-9", "allow", "forwarded"),
        (3, "packager", "packager/trailer-1", "allow", "forwarded"),
        (4, "packager", "editor-api/clip-8", "deny", "refused"),
        (5, "packager", "editor-api/clip-9", "deny", "refused"),
    ] {
        records[number].says(json!({ "caller.id": caller, "policy.effect": effect, "outcome": outcome }));
        assert_eq!(records[number]["facts"]["mpc:UserData"], owner);
    }
    for (number, job) in [(0, json!("100215")), (1, json!("100215")), (2, json!("100215"))] {
        records[number].says(json!({ "mpc.job_id": job }));
    }
    records[6].says(json!({ "error.type": "PROXY.Unauthenticated", "outcome": "refused" }));
    records[7].says(json!({ "upstream.error_code": "MPC.10213", "outcome": "forwarded" }));
    assert_eq!(text.matches("$ curl -i -X ").count(), 8);
    // A job's owner is looked up unless the caller is unknown; the facts of a new job are in its body.
    assert_eq!(text.matches("upstream saw nothing").count(), 2);
    let seen = |method: &str| lines().filter(|line| line.starts_with(&format!("{method} /v"))).count();
    assert_eq!((seen("POST"), seen("GET"), seen("DELETE")), (1, 5, 3));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it tidies up");
}

#[test]
fn check_says_what_would_run_or_everything_that_is_wrong() {
    let output = Setup::new().run("check");
    let text = succeeded(&output);
    for part in [
        "is valid. This would run:",
        "app on 127.0.0.1:0",
        "editor-api, by reaching it",
        "allow by editor-cancels",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let output = Setup::new().project("colour: red").section("log: { level: loud }").run("check");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(78), 0), "{error}");
    for part in ["proxy.yaml:11:5: error", "proxy.yaml:14:15: error", "`loud` is not one of", "2 errors"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn config_schema_prints_the_schemas_that_are_committed() {
    let printed = |arguments: &[&str]| {
        succeeded(&binary().args(["config", "schema"]).args(arguments).output().unwrap())
    };
    let committed =
        |name| fs::read_to_string(format!("{}/config/schema/{name}.schema.json", env!("CARGO_MANIFEST_DIR")));
    assert_eq!(printed(&[]), committed("proxy").unwrap());
    assert_eq!(printed(&["proxy"]), committed("proxy").unwrap());
    assert_eq!(printed(&["policy"]), committed("policy").unwrap());
    assert_eq!(binary().args(["config", "schema", "audit"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn sign_signs_as_the_official_sdk_does() {
    let vectors = include_str!("../data/sdk-hmac-sha256.jsonl");
    let vector: Value = serde_json::from_str(vectors.lines().next().unwrap()).unwrap();
    let text = |field: &str| vector[field].as_str().unwrap();
    let url = format!("https://{}{}", text("host"), text("request_target"));
    let mut command = binary();
    command.args(["sign", "--format", "json", "--method", text("method"), "--url", &url]);
    command.args(["--date", text("x_sdk_date")]);
    for header in vector["headers_out"].as_array().unwrap() {
        let [name, value] = [0, 1].map(|part| header[part].as_str().unwrap());
        command.args(["-H", &format!("{name}: {value}")]);
    }
    command.env("HUAWEICLOUD_SDK_AK", text("ak")).env("HUAWEICLOUD_SDK_SK", text("sk"));
    let signed: Value = serde_json::from_str(&succeeded(&command.output().unwrap())).unwrap();
    for field in ["canonical_request", "string_to_sign", "signed_headers", "authorization"] {
        assert_eq!(signed[field], vector[field], "{field}");
    }
    assert_eq!(signed["headers"]["Authorization"], vector["authorization"]);
}

#[test]
fn sign_without_keys_is_a_wrong_usage() {
    let output = binary().args(["sign", "--method", "GET", "--url", "https://a.example/"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(error.contains("HUAWEICLOUD_SDK_AK is not set"), "{error}");
}

#[test]
fn policy_explain_says_what_the_proxy_would_decide() {
    let setup = Setup::new().policy(
        "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules:
  - { id: own, effect: allow, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['*'],
      condition: { StringMatch: { mpc:UserData: ['${proxy:Caller}/*'] } } }
",
    );
    let explain = |words: &str| -> Value {
        let question =
            format!("policy explain --caller editor-api --project media-prod {words} --format json");
        serde_json::from_str(&succeeded(&setup.run(&question))).unwrap()
    };
    let allowed = json!({
        "effect": "allow", "rule": "own", "location": "policy.yaml:4", "mode": "enforce", "observed": null,
        "nearest_miss": null, "reason": null, "needs": [], "waiting": [],
    });
    assert_eq!(explain("--job 100211 --fact mpc:UserData=editor-api/7"), allowed);
    assert_eq!(explain("--action mpc:editingTask:create --fact mpc:UserData=editor-api/7"), allowed);
    let denied = explain("--job 100211 --fact mpc:UserData=oncall/7");
    assert_eq!((&denied["effect"], &denied["rule"]), (&json!("deny"), &Value::Null));
    let miss = json!({
        "rule": "own", "location": "policy.yaml:4", "field": "condition", "operator": "StringMatch",
        "key": "mpc:UserData", "wanted": "${proxy:Caller}/*", "got": "oncall/7",
    });
    assert_eq!(denied["nearest_miss"], miss);
    let unknown = explain("--job 100211");
    assert_eq!((&unknown["effect"], &unknown["needs"]), (&json!("undetermined"), &json!(["mpc:UserData"])));
}

#[test]
fn the_test_server_serves_until_it_is_told_to_stop() {
    let mut command = binary();
    command.args(["testserver", "--bind", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Ended(command.spawn().unwrap());
    let mut output = BufReader::new(server.0.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim_end().rsplit_once("http://").unwrap().1;
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /_test/jobs/0a1b2c3d4e5f60718293a4b5c6d7e8f9/waiting-1 HTTP/1.1\r\nHost: localhost\r\n\
        Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("{\"state\":\"WAITING\"}"), "{answer}");
    kill(Pid::from_raw(i32::try_from(server.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(0));
}

#[test]
fn help_and_version_are_there_and_anything_else_is_a_wrong_usage() {
    let mut codes = BTreeMap::new();
    for arguments in ["--help", "--version", "run --help", "", "nonsense", "run --nonsense", "policy"] {
        let output = binary().args(arguments.split_whitespace()).output().unwrap();
        codes.insert(arguments, output.status.code().unwrap());
    }
    let expected = [
        ("--help", 0),
        ("--version", 0),
        ("run --help", 0),
        ("", 2),
        ("nonsense", 2),
        ("run --nonsense", 2),
        ("policy", 2),
    ];
    assert_eq!(codes, BTreeMap::from(expected));
}

/// A process that is ended with its test, even if that fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
    command.env_clear();
    command
}

fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The past and the present decision for one record of a container runtime's log.
#[test]
fn why_was_this_one_decided_so() {
    let proxy = Setup::new().start();
    let [allowed, unproven] = [proxy.send(cancel("100211")), proxy.send(request("DELETE", "/nowhere", &[]))];
    let id = |answer: &Answer| answer.header("proxy-request-id").to_owned();
    proxy.record(&unproven);
    let lines: String =
        proxy.printed().lines().map(|line| format!("2026-11-30T04:00:00Z stdout F {line}\n")).collect();
    proxy.write("audit.log", &format!("2026-11-30T04:00:00Z stderr F text\n{lines}"));
    let file = proxy.path("audit.log");
    let explain = |id: &str| {
        let output = proxy.run(&format!("policy explain --audit {} --request-id {id}", file.display()));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        String::from_utf8(output.stdout).unwrap()
    };
    let told = explain(&id(&allowed));
    assert_eq!(explain(allowed.header("x-request-id")), told, "what callers see is upstream's");
    let hash = &proxy.record(&allowed)["policy.hash"];
    assert!(
        told.contains(&format!(
            "  recorded: allow, rule `editor-cancels` at policy.yaml:5, by policy {}\n",
            hash.as_str().unwrap()
        )),
        "{told}"
    );
    assert!(told.contains("  forwarded: 204\n") && told.ends_with("same policy, same decision\n"), "{told}");
    let told = explain(&id(&unproven));
    assert!(
        told.contains("  refused: 404, PROXY.NotFound, ")
            && told.contains("its record has no policy decision"),
        "{told}"
    );
    let stricter =
        fs::read_to_string(proxy.path("policy.yaml")).unwrap().replace("jobs: ['*']", "jobs: [b-*]");
    proxy.write("policy.yaml", &stricter);
    let told = explain(&id(&allowed));
    assert!(told.contains("  deny: no rule allows it\n  nearest miss: rule `editor-cancels` at "), "{told}");
    assert!(told.ends_with("different: effect, rule, policy\n"), "{told}");
    let unknown = proxy.run(&format!("policy explain --audit {} --request-id none", file.display()));
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("has no record of request none"));
    let unasked = proxy.run("policy explain --request-id none");
    assert_eq!(unasked.status.code(), Some(2));
}
