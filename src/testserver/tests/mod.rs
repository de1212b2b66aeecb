//! The stand-in over real sockets. The requests were signed by the official Python SDK with a fixed clock.

use std::{io, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{clock, secret::Secret};

mod control;
mod faults;
mod federation;
mod iam;
mod jobs;
mod keys;
mod metadata;
mod pod_identity;
mod signatures;
mod sts;

const PROJECT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
const BY_PATH: (&str, &str) = (
    "/v2/0a1b2c3d4e5f60718293a4b5c6d7e8f9/editing/jobs/100211",
    "74e24b1ded68c869f4770597c791b8244dc2329c008a4d2f03a492c8756c074e",
);
const BY_QUERY: (&str, &str) = (
    "/v2/0a1b2c3d4e5f60718293a4b5c6d7e8f9/editing/job?job_id=100211",
    "50ec43ef67d5b5b31d181f3d99c36b11a94e310a9b0ab734db16e72885eb6fbb",
);
const BY_V1: (&str, &str) = (
    "/v1/0a1b2c3d4e5f60718293a4b5c6d7e8f9/editing/jobs?job_id=100211",
    "bb3cdec24561ddf8b904f895932e8219ec2362a943673227657a474d567cedd8",
);
const NAMES: &str = "content-type;host;x-project-id;x-sdk-date";
const DATE_ONLY: &str = "content-type;host;x-sdk-date";
const WITHOUT_PROJECT: &str = "19543649008dae3170deb939b965d154e8c150390b73cd491feda63c68f071a4";

fn options() -> Options {
    Options {
        access_keys: vec![AccessKey::permanent(
            "AKEXAMPLE00000000001",
            "SkExampleKeyForTestVectorsOnly0000000001",
            PROJECT,
        )],
        users: vec![User {
            domain: "account".into(),
            name: "clipper".into(),
            password: Secret::new("right"),
            project_id: PROJECT.into(),
        }],
        metadata: Some(PROJECT.into()),
        pods: vec![Pod {
            path: "/pod-identity".into(),
            token: Secret::new("the-pods-token"),
            project_id: PROJECT.into(),
        }],
        identity_providers: vec![IdentityProvider {
            id: "cluster".into(),
            urn: "iam::account:oidcProvider:cluster".into(),
            id_token: Secret::new("the-id-token"),
            project_id: PROJECT.into(),
        }],
        agencies: vec![
            agency("by-token", Trusted::Provider("iam::account:oidcProvider:cluster".into())),
            agency("by-key", Trusted::AccessKey("AKEXAMPLE00000000001".into())),
        ],
        hosts: vec!["mpc.cn-north-4.myhuaweicloud.com".into()],
        tls: None,
    }
}

fn agency(name: &str, trusts: Trusted) -> Agency {
    Agency { urn: format!("iam::account:agency:{name}"), trusts, project_id: PROJECT.into() }
}

fn signed_at() -> DateTime<Utc> {
    "2026-01-15T08:30:00Z".parse().unwrap()
}

/// A server at the time the requests were signed, with job 100211 waiting.
fn server() -> TestServer {
    let server = TestServer::start("127.0.0.1:0".parse().unwrap(), options()).unwrap();
    server.cloud().set_clock_offset(signed_at() - clock::now());
    server.cloud().put_job(PROJECT, "100211", JobState::Waiting);
    server
}

fn signed((target, signature): (&str, &str)) -> String {
    format!(
        "DELETE {target} HTTP/1.1\r\nContent-Type: application/json\r\nX-Project-Id: {PROJECT}\r\n\
         X-Sdk-Date: 20260115T083000Z\r\nHost: mpc.cn-north-4.myhuaweicloud.com\r\n\
         Authorization: SDK-HMAC-SHA256 Access=AKEXAMPLE00000000001, \
         SignedHeaders={NAMES}, Signature={signature}\r\n\r\n"
    )
}

fn with_token(token: &str) -> String {
    format!("DELETE {} HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: {token}\r\n\r\n", BY_PATH.0)
}

fn with_body(line: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn with_header(request: &str, name: &str, value: &str) -> String {
    request.replacen("\r\n", &format!("\r\n{name}: {value}\r\n"), 1)
}

/// Asserts the beginning of the time, and the documented length.
fn assert_ends(time: &Value, start: &str, documented: &str) {
    let time = time.as_str().unwrap();
    assert!(time.starts_with(start) && time.ends_with('Z') && time.len() == documented.len(), "{time}");
}

struct Answered {
    status: u16,
    head: String,
    text: String,
    /// The text as JSON; null if it is none.
    body: Value,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The status, and the code in the gateway's or MPC's format.
    fn error(&self) -> (u16, &str) {
        (self.status, self.body["error_code"].as_str().unwrap_or_default())
    }

    /// The message in that format.
    fn message(&self) -> &str {
        self.body["error_msg"].as_str().unwrap_or_default()
    }
}

/// Sends one request on a new connection, and reads until the server closes it.
async fn call(server: &TestServer, request: &str) -> Answered {
    try_call(server, request).await.unwrap()
}

async fn try_call(server: &TestServer, request: &str) -> io::Result<Answered> {
    let mut stream = TcpStream::connect(server.address()).await?;
    exchange(&mut stream, request).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &str) -> io::Result<Answered> {
    stream.write_all(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Answered {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        text: body.to_owned(),
        body: serde_json::from_str(body).unwrap_or_default(),
    })
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_once_by_each_of_the_three_urls() {
    for form in [BY_PATH, BY_QUERY, BY_V1] {
        let server = server();
        let answered = call(&server, &signed(form)).await;
        assert_eq!((answered.status, &answered.body), (204, &Value::Null), "{}", form.0);
        assert_eq!(server.cloud().job_state(PROJECT, "100211"), None);
        let again = call(&server, &signed(form)).await;
        assert_eq!(again.error(), (403, "MPC.10211"));
        assert_eq!(again.body.as_object().unwrap().len(), 2, "MPC's shape has two fields");
    }
}

#[tokio::test]
async fn what_arrived_is_recorded_as_it_was_and_with_its_answer() {
    let server = server();
    let answered = call(&server, &signed(BY_V1)).await;
    let bad =
        "POST /nowhere?x=%2F HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\nhi";
    call(&server, bad).await;
    let seen = server.cloud().requests();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("DELETE", BY_V1.0));
    let (status, id) = (seen[0].status, seen[0].request_id.as_str());
    assert_eq!((status, Some(id)), (Some(204), answered.header("x-request-id")));
    let names: Vec<_> = seen[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["connection", "content-type", "x-project-id", "x-sdk-date", "host", "authorization"]);
    assert_eq!((seen[1].target.as_str(), seen[1].body.as_slice()), ("/nowhere?x=%2F", b"hi".as_slice()));
    assert_eq!((seen[1].status, seen[1].header("x-two")), (Some(404), None));
    assert_eq!(seen[1].all("x-two").collect::<Vec<_>>(), ["1", "2"]);
    assert_ne!(seen[0].peer_port, seen[1].peer_port);
    server.cloud().clear_requests();
    assert!(server.cloud().requests().is_empty());
}

#[tokio::test]
async fn every_answer_has_a_request_id_in_the_documented_form_and_the_servers_date() {
    let server = server();
    for request in [&signed(BY_PATH), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let answered = call(&server, request).await;
        let id = answered.header("x-request-id").unwrap();
        let parts: Vec<_> = id.splitn(6, '-').collect();
        assert_eq!(parts[..5].iter().map(|p| p.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
        let (timestamp, hostname) = parts[5].split_once('-').unwrap();
        assert!(timestamp.parse::<u64>().is_ok() && !hostname.is_empty(), "{id}");
        assert!(answered.header("date").unwrap().starts_with("Thu, 15 Jan 2026 08:30:"));
    }
}

#[tokio::test]
async fn each_refusal_has_its_documented_status_and_code() {
    let good = signed(BY_PATH);
    for (what, request, expected) in [
        ("bad signature", good.replace("074e\r", "074f\r"), (401, "APIGW.0301")),
        ("no credential", good.replace("Authorization", "X-Nothing"), (401, "APIGW.0301")),
        ("unknown token", with_token("unknown"), (401, "APIGW.0307")),
        ("unknown path", good.replacen("/v2/", "/v9/", 1), (404, "APIGW.0101")),
        ("unknown method", good.replacen("DELETE", "PATCH", 1), (404, "APIGW.0101")),
        ("another host", good.replace("mpc.cn-north-4", "mpc.cn-north-5"), (404, "APIGW.0101")),
        ("another project's other header", with_header(&good, "X-Project_Id", "other"), (401, "MPC.10208")),
        (
            "no project header",
            good.replace(&format!("X-Project-Id: {PROJECT}\r\n"), "")
                .replace(NAMES, DATE_ONLY)
                .replace(BY_PATH.1, WITHOUT_PROJECT),
            (401, "MPC.10208"),
        ),
    ] {
        let server = server();
        let answered = call(&server, &request).await;
        assert_eq!(answered.error(), expected, "{what}");
        if expected.1.starts_with("APIGW") {
            assert_eq!(answered.body["request_id"].as_str(), answered.header("x-request-id"), "{what}");
        }
        assert_eq!(server.cloud().job_state(PROJECT, "100211"), Some(JobState::Waiting), "{what}");
        assert_eq!(server.cloud().requests()[0].status, Some(expected.0), "{what}");
    }
}

#[tokio::test]
async fn a_key_is_for_its_own_project_only() {
    let server = server();
    let key = AccessKey { project_id: "other".into(), ..options().access_keys.remove(0) };
    server.cloud().put_access_key(key);
    assert_eq!(call(&server, &signed(BY_PATH)).await.error(), (401, "MPC.10208"));
    server.cloud().revoke_access_key("AKEXAMPLE00000000001");
    assert_eq!(call(&server, &signed(BY_PATH)).await.error(), (401, "APIGW.0301"));
}

#[tokio::test]
async fn only_a_waiting_job_is_cancelled() {
    let server = server();
    for state in [JobState::Processing, JobState::Succeeded, JobState::Failed] {
        server.cloud().put_job(PROJECT, "100211", state);
        assert_eq!(call(&server, &signed(BY_PATH)).await.error(), (400, "MPC.10213"), "{state:?}");
        assert_eq!(server.cloud().job_state(PROJECT, "100211"), Some(state));
    }
}

#[tokio::test]
async fn a_token_holds_for_its_project_until_it_expires_or_is_revoked() {
    let server = server();
    let cloud = server.cloud();
    let status = async |token: &str| {
        cloud.put_job(PROJECT, "100211", JobState::Waiting);
        call(&server, &with_token(token)).await.status
    };
    let token = cloud.issue_token(PROJECT);
    cloud.accept_token(Secret::new("my-own"), PROJECT);
    assert_eq!((status(&token).await, status("my-own").await), (204, 204));
    assert_eq!(status(&cloud.issue_token("other")).await, 401);
    assert_eq!(cloud.requests().last().unwrap().status, Some(401));
    cloud.revoke_tokens();
    assert_eq!(status(&token).await, 401);
    let token = cloud.issue_token(PROJECT);
    cloud.set_clock_offset(TimeDelta::days(3650));
    assert_eq!(status(&token).await, 401);
}

#[tokio::test]
async fn a_body_may_have_1_mib_and_no_more() {
    let server = server();
    for (length, expected) in [(1024 * 1024, 404), (1024 * 1024 + 1, 413)] {
        let answered = call(&server, &with_body("POST /big", &"x".repeat(length))).await;
        let recorded = server.cloud().requests().last().unwrap().status;
        assert_eq!((answered.status, recorded), (expected, Some(expected)));
    }
}

#[tokio::test]
async fn requests_on_one_connection_have_one_peer_port() {
    let server = server();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    exchange(&mut stream, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let port = stream.local_addr().unwrap().port();
    let ports: Vec<_> = server.cloud().requests().iter().map(|seen| seen.peer_port).collect();
    assert_eq!(ports, [port, port]);
}

#[tokio::test]
async fn it_can_stand_behind_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let options = Options { tls: Some(Arc::new(config)), ..options() };
    let server = TestServer::start("127.0.0.1:0".parse().unwrap(), options).unwrap();
    assert!(server.url().starts_with("https://127.0.0.1:"));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connect = async || {
        let tcp = TcpStream::connect(server.address()).await.unwrap();
        connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap()
    };
    let request = with_token(&server.cloud().issue_token(PROJECT));
    let answered = exchange(&mut connect().await, &request).await.unwrap();
    assert_eq!(answered.error(), (403, "MPC.10211"));
    server.cloud().set_faults([Fault::Reset.once()]);
    let cut = exchange(&mut connect().await, &request).await.map(|answered| answered.status);
    assert_eq!(cut.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn it_stops_when_told_and_when_dropped() {
    let (stopped, dropped) = (server(), server());
    let addresses = [stopped.address(), dropped.address()];
    let mut open = TcpStream::connect(addresses[0]).await.unwrap();
    stopped.stop().await;
    assert!(TcpStream::connect(addresses[0]).await.is_err());
    assert!(matches!(open.read(&mut [0]).await, Ok(0) | Err(_)), "open connections end too");
    drop(dropped);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(TcpStream::connect(addresses[1]).await.is_err());
}
