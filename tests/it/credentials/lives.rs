//! The life of a credential of each source, under constant load.

use std::{thread::sleep, time::Duration};

use chrono::TimeDelta;
use mpc_auth_proxy::{clock, testserver::Fault};
use serde_json::json;

use super::{Remote, call, cancels, harness::wait_for, metric, status};
use crate::harness::{Answer, Proxy};

/// Calls again and again until told to stop.
fn calls(proxy: &Proxy, mut enough: impl FnMut(&Answer) -> bool) -> Answer {
    wait_for("end of the calls", || {
        sleep(Duration::from_millis(10));
        let answer = call(proxy);
        enough(&answer).then_some(answer)
    })
}

fn live(name: &str) {
    let source = Remote::named(name);
    let proxy = source.setup(5).start();

    // First fetch: the first call waits for it.
    let first = call(&proxy);
    assert_eq!(first.status, 204, "{first:?}");
    let refreshes = "mpc_auth_proxy_credential_refreshes_total{credential=\"prod\",outcome=\"success\"}";
    assert!(metric(&proxy, refreshes) >= 1.0);

    // Renewal: no call is affected.
    calls(&proxy, |answer| {
        assert_eq!(answer.status, 204, "{answer:?}");
        source.asked(&proxy) >= 3
    });

    // Outage: the last value is used until it expires, then nothing is sent.
    proxy.cloud().set_faults([Fault::Unavailable.until_cleared().at(source.service)]);
    let refused = calls(&proxy, |answer| answer.status != 204).refused(503, "PROXY.NoCredential");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() <= 60);
    let state = status(&proxy);
    let end: chrono::DateTime<chrono::Utc> = state["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(end - clock::now() <= TimeDelta::seconds(1), "it was used to its end: {state}");
    assert!(state["problem"].as_str().unwrap().contains("503"), "{state}");
    assert_eq!((&state["ready"], proxy.probe("/readyz").status), (&json!(false), 503));
    proxy.record(&refused).says(json!({ "upstream.attempts": 0, "outcome": "refused" }));

    // Recovery, by itself.
    proxy.cloud().set_faults([]);
    calls(&proxy, |answer| answer.status == 204);
    for _ in 0..20 {
        assert_eq!(call(&proxy).status, 204);
    }
    assert_eq!(proxy.probe("/readyz").status, 200);
    assert_eq!(status(&proxy)["problem"], json!(null));
    let expiry = metric(&proxy, "mpc_auth_proxy_credential_expiry_timestamp_seconds{credential=\"prod\"}");
    assert!(expiry + 1.0 >= clock::now().timestamp() as f64, "{expiry}");

    // Every request sent was signed completely, with a known credential that its record names.
    let sent = cancels(&proxy);
    assert!(sent.iter().all(|seen| seen.status == Some(204)), "{sent:#?}");
    let answered = wait_for("records of all that was sent", || {
        let forwarded = proxy.records().into_iter().filter(|record| record["outcome"] == "forwarded");
        Some(forwarded.collect::<Vec<_>>()).filter(|records| records.len() == sent.len())
    });
    for (record, seen) in answered.iter().zip(&sent) {
        let access = seen.header("authorization").and_then(|value| value.split("Access=").nth(1));
        let hint = access.map(|access| access[..4].to_owned());
        record
            .says(json!({ "credential.name": "prod", "credential.key_hint": hint, "upstream.attempts": 1 }));
    }
}

macro_rules! lives {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            live($name);
        })*

        #[test]
        fn every_source_has_a_life() {
            assert_eq!([$($name),*], super::REMOTE.each_ref().map(|source| source.name));
        }
    };
}

lives! {
    of_the_metadata_service: "metadata",
    of_the_metadata_service_in_version_1: "metadata v1",
    of_pod_identity: "pod_identity",
    of_federation_by_iam: "oidc",
    of_federation_by_sts: "oidc_sts",
    of_an_agency: "agency",
    of_a_users_password: "iam_password",
    of_a_profile_that_names_a_provider: "profile with a provider",
    of_the_first_source_in_a_pod: "auto in a pod",
    of_the_first_source_with_a_provider: "auto with a provider",
}
