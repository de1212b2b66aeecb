//! No secret is shown, neither the sources' input nor their output.

use mpc_auth_proxy::{
    secret::Secret,
    testserver::{Fault, Service},
};
use serde_json::{Value, json};

use super::Found;
use crate::{
    credentials::{MARKED, REMOTE},
    harness::{SECRET_KEY, Scripted, Setup},
};

#[test]
fn no_secret_is_shown_whatever_the_sources_answer() {
    let faults = [Fault::Echo, Fault::Garbage, Fault::InternalError, Fault::Unauthorized, Fault::Reset];
    for source in &REMOTE {
        for fault in [None].into_iter().chain(faults.map(Some)) {
            let setup = source.setup(3600);
            let all = [Service::Iam, Service::Sts, Service::Metadata, Service::PodIdentity];
            setup
                .cloud()
                .set_faults(all.into_iter().filter_map(|service| Some(fault?.until_cleared().at(service))));
            shows_nothing(&setup, source.name);
        }
    }
}

#[test]
fn no_secret_that_was_given_is_shown() {
    let key = json!({ "credentials": {
        "accessKeyId": "HPUAMARKED0000000001", "secretAccessKey": "MARKED-secret", "securityToken": "MARKED-token",
        "expiration": "2999-01-01T00:00:00Z",
    } });
    let answer = |head: &str, body: &Value| {
        let body = body.to_string();
        Scripted::answering(format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    };
    let pod = answer("", &key);
    let iam =
        answer("X-Subject-Token: MARKED\r\n", &json!({ "token": { "expires_at": "2999-01-01T00:00:00Z" } }));
    let in_pod = Setup::new()
        .file("pod-token", "MARKED-pod-token")
        .credential("{ pod_identity: {} }")
        .variable("HC_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v1", pod.url()));
    let token = in_pod.path("pod-token").display().to_string();
    let in_pod = in_pod.variable("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token);
    let password = Setup::new().file("password", "MARKED-password").credential(&format!(
        "{{ iam_password: {{ iam_endpoint: '{}', domain: d, user: u, password_file: password }} }}",
        iam.url()
    ));
    for (setup, message) in [(in_pod, "pod_identity: key HPUA…"), (password, "iam_password: a user token")]
    {
        shows_nothing(&setup, message);
        Found::by(&setup).says("credential", "ok", (message, ""));
    }
}

/// Searches all output for the secrets put in and those shown to the cloud.
fn shows_nothing(setup: &Setup, source: &str) {
    let outputs = [setup.run("doctor"), setup.run("doctor --format json")];
    let sent = setup.cloud().requests();
    let shown = ["x-auth-token", "x-metadata-token", "authorization"];
    let shown = sent.iter().flat_map(|seen| shown.into_iter().filter_map(|name| seen.header(name)));
    let secrets: Vec<Secret> = shown.chain([MARKED, SECRET_KEY]).map(Secret::new).collect();
    for output in outputs {
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("credential"), "{text}");
        for secret in &secrets {
            assert!(!text.contains(secret.expose()), "{source}: {} in {text}", secret.expose());
        }
    }
}
