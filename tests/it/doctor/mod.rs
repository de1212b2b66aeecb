//! `doctor` finds what keeps calls from working and how to fix it, shows no secret, and makes no call.

mod contract;
mod endpoints;
mod machine;
mod secrets;
mod sources;
mod trying;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{
    credentials::MARKED,
    harness::{ACCESS_KEY, Authority, PROJECT, Scripted, Setup, Wanted, cloud, options},
};

/// Its findings as JSON, and its exit code.
struct Found(Value, i32);

impl Found {
    pub(super) fn by(setup: &Setup) -> Self {
        Self::read(&setup.run("doctor --format json"))
    }

    pub(super) fn read(output: &Output) -> Self {
        let error = String::from_utf8_lossy(&output.stderr);
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {error}"));
        Self(document, output.status.code().unwrap())
    }

    pub(super) fn all(&self, check: &str) -> Vec<&Value> {
        self.0["checks"].as_array().unwrap().iter().filter(|found| found["check"] == check).collect()
    }

    /// The only finding of this kind.
    pub(super) fn one(&self, check: &str) -> &Value {
        let all = self.all(check);
        assert_eq!(all.len(), 1, "{check} in {:#}", self.0);
        all[0]
    }

    pub(super) fn named(&self, check: &str, name: &str) -> &Value {
        let all = self.all(check);
        all.into_iter()
            .find(|found| found["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {:#}", self.0))
    }

    /// Asserts the severity, the text and the advice of the finding.
    pub(super) fn says(&self, check: &str, status: &str, (message, hint): (&str, &str)) {
        let found = self.one(check);
        let text = |field: &str| found[field].as_str().unwrap_or_default();
        assert_eq!(text("status"), status, "{found:#}");
        assert!(text("message").contains(message) && text("hint").contains(hint), "{found:#}");
    }
}

/// Asserts that MPC was not called, and that nothing it got identifies the proxy.
fn made_no_call(setup: &Setup) {
    let all = setup.cloud().requests();
    let of_mpc: Vec<_> = all.iter().filter(|seen| seen.target == "/").collect();
    assert!(of_mpc.iter().all(|seen| seen.method == "HEAD"), "{of_mpc:#?}");
    for seen in of_mpc {
        for header in ["authorization", "x-auth-token", "x-security-token", "x-project-id", "x-sdk-date"] {
            assert_eq!(seen.header(header), None, "{seen:#?}");
        }
    }
    assert!(all.iter().all(|seen| !seen.target.contains("editing")), "{all:#?}");
}

#[test]
fn a_healthy_proxy_has_nothing_to_be_told_of() {
    let setup = Setup::new();
    let Found(document, code) = &Found::by(&setup);
    let not_ok: Vec<_> = document["checks"]
        .as_array()
        .unwrap()
        .iter()
        // The harness has no fixed ports, and this machine its own limits and kernel.
        .filter(|found| {
            let kernels = ["configuration", "limits", "sandbox"];
            found["status"] != "ok" && !kernels.contains(&found["check"].as_str().unwrap())
        })
        .collect();
    assert_eq!((code, not_ok), (&0, Vec::<&Value>::new()));
    let checks: Vec<&str> =
        document["checks"].as_array().unwrap().iter().map(|found| found["check"].as_str().unwrap()).collect();
    let expected = "configuration credential tcp tls http project clock file file file file audit limits sandbox sandbox sandbox";
    assert_eq!(checks.join(" "), expected);
    let found = Found::by(&setup);
    let credential = found.one("credential");
    assert_eq!(credential["facts"]["key_hint"], ACCESS_KEY[..4]);
    assert_eq!(
        (&credential["facts"]["source"], &credential["facts"]["ready"]),
        (&json!("files"), &json!(true))
    );
    assert_eq!(found.one("http")["facts"]["status"], 404);
    assert_eq!(found.one("project")["facts"]["id"], PROJECT);
    let measures: Vec<_> = found.all("sandbox").iter().map(|measure| measure["name"].clone()).collect();
    assert_eq!(measures, ["no_core_dumps", "no_new_privs", "landlock"]);
    made_no_call(&setup);
    assert_eq!(setup.cloud().requests().len(), 2, "one a run");
}

#[test]
fn people_read_a_line_a_check_and_what_to_do() {
    let setup = Setup::new().upstream("https://mpc.invalid");
    let output = setup.run("doctor");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = |start: &str| {
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines()
            .map(squeezed)
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start} in {text}"))
    };
    assert!(line("mpc-auth-proxy ").contains("proxy.yaml, as "), "{text}");
    assert!(line("ok credential prod files: key HARN…, has no known expiry;").ends_with(" ms"));
    assert!(line("fail dns https://mpc.invalid").contains("cannot resolve the host name"));
    assert!(line("= check the name").contains("DNS"));
    line("fail project media-prod its calls fail: the endpoint does not answer");
    line("warn clock this machine no answer carried the time");
    assert!(line("14 checks: ").ends_with(" warnings, 2 failures"), "{text}");
}

