//! The status page: what it shows to whom, and that no foreign text becomes markup. A browser tests it in
//! `tests/deploy/parts/page.sh`.

use std::{net::TcpStream, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::TimeDelta;
use mpc_auth_proxy::testserver::{Fault, Service};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    credentials::Remote,
    harness::{Authority, Setup, Wanted, Wire, cancel, request, wait_for},
    ops::own_address,
};

#[test]
fn it_shows_how_the_proxy_is_doing_and_why_calls_were_decided_so() {
    let proxy = Setup::new().start();
    proxy.send(cancel("100211"));
    proxy.send(request("DELETE", "/v2/elsewhere/editing/jobs/100211", &[]));
    let page = wait_for("both decisions", || {
        let page = proxy.probe("/");
        (page.body.contains("unknown_project") && page.body.contains("editor-cancels")).then_some(page)
    });
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    for shown in [
        "<span class=\"good\">ready</span>",
        "credential prod of project media-prod",
        "HARN",
        "allow by editor-cancels at ",
        "policy.yaml:5",
        "<th scope=\"row\">forwarded</th>",
        "no known expiry",
    ] {
        assert!(page.body.contains(shown), "{shown} in {}", page.body);
    }
    let requests = proxy.probe("/status").json()["requests"].clone();
    assert_eq!((&requests[0]["outcome"], &requests[0]["total"]), (&json!("forwarded"), &json!(1)));
    assert!(requests[0]["per_minute"].as_f64().unwrap() > 0.0, "{requests}");
    assert_eq!((&requests[1]["outcome"], &requests[1]["total"]), (&json!("refused"), &json!(1)));
}

/// Expiry of a renewed credential, of an expired one, and of a certificate.
#[test]
fn it_shows_what_ends_and_how_soon() {
    let server = Authority::new().issue(Wanted::server());
    let proxy = Remote::named("metadata")
        .setup(6 * 3600)
        .listeners(&["{ name: app, bind: 127.0.0.1:0, bearer: true, \
                      tls: { certificate: tls.crt, key: tls.key } }"])
        .file("tls.crt", &server.certificate_pem)
        .file("tls.key", &server.key_pem)
        .start();
    wait_for("the credential", || (proxy.probe("/readyz").status == 200).then_some(()));
    let (page, status) = (proxy.probe("/").body, proxy.probe("/status").json());
    for (what, end, left) in [
        ("<td>", &status["credentials"][0]["expires_at"], ", in 5 h</td>"),
        ("its certificate expires ", &status["listeners"][0]["certificate_ends"], ", in "),
    ] {
        let shown = format!("{what}<time>{}</time>{left}", end.as_str().unwrap());
        assert!(page.contains(&shown), "{shown} in {page}");
    }

    let proxy = Remote::named("metadata").setup(4).start();
    wait_for("the credential", || (proxy.probe("/readyz").status == 200).then_some(()));
    proxy.cloud().set_faults([Fault::Unavailable.until_cleared().at(Service::Metadata)]);
    let expected =
        [" s ago</td>", "<span class=\"bad\">not ready</span>", "<span class=\"bad\">failing</span>", "503"];
    wait_for("its end, and why there is no other", || {
        let page = proxy.probe("/").body;
        expected.iter().all(|shown| page.contains(shown)).then_some(())
    });
}

/// A wrong clock may fail every call, and is hard to see from elsewhere.
#[test]
fn it_shows_that_the_clock_is_wrong() {
    let proxy = Setup::new().start();
    assert!(!proxy.probe("/").body.contains("clock"), "it is right");
    for (offset, said) in [
        (
            TimeDelta::minutes(20) + TimeDelta::seconds(20),
            "is 20 min behind: set it; signatures use the cloud's",
        ),
        (
            TimeDelta::days(-3) - TimeDelta::minutes(1),
            "is 3 days ahead: set it; that is more than is corrected",
        ),
    ] {
        proxy.cloud().set_clock_offset(offset);
        proxy.send(cancel("100211"));
        let page = wait_for("the clock", || Some(proxy.probe("/").body).filter(|page| page.contains(said)));
        let row =
            format!("<th scope=\"row\">clock of {}</th><td><span class=\"bad\">differs", proxy.endpoint());
        assert!(page.contains(&row), "{row} in {page}");
    }
    proxy.cloud().set_clock_offset(TimeDelta::zero());
    proxy.send(cancel("100211"));
    wait_for("that it is right again", || (!proxy.probe("/").body.contains("clock")).then_some(()));
}

