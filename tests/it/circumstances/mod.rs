//! Promises under every circumstance: what other modules test on an idle proxy is tested here at the start, while it stops,
//! during a reload, and with a stuck sink.

mod reload;
mod sink;
mod start;
mod stop;

use mpc_auth_proxy::{
    secret::Secret,
    testserver::{AccessKey, Cloud},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{
        ACCESS_KEY, Answer, Authority, Held, PROJECT, Proxy, Setup, TOKEN, Wanted, Wire, cancel, request,
        wait_for,
    },
    loopback::VICTIM,
    phases::{in_a_pod, key_of_the_pod},
};

/// A request, and its answer at any moment.
struct Case {
    request: String,
    status: u16,
    code: &'static str,
}

/// Requests that are always refused, and a call to a job unknown upstream.
fn cases() -> Vec<Case> {
    let right = format!("Authorization: Bearer {TOKEN}");
    let case = |job: &str, headers: &[&str], status, code| {
        let request = request("DELETE", &format!("/v2/media-prod/editing/jobs/{job}"), headers);
        Case { request, status, code }
    };
    let wrong = "Authorization: Bearer nobody-0123456789";
    let other = "Proxy-Authorization: Bearer nobody-0123456789";
    vec![
        case("none", &[], 401, "PROXY.Unauthenticated"),
        case("none", &[wrong], 401, "PROXY.Unauthenticated"),
        case("none", &[&right, other], 401, "PROXY.Unauthenticated"),
        case("precious", &[&right], 403, "PROXY.Forbidden"),
        case("a.b", &[&right], 400, "PROXY.BadRequest"),
        case("none", &[&right, "Transfer-Encoding: chunked"], 400, "PROXY.BadRequest"),
        case("none", &[&right], 403, "MPC.10211"),
    ]
}

impl Case {
    fn is_answered(&self, answer: &Answer) {
        let code = answer.json()["error_code"].clone();
        assert_eq!((answer.status, code.as_str()), (self.status, Some(self.code)), "{}", self.request);
    }
}

/// A number of each, on separate connections, and their answers once something has happened.
fn send_cases(times: usize, dial: impl Fn() -> Wire) -> Vec<(Case, Wire)> {
    let all = (0..times).flat_map(|_| cases());
    let send = |case: Case| {
        let mut wire = dial();
        wire.write(&case.request);
        (case, wire)
    };
    all.map(send).collect()
}

/// Callers known on `app`, by a token or a loopback socket, and on `mesh`, by a certificate.
const POLICY: &str = "version: 1
callers:
  oncall: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }
  victim: { identify: [ { loopback: { uid: 4002 } } ] }
  cleaner: { identify: [ { spiffe: 'spiffe://media.example/ns/prod/sa/cleaner' } ] }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
  - { id: not-this, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: [precious] }
";
const CLEANER: &str = "spiffe://media.example/ns/prod/sa/cleaner";
const MESH: &str = "tls: { certificate: tls.crt, key: tls.key, client_ca: ca.crt } }";

/// With files for [`MESH`].
fn with_tls(setup: Setup, authority: &Authority) -> Setup {
    let server = authority.issue(Wanted::server());
    setup
        .file("tls.crt", &server.certificate_pem)
        .file("tls.key", &server.key_pem)
        .file("ca.crt", &authority.pem())
        .policy(POLICY)
}

/// Asserts that nothing of a taken-over connection was sent or attributed to a caller.
fn nothing_is_stolen(proxy: &Proxy) {
    assert_eq!(VICTIM.as_raw(), 4002, "as in the policy");
    assert!(proxy.cloud().requests().iter().all(|seen| !seen.target.contains("stolen")));
    for record in proxy.records() {
        assert!(record["caller.id"].is_null() || record["mpc.job_id"] != "stolen", "{record:#?}");
    }
}

/// Calls that wait for the first credential, which a test releases.
struct Waiting {
    agent: Held,
    proxy: Proxy,
    calls: Vec<Wire>,
}

impl Waiting {
    fn calls(count: usize, section: &str) -> Self {
        let agent = Held::answering(|_| key_of_the_pod());
        let setup = in_a_pod(agent.upstream()).section(section);
        knows_the_pods_key(setup.cloud());
        let proxy = setup.start();
        let mut calls: Vec<Wire> = (0..count).map(|_| proxy.connect()).collect();
        calls.iter_mut().for_each(|call| call.write(cancel("none")));
        let line = format!("mpc_auth_proxy_in_flight_requests {count}\n");
        wait_for("calls under way", || proxy.probe("/metrics").body.contains(&line).then_some(()));
        Self { agent, proxy, calls }
    }

    fn freeze(&self) {
        self.proxy.write("freeze", "");
        wait_for("freeze", || (status(&self.proxy)["freeze"] != json!([])).then_some(()));
    }

    /// Releases the credential and reads the answers.
    fn answers(&mut self) -> Vec<Answer> {
        self.agent.let_go();
        self.calls.iter_mut().map(Wire::answer).collect()
    }

    fn nothing_was_sent(&self) {
        for record in self.proxy.audit(self.calls.len()) {
            record.says(json!({ "upstream.attempts": 0, "outcome": "refused" }));
        }
        self.proxy.upstream_saw(0);
    }
}

fn knows_the_pods_key(cloud: &Cloud) {
    cloud.put_access_key(AccessKey {
        security_token: Some(Secret::new("token")),
        ..AccessKey::permanent(ACCESS_KEY, "a-secret-of-no-account", PROJECT)
    });
}

/// Returns once the proxy has begun to stop.
fn stop(proxy: &Proxy) {
    proxy.signal_and_wait(Signal::SIGTERM, "draining");
}

fn status(proxy: &Proxy) -> Value {
    proxy.probe("/status").json()
}
