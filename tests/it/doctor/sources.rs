//! Each credential source is asked once, and a problem is reported with its fix.

use std::{
    fs::File,
    time::{Duration, SystemTime},
};

use mpc_auth_proxy::{
    clock,
    testserver::{Fault, MetadataMode, Seen, Service},
};
use serde_json::json;

use super::{Found, made_no_call};
use crate::{
    credentials::{REMOTE, Remote, is_for_a_credential},
    harness::{ACCESS_KEY, SECRET_KEY, Setup},
};

#[test]
fn every_source_is_asked_once_and_told() {
    for source in &REMOTE {
        let setup = source.setup(3600);
        let found = Found::by(&setup);
        let credential = found.named("credential", "prod");
        assert_eq!(credential["status"], "ok", "{}: {credential:#}", source.name);
        let kind = source.name.split(' ').next().unwrap();
        assert_eq!(credential["facts"]["source"], kind);
        let message = credential["message"].as_str().unwrap();
        let whole = message.contains("expires in 59 min") || message.contains("expires in 1 h");
        assert!(whole && message.starts_with(kind), "{message}");
        assert_eq!(found.one("project")["facts"]["ready"], true);
        assert_eq!(credentials_given(&setup), 1, "{}", source.name);
        made_no_call(&setup);
    }
}

fn credentials_given(setup: &Setup) -> usize {
    let given = |seen: &&Seen| is_for_a_credential(seen);
    setup.cloud().requests().iter().filter(given).count()
}

#[test]
fn sources_on_this_machine_are_told_too() {
    let profile = format!("[basic]\nak = {ACCESS_KEY}\nsk = {SECRET_KEY}\n");
    let in_environment = |source: &str| {
        Setup::new()
            .credential(source)
            .variable("HUAWEICLOUD_SDK_AK", ACCESS_KEY)
            .variable("HUAWEICLOUD_SDK_SK", SECRET_KEY)
    };
    for (setup, start) in [
        (in_environment("{ environment: {} }"), "environment: key HARN…, has no known expiry"),
        (in_environment("{ auto: {} }"), "auto: environment: key HARN…"),
        (
            Setup::new().file("profile", &profile).credential("{ profile: { path: profile } }"),
            "profile: key HARN…",
        ),
        (
            Setup::new().file("token", "MIIE").credential("{ token_file: { path: token } }"),
            "token_file: a user token",
        ),
    ] {
        let found = Found::by(&setup);
        let credential = found.one("credential");
        assert!(credential["message"].as_str().unwrap().starts_with(start), "{credential:#}");
        assert_eq!(credential["status"], "ok");
        if start.starts_with("auto") {
            let passed =
                "not pod_identity: the environment variable HC_CONTAINER_CREDENTIALS_FULL_URI is not set";
            assert_eq!(credential["details"][0], passed);
            assert_eq!(
                credential["facts"]["looked_at"][3],
                json!({ "source": "environment", "passed_over": null })
            );
        }
    }
}

#[test]
fn a_source_that_gives_nothing_is_told_with_what_to_do() {
    let remote = |name: &str| Remote::named(name).setup(3600);
    let unreachable = remote("metadata").credential("{ metadata: { endpoint: 'http://127.0.0.1:1' } }");
    let no_agency = remote("metadata");
    no_agency.cloud().set_metadata_mode(MetadataMode::NoAgency);
    let in_trouble = remote("oidc_sts");
    in_trouble.cloud().set_faults([Fault::Unavailable.until_cleared().at(Service::Sts)]);
    let garbage = remote("pod_identity");
    garbage.cloud().set_faults([Fault::Garbage.until_cleared().at(Service::PodIdentity)]);
    for (setup, message, hint) in [
        (
            remote("iam_password").file("password", "wrong"),
            "rejected the user name or password",
            "five wrong ones lock the user",
        ),
        (unreachable, "unreachable", "allow it in the firewall"),
        (no_agency, "this machine has no agency", "create an agency for ECS"),
        (remote("oidc").file("id-token", "stale"), "answered 401", "that the identity token is fresh"),
        (remote("pod_identity").file("pod-token", "other"), "answered 401", "with an agency in CCE"),
        (in_trouble, "answered 503", "try again later"),
        (garbage, "not the documented JSON", "find out what answers"),
        (Setup::new().credential("{ environment: {} }"), "HUAWEICLOUD_SDK_AK is not set", "for the proxy"),
        (Setup::new().file("sk", "two words\u{1}"), "the secret key contains white space", "without quotes"),
    ] {
        let found = Found::by(&setup);
        found.says("credential", "fail", (message, hint));
        found.says("project", "fail", ("no credential", "above"));
        assert_eq!(found.1, 1);
        made_no_call(&setup);
    }
}

#[test]
fn what_will_not_last_is_warned_of() {
    let setup = Remote::named("pod_identity").setup(120);
    Found::by(&setup).says("credential", "warn", ("expires in 1 min", "set a longer `duration`"));
    let setup = Setup::new().file("token", "MIIE").credential("{ token_file: { path: token } }");
    let written = SystemTime::from(clock::now()) - Duration::from_secs(30 * 3600);
    File::open(setup.path("token")).unwrap().set_modified(written).unwrap();
    Found::by(&setup).says("credential", "warn", ("a user token", "its file is 1 day 6 h old"));
}

#[test]
fn one_wrong_password_is_tried_once() {
    let setup = Remote::named("iam_password").setup(3600).file("password", "wrong");
    Found::by(&setup);
    assert_eq!(setup.cloud().wrong_passwords("media", "mpc").unwrap().failures, 1);
}

#[test]
fn a_chain_of_credentials_is_told_link_by_link() {
    let setup = Remote::named("agency").setup(3600);
    let found = Found::by(&setup);
    assert_eq!(found.named("credential", "prod")["details"], json!(["assumed with the credential base"]));
    assert_eq!(found.named("credential", "base")["status"], "ok");
    let found = Found::by(&setup.file("base-sk", "wrong"));
    let assumed = found.named("credential", "prod");
    assert!(assumed["hint"].as_str().unwrap().contains("the base credential's key"), "{assumed:#}");
    let setup = Remote::named("agency").setup(3600).credential(
        "{ agency: { base: base, sts_endpoint: 'http://127.0.0.1:1', agency_urn: 'urn' } }\n  base: { environment: {} }",
    );
    let found = Found::by(&setup);
    let assumed = found.named("credential", "prod");
    assert!(assumed["message"].as_str().unwrap().contains("base credential `base`"), "{assumed:#}");
    assert_eq!(assumed["hint"], "check the credential base: it must be a working access key");
}