#[test]
fn nothing_is_fetched_from_elsewhere_and_nobody_keeps_or_frames_it() {
    let proxy = Setup::new().start();
    let (one, other) = (proxy.probe("/"), proxy.probe("/?caller=editor-api"));
    for page in [&one, &other] {
        let [style, script] = ["style", "script"].map(|tag| {
            assert_eq!(page.body.matches(&format!("<{tag}")).count(), 1);
            let text = page.body.split(&format!("<{tag}>")).nth(1).unwrap();
            let text = text.split(&format!("</{tag}>")).next().unwrap();
            format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
        });
        let expected = format!(
            "default-src 'none'; script-src {script}; style-src {style}; img-src data:; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
        assert_eq!(page.header("content-security-policy"), expected);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), value);
        }
        for outside in [" src=", "style=", "onclick", "@import", "url(", "href=\"http", "<img", "<iframe"] {
            assert!(!page.body.contains(outside), "{outside}");
        }
    }
}

#[test]
fn it_answers_as_the_other_paths_of_its_port_do() {
    let proxy = Setup::new().ops("hosts: [proxy.media.svc]").start();
    let ask = |method: &str, headers: &[&str]| {
        let mut wire = Wire::new(TcpStream::connect(proxy.address("ops")).unwrap());
        wire.write(request(method, "/", headers));
        wire.head()
    };
    let head = ask("HEAD", &[]);
    assert_eq!((head.status, head.header("content-type")), (200, "text/html; charset=utf-8"));
    for method in ["POST", "PUT", "DELETE"] {
        let refused = ask(method, &[]);
        assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"));
    }
    for (host, status) in [("evil.example", 421), ("proxy.media.svc", 200), ("10.0.0.1:9090", 200)] {
        let mut wire = Wire::new(TcpStream::connect(proxy.address("ops")).unwrap());
        assert_eq!(wire.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status, status, "{host}");
    }
}

