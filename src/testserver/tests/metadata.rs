//! The metadata service of an ECS.

use http::StatusCode;

use super::keys::{Credential, assert_in_force, cancel_with, move_clock};
use super::*;

const PARTS: [&str; 3] = ["access", "secret", "securitytoken"];

pub(super) fn open_session(ttl: &str) -> String {
    format!("PUT /meta-data/latest/api/token HTTP/1.1\r\nHost: localhost\r\n{ttl}\r\n")
}

pub(super) fn ask(header: &str) -> String {
    format!("GET /openstack/latest/securitykey HTTP/1.1\r\nHost: localhost\r\n{header}\r\n")
}

pub(super) async fn session(server: &TestServer, ttl: u32) -> String {
    let request = open_session(&format!("X-Metadata-Token-Ttl-Seconds: {ttl}\r\n"));
    let answered = call(server, &request).await;
    assert_eq!((answered.status, answered.header("content-type")), (200, Some("text/plain")));
    format!("X-Metadata-Token: {}\r\n", answered.text)
}

pub(super) async fn key(server: &TestServer, session: &str) -> (Credential, Value) {
    let answered = call(server, &ask(session)).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let credential = &answered.body["credential"];
    assert_eq!(credential.as_object().unwrap().len(), 4);
    (Credential::read(credential, PARTS), credential["expires_at"].clone())
}

#[tokio::test]
async fn a_session_token_shows_the_machines_key() {
    let server = server();
    let session = session(&server, 21_600).await;
    let (key, expires_at) = key(&server, &session).await;
    assert_ends(&expires_at, "2026-01-16T08:30:", "2020-01-08T02:56:19.587000Z");
    assert_in_force(&server, &key, TimeDelta::hours(24)).await;
}

#[tokio::test]
async fn a_session_has_a_length_of_1_to_21600_seconds() {
    let server = server();
    for ttl in ["", "0", "21601", "-1", "x", "1.5"] {
        let header = format!("X-Metadata-Token-Ttl-Seconds: {ttl}\r\n");
        let answered = call(&server, &open_session(&header)).await;
        assert_eq!(answered.status, 400, "{ttl}");
    }
    assert_eq!(call(&server, &open_session("")).await.status, 400);
    for seconds in [1, 21_600] {
        let session = session(&server, seconds).await;
        assert_eq!(call(&server, &ask(&session)).await.status, 200);
        move_clock(&server, TimeDelta::seconds(i64::from(seconds) + 5));
        assert_eq!(call(&server, &ask(&session)).await.status, 401, "it expired");
        move_clock(&server, TimeDelta::zero());
    }
}

#[tokio::test]
async fn no_session_no_key() {
    let server = server();
    let session = session(&server, 60).await;
    let twice = format!("{session}{session}");
    for header in ["", "X-Metadata-Token: guessed\r\n", "X-Metadata-Token:\r\n", &twice] {
        let answered = call(&server, &ask(header)).await;
        assert_eq!((answered.status, answered.text.contains("Agency")), (401, false), "{header}");
    }
    for request in [
        ask(&session).replacen("GET", "POST", 1),
        ask(&session).replace("/latest/", "/2020/"),
        ask(&session).replace("securitykey", "securitykey/"),
    ] {
        assert_eq!(call(&server, &request).await.error(), (404, "APIGW.0101"), "{request}");
    }
}

#[tokio::test]
async fn it_shows_the_same_key_until_its_end_is_near() {
    let server = server();
    let sixty = async |server: &TestServer| session(server, 60).await;
    let now = async || key(&server, &sixty(&server).await).await.0;
    let first = now().await;
    move_clock(&server, TimeDelta::hours(22));
    assert_eq!(now().await.access, first.access);
    move_clock(&server, TimeDelta::hours(23) + TimeDelta::minutes(1));
    let second = now().await;
    assert_ne!(second.access, first.access, "an hour before its end it is replaced");
    assert_eq!(cancel_with(&server, &first).await.status, 204, "and stays in force");

    server.cloud().set_metadata_rotation(TimeDelta::hours(30));
    assert_ne!(now().await.access, now().await.access, "nothing lasts so long");
    server.cloud().set_metadata_rotation(TimeDelta::zero());
    server.cloud().set_lifetime(Service::Metadata, Some(TimeDelta::minutes(10)));
    server.cloud().rotate_metadata_key();
    let third = now().await;
    assert_eq!(now().await.access, third.access);
    server.cloud().revoke_access_key(&third.access);
    assert_ne!(now().await.access, third.access, "a revoked key is not shown again");
}

#[tokio::test]
async fn it_can_be_version_1_or_without_an_agency_or_not_there() {
    let server = server();
    for status in [404, 405, 503] {
        server.cloud().set_metadata_mode(MetadataMode::V1(StatusCode::from_u16(status).unwrap()));
        let request = open_session("X-Metadata-Token-Ttl-Seconds: 60\r\n");
        assert_eq!(call(&server, &request).await.status, status);
        let (key, _) = key(&server, "").await;
        assert_eq!(cancel_with(&server, &key).await.status, 204);
    }
    server.cloud().set_metadata_mode(MetadataMode::NoAgency);
    let answered = call(&server, &ask(&session(&server, 60).await)).await;
    assert_eq!((answered.status, &*answered.text), (401, "Please configure Cloud Service Agency first"));
    let answered = call(&server, &ask("")).await;
    assert_eq!((answered.status, answered.text.contains("Agency")), (401, false));

    let elsewhere = Options { metadata: None, ..options() };
    let server = TestServer::start("127.0.0.1:0".parse().unwrap(), elsewhere).unwrap();
    for request in [open_session("X-Metadata-Token-Ttl-Seconds: 60\r\n"), ask("")] {
        assert_eq!(call(&server, &request).await.error(), (404, "APIGW.0101"));
    }
}