#[test]
fn a_proxy_that_runs_is_told_and_is_no_failure() {
    let proxy = Setup::new().section("admin: { bind: 'unix:admin.sock' }").start();
    let config = fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    let found = with_ops(&proxy.path("running.yaml"), &config, proxy.address("ops"));
    for check in ["ops", "admin"] {
        let running = found.one(check);
        assert_eq!(
            (&running["status"], &running["facts"]["in_use"]),
            (&json!("ok"), &json!(true)),
            "{running:#}"
        );
    }
    assert_eq!(found.1, 0);
    assert!(proxy.run("freeze --reason drill").status.success());
    let found = with_ops(&proxy.path("running.yaml"), &config, proxy.address("ops"));
    found.says("admin", "warn", ("with problems", "`unfreeze` lifts a freeze"));
    let details = &found.one("admin")["details"];
    assert!(
        details[0].as_str().unwrap().starts_with("it is frozen: everybody, by operator since "),
        "{details}"
    );
    let other = Scripted::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let found = with_ops(&proxy.path("running.yaml"), &config, other.url().trim_start_matches("http://"));
    found.says("ops", "warn", ("another program", "another port"));
}

/// The findings with this configuration, whose probes listen there.
fn with_ops(path: &Path, config: &str, address: &str) -> Found {
    let config = config.replace("ops: { bind: 127.0.0.1:0 }", &format!("ops: {{ bind: {address} }}"));
    fs::write(path, config).unwrap();
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
    doctor.env_clear().args(["doctor", "--format", "json", "--config"]).arg(path);
    Found::read(&doctor.output().unwrap())
}

#[test]
fn the_document_has_every_check_with_its_facts() {
    let other = cloud(options());
    let setup = endpoints::secured(&Authority::new(), Wanted::server())
        .listeners(&["{ name: app, bind: 127.0.0.1:0 }", "{ name: here, bind: 'unix:app.sock' }"])
        .section("admin: { bind: 'unix:admin.sock' }")
        .another_project("plain", &other.url());
    drop(setup.run("check"));
    let config = fs::read_to_string(setup.path("proxy.yaml")).unwrap();
    drop(with_ops(&setup.path("other.yaml"), &config, "127.0.0.1:1"));
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
    doctor.env_clear().args(["doctor", "--format", "json", "--try-credentials", "--config"]);
    let Found(document, _) = Found::read(&doctor.arg(setup.path("other.yaml")).output().unwrap());
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for check in document["checks"].as_array().unwrap() {
        let facts = check["facts"].as_object().unwrap().keys().map(String::as_str);
        found.entry(check["check"].as_str().unwrap()).or_default().extend(facts.filter(|f| *f != "took_ms"));
    }
    let text = include_str!("../../../docs/CREDENTIALS.md");
    let (_, table) = text.split_once("\n| check | of |").unwrap();
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let quoted = |cell: &'static str| cell.split('`').skip(1).step_by(2);
    let mut told: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        let cells: Vec<&'static str> = row.split('|').collect();
        for check in quoted(cells[1]) {
            told.insert(check, quoted(cells[3]).collect());
        }
    }
    assert_eq!(found, told);
}

/// With a half-edited policy the other problems are reported too.
#[test]
fn what_runs_is_asked_also_where_the_configuration_is_not_valid_any_more() {
    let proxy = Setup::new().section("admin: { bind: 'unix:admin.sock' }").start();
    assert_eq!(proxy.run("freeze --reason drill").status.code(), Some(0));
    proxy.write("policy.yaml", "version: 1\nrules: nonsense\n");
    assert_eq!(proxy.run("reload").status.code(), Some(1));
    let doctor = proxy.run("doctor");
    assert_eq!((doctor.status.code(), doctor.stderr), (Some(78), proxy.run("check").stderr));
    let told = String::from_utf8(doctor.stdout).unwrap();
    for shown in [
        "fail  configuration",
        "is not valid",
        "it is frozen: everybody",
        "drill",
        "its last reload is refused",
    ] {
        assert!(told.contains(shown), "{shown} in {told}");
    }
}

#[test]
fn what_is_not_valid_is_told_as_check_tells_it() {
    let setup = Setup::new().project("colour: red").section("log: { level: loud }");
    let (doctor, check) = (setup.run("doctor"), setup.run("check"));
    assert_eq!((doctor.status.code(), doctor.stdout.len()), (Some(78), 0));
    assert_eq!(doctor.stderr, check.stderr);
    let setup = Setup::new().upstream("https://mpc.invalid").variable("HTTPS_PROXY", "socks5://u:MARKED@h:1");
    let output = setup.run("doctor");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("HTTPS_PROXY is not an egress proxy") && !error.contains(MARKED), "{error}");
    assert_eq!(Setup::new().run("doctor --format xml").status.code(), Some(2));
}