#[test]
fn no_text_of_others_becomes_markup_or_hides() {
    let setup = Setup::new().section(&format!("audit: {{ sink: '{EVIL_NAME}.log' }}"));
    let setup = setup
        .section("admin: { bind: 'unix:admin.sock' }")
        .credential(&format!("{{ files: {{ access_key: './{EVIL_NAME}', secret_key: ./sk }} }}"))
        .policy_file(&format!("{EVIL_NAME}.yaml"))
        .file(
            &format!("{EVIL_NAME}.yaml"),
            &format!(
                "version: 1
callers: {{ editor-api: {{ identify: [ {{ listener: app }} ] }} }}
rules:
  - {{ id: evil, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'], reason: \"{EVIL}\" }}
"
            ),
        );
    let proxy = setup.start().records_elsewhere();
    proxy.send(cancel("100211"));
    proxy.send(request("GET", "/'onmouseover='alert(1)", &[]));
    proxy.send("GET / HTTP/1.1\r\nHost: x'onmouseover='alert(1)\r\n\r\n");
    let body = json!({ "reason": "\"'><script>alert(1)</script>\u{202e}" }).to_string();
    let freeze =
        format!("PUT /freeze HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(proxy.ask_unix("admin.sock", &freeze).status, 200);
    let asked = percent("\"'><script>alert(1)</script>\u{202e}");
    let query = format!("/?caller={asked}&action={asked}&project={asked}&job={asked}&facts={asked}");
    let page = wait_for("all of it", || {
        let page = proxy.probe(&query).body;
        (page.contains("denied_by_rule") && page.contains("freeze of everybody")).then_some(page)
    });
    for evil in ["<script>alert", "<img", "<b>", "\u{202e}", "\u{2066}", "\"'>"] {
        assert!(!page.contains(evil), "{evil:?} in {page}");
    }
    for shown in [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "\\u{202e}",
        "&lt;img",
        "unknown fact `&quot;'&gt;&lt;script&gt;",
    ] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    // Path and host are text, whatever they contain.
    assert!(!page.contains("onmouseover=\"") && !page.contains(" onmouseover='"), "{page}");
}

#[test]
fn elsewhere_it_has_no_decision_no_question_and_no_key() {
    let Some(own) = own_address() else {
        eprintln!("this machine has no address but loopback");
        return;
    };
    let proxy = Setup::new().ops_bind("0.0.0.0:0").start();
    proxy.send(cancel("100211"));
    let port = proxy.address("ops").rsplit_once(':').unwrap().1.to_owned();
    let ask = |address: std::net::IpAddr| {
        let mut wire = Wire::new(TcpStream::connect((address, port.parse().unwrap())).unwrap());
        wire.write(request("GET", &question("editor-api", "100211", ""), &[]));
        wire.answer().body
    };
    let private = ["100211", "editor-cancels", "HARN", "<form", "Latest decisions", "id=\"answer\""];
    let near = wait_for("decision", || Some(ask([127, 0, 0, 1].into())).filter(|page| page.contains("204")));
    private.iter().for_each(|text| assert!(near.contains(text), "{text} in {near}"));
    let far = ask(own);
    private.iter().for_each(|text| assert!(!far.contains(text), "{text} in {far}"));
    assert!(far.contains("ready") && far.contains("shown to requests from this machine only"), "{far}");
}

#[test]
fn it_answers_questions_as_policy_explain_does() {
    let proxy = Setup::new()
        .policy(
            "version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
  other: { identify: [ { unix: { uid: 4242 } } ] }
rules:
  - { id: own, effect: allow, callers: [editor-api], actions: ['mpc:editingTask:delete'], projects: ['*'], jobs: ['*'],
      condition: { StringMatch: { mpc:UserData: ['${proxy:Caller}/*'] } } }
  - { id: no-releases, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['release-*'], reason: \"they stay\" }
",
        )
        .start();
    for (caller, job, fact, effect) in [
        ("editor-api", "100211", "", "undetermined"),
        ("editor-api", "100211", "mpc:UserData=editor-api/7", "allow"),
        ("editor-api", "100211", "mpc:UserData=other/7", "deny"),
        ("editor-api", "release-1", "", "deny"),
        ("other", "100211", "", "deny"),
        ("editr-api", "100211", "", "unknown caller"),
        ("editor-api", "not a job", "", "a job id is"),
        ("editor-api", "100211", "mpc:JobStatus=NONSENSE", "unknown job status"),
        ("editor-api", "100211", "mpc:Userdata=a", "unknown fact"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
        command.env_clear().args(["policy", "explain", "--project", "media-prod"]);
        command.args([
            "--config",
            proxy.path("proxy.yaml").to_str().unwrap(),
            "--caller",
            caller,
            "--job",
            job,
        ]);
        if !fact.is_empty() {
            command.args(["--fact", fact]);
        }
        let said = command.output().unwrap();
        let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        let page = proxy.probe(&question(caller, job, fact)).body;
        let answer = page.split("<pre>").nth(1).unwrap().split("</pre>").next().unwrap();
        let answer = plain(answer);
        assert!(answer.starts_with(effect), "{answer}");
        assert!(said.contains(answer.trim_end()), "{answer} in {said}");
    }
    let nothing_asked = proxy.probe("/").body;
    assert!(nothing_asked.contains("<div id=\"answer\"></div>"), "{nothing_asked}");
}

/// Forwarding the admin socket to a port exposes it to browsers.
#[test]
fn operators_have_it_too_and_no_page_acts_for_them() {
    let proxy = Setup::new().section("admin: { bind: 'unix:admin.sock' }").start();
    proxy.send(cancel("100211"));
    let ask = |method: &str, path: &str, headers: &[&str]| {
        proxy.ask_unix("admin.sock", &request(method, path, headers))
    };
    wait_for("the decision", || ask("GET", "/", &[]).body.contains("100211").then_some(()));
    assert!(ask("GET", &question("editor-api", "1", ""), &[]).body.contains("<pre>allow: rule"));
    let rebound = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(proxy.ask_unix("admin.sock", rebound).status, 421);
    for (method, path) in
        [("PUT", "/freeze"), ("DELETE", "/freeze"), ("POST", "/reload"), ("POST", "/shutdown")]
    {
        for header in ["Origin: http://localhost:9090", "Sec-Fetch-Site: same-origin"] {
            let refused = ask(method, path, &[header, "Content-Length: 0"]);
            assert_eq!(
                (refused.status, proxy.probe("/readyz").status),
                (403, 200),
                "{method} {path} {header}"
            );
        }
    }
    assert!(!proxy.probe("/status").json()["frozen"].as_bool().unwrap());
    assert_eq!(ask("GET", "/status", &["Sec-Fetch-Site: none"]).status, 200);
}

fn question(caller: &str, job: &str, facts: &str) -> String {
    let [caller, job, facts] = [caller, job, facts].map(percent);
    format!("/?caller={caller}&action=mpc%3AeditingTask%3Adelete&project=media-prod&job={job}&facts={facts}")
}

/// Every byte as an escape.
fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn plain(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// For a quoted YAML string: markup, quotes, and bidirectional control characters.
const EVIL: &str = "\\\"'><script>alert(1)</script><img src=x onerror=alert(1)>\\u202e\\u2066";
const EVIL_NAME: &str = "<img src=x onerror=alert(1)><b>";
