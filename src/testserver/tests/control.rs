//! The control endpoint: everything a test in Rust can do, by HTTP.

use super::keys::{Credential, cancel_with};
use super::*;

async fn control(server: &TestServer, line: &str, body: &str) -> (u16, Value) {
    let answered = call(server, &with_body(line, body)).await;
    (answered.status, answered.body)
}

#[tokio::test]
async fn a_test_in_any_language_asks_by_http() {
    let server = server();
    let status_of = async |line: &str, body: &str| control(&server, line, body).await;
    let faults = r#"[{"fault":"reset","times":2},{"fault":"unavailable","service":"iam"}]"#;
    assert_eq!(status_of("PUT /_test/faults", faults).await.0, 204);
    let planned = [Fault::Reset.times(2), Fault::Unavailable.until_cleared().at(Service::Iam)];
    assert_eq!(server.cloud().faults(), planned);
    assert_eq!(status_of("PUT /_test/faults", r#"[{"fault":"reset","every":2}]"#).await.0, 400);
    assert_eq!(server.cloud().faults(), planned, "a mistake changes nothing");
    assert_eq!(status_of("GET /_test/faults", "").await.1[1]["service"], "iam");
    assert_eq!(status_of("POST /v3/auth/tokens", "{}").await.0, 503);
    assert_eq!(status_of("DELETE /_test/faults", "").await.0, 204);

    assert_eq!(status_of("PUT /_test/jobs/p/7", r#"{"state":"PROCESSING"}"#).await.0, 204);
    assert_eq!(status_of("GET /_test/jobs/p/7", "").await, (200, json!({ "state": "PROCESSING" })));
    assert_eq!(status_of("GET /_test/jobs/p/8", "").await.0, 404);
    assert_eq!(status_of("PUT /_test/jobs/p/7", r#"{"state":"LOST"}"#).await.0, 400);

    let issued = status_of("POST /_test/tokens", &json!({ "project_id": PROJECT }).to_string()).await.1;
    let token = issued["token"].as_str().unwrap();
    assert_eq!(call(&server, &with_token(token)).await.error().0, 204);
    assert_eq!(status_of("DELETE /_test/tokens", "").await.0, 204);
    assert_eq!(call(&server, &with_token(token)).await.error(), (401, "APIGW.0307"));
    assert_eq!(status_of("PUT /_test/clock", r#"{"offset_s":0}"#).await.0, 204);
    assert_eq!(call(&server, &signed(BY_PATH)).await.error(), (401, "APIGW.0301"));
    assert_eq!(status_of("PATCH /_test/clock", "").await.0, 404);

    let (_, seen) = status_of("GET /_test/requests", "").await;
    let seen: Vec<_> = seen.as_array().unwrap().iter().map(|s| (&s["method"], &s["status"])).collect();
    assert_eq!(seen.len(), 4, "control requests are not the cloud's: {seen:?}");
    assert_eq!(seen[0], (&json!("POST"), &json!(503)));
    assert_eq!(status_of("DELETE /_test/requests", "").await.0, 204);
    assert_eq!(status_of("GET /_test/requests", "").await.1, json!([]));
}

#[tokio::test]
async fn who_may_get_what_is_changed_by_http() {
    let server = server();
    for (line, body) in [
        ("keys", r#"{"id":"K","secret":"S","project_id":"PROJECT"}"#),
        ("users", r#"{"domain":"account","name":"second","password":"its-own","project_id":"PROJECT"}"#),
        (
            "identity-providers",
            r#"{"id":"cluster","urn":"iam::account:oidcProvider:cluster","id_token":"the-next","project_id":"PROJECT"}"#,
        ),
        (
            "agencies",
            r#"{"urn":"iam::account:agency:by-key","trusts":{"access_key":"K"},"project_id":"PROJECT"}"#,
        ),
        ("pods", r#"{"path":"/another","token":"the-other-pods","project_id":"PROJECT"}"#),
    ] {
        let line = format!("PUT /_test/{line}");
        let body = body.replace("PROJECT", PROJECT);
        assert_eq!(control(&server, &line, &body).await, (204, Value::Null), "{line}");
        let odd = body.replacen('{', r#"{"odd":1,"#, 1);
        assert_eq!(control(&server, &line, &odd).await.0, 400, "{line}");
    }
    let key = Credential { access: "K".into(), secret: Secret::new("S"), token: None };
    let pod = pod_identity::ask("the-other-pods", "{}").replace("/pod-identity", "/another");
    for (what, request, expected) in [
        ("user", iam::sign_in("second", "its-own", PROJECT), 201),
        ("old id token", sts::with_oidc(|_| {}), 401),
        ("new id token", sts::with_oidc(|body| body["id_token"] = json!("the-next")), 200),
        ("agency", sts::assume(&server, &key, &sts::asked(|_| {})), 200),
        ("pod", pod, 200),
    ] {
        assert_eq!(call(&server, &request).await.status, expected, "{what}");
    }
}

#[tokio::test]
async fn what_was_handed_out_is_ruled_by_http() {
    let server = server();
    let ask = async |line: &str, body: &str| control(&server, line, body).await;
    let lifetimes = r#"{"iam":600,"sts":60,"metadata":60,"pod_identity":0}"#;
    assert_eq!(ask("PUT /_test/lifetimes", lifetimes).await.0, 204);
    let stillborn = pod_identity::key(&server).await;
    assert_eq!(cancel_with(&server, &stillborn).await.status, 401);
    assert_eq!(ask("PUT /_test/lifetimes", "{}").await.0, 204);
    assert_eq!(ask("PUT /_test/lifetimes", r#"{"mpc":1}"#).await.0, 400);

    let keys = [pod_identity::key(&server).await, pod_identity::key(&server).await];
    assert_eq!(ask(&format!("DELETE /_test/keys/{}", keys[0].access), "").await.0, 204);
    assert_eq!(cancel_with(&server, &keys[0]).await.status, 401);
    assert_eq!(cancel_with(&server, &keys[1]).await.status, 204);
    assert_eq!(ask("DELETE /_test/keys", "").await.0, 204);
    assert_eq!(cancel_with(&server, &keys[1]).await.status, 401);

    let key = Credential::permanent();
    cancel_with(&server, &key.guessed()).await;
    let counted = (200, json!({ "failures": 1, "locked": false }));
    assert_eq!(ask(&format!("GET /_test/keys/{}", key.access), "").await, counted);
    call(&server, &iam::sign_in("clipper", "wrong", PROJECT)).await;
    assert_eq!(ask("GET /_test/users/account/clipper", "").await, counted);
    for path in ["keys/unknown", "users/account/unknown", "users/clipper"] {
        assert_eq!(ask(&format!("GET /_test/{path}"), "").await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn the_metadata_service_is_ruled_by_http() {
    let server = server();
    let ask = async |line: &str, body: &str| control(&server, line, body).await.0;
    assert_eq!(ask("PUT /_test/metadata", r#"{"mode":{"v1":405}}"#).await, 204);
    let (first, _) = metadata::key(&server, "").await;
    assert_eq!(metadata::key(&server, "").await.0.access, first.access);
    assert_eq!(ask("DELETE /_test/metadata/key", "").await, 204);
    let (second, _) = metadata::key(&server, "").await;
    assert_ne!(second.access, first.access);
    assert_eq!(ask("PUT /_test/metadata/rotation", r#"{"before_end_s":86400}"#).await, 204);
    assert_ne!(metadata::key(&server, "").await.0.access, second.access);
    for mode in [r#"{"mode":"v3"}"#, r#"{"mode":{"v1":500}}"#, r#"{"mode":"v1"}"#, "{}"] {
        assert_eq!(ask("PUT /_test/metadata", mode).await, 400, "{mode}");
    }
    assert_eq!(ask("PUT /_test/metadata", r#"{"mode":"no_agency"}"#).await, 204);
    let refused = call(&server, &metadata::ask("")).await;
    assert_eq!(refused.status, 401);
    assert_eq!(ask("PUT /_test/metadata", r#"{"mode":"v2"}"#).await, 204);
    metadata::key(&server, &metadata::session(&server, 60).await).await;
}
