//! `--contract` finds each difference between the cloud and what this build expects, and leaves no job behind.

use std::process::Stdio;

use mpc_auth_proxy::testserver::{Difference, Fault, Seen};
use serde_json::{Value, json};

use super::Found;
use crate::harness::{ACCESS_KEY, PROJECT, Setup};

const ASKED: &str = "doctor --format json --contract --project media-prod --input media-in/short.mp4 --output \
                     media-out/doctor/ --location cn-north-4";

fn compare(setup: &Setup) -> Found {
    Found::read(&setup.run(&format!("{ASKED} --yes")))
}

fn differing(found: &Found) -> Vec<(String, String, String)> {
    let text = |found: &Value, name: &str| found["facts"][name].as_str().unwrap_or_default().to_owned();
    found
        .all("contract")
        .into_iter()
        .filter(|found| found["status"] != "ok")
        .map(|found| {
            (found["name"].as_str().unwrap().to_owned(), text(found, "expected"), text(found, "came"))
        })
        .collect()
}

/// Each created job is cancelled.
fn nothing_is_left(setup: &Setup) {
    let all = setup.cloud().requests();
    let done = |method: &str| {
        let of = |seen: &&Seen| seen.method == method && seen.status.is_some_and(|status| status < 300);
        all.iter().filter(of).count()
    };
    assert!(done("POST") > 0);
    assert_eq!(done("POST"), done("DELETE"), "{all:#?}");
}

#[test]
fn the_cloud_as_it_is_documented_has_no_difference() {
    let setup = Setup::new();
    let found = compare(&setup);
    assert_eq!((differing(&found), found.1), (vec![], 0));
    nothing_is_left(&setup);
    let all = setup.cloud().requests();
    let made: Vec<_> = all.iter().filter(|seen| seen.method == "POST").map(|seen| &*seen.target).collect();
    let (v1, v2) = (format!("/v1/{PROJECT}/editing/jobs"), format!("/v2/{PROJECT}/editing/jobs"));
    assert_eq!(made, [&*v2, &v2, &v1]);
    let cancelled = all.iter().filter(|seen| seen.method == "DELETE" && seen.status == Some(204)).count();
    assert_eq!(cancelled, 3);
}

/// The planted difference, and the expected finding.
fn planted() -> Vec<(Value, Vec<String>)> {
    let no_url = |url: &str| (json!({ "no_url": url }), vec![url.to_owned()]);
    let lacks = |version: u8, member: &str| {
        let name = format!("GET /v{version}/{{project_id}}/editing/jobs, `{member}`");
        (json!({ "lacks": { "version": version, "member": member } }), vec![name])
    };
    let named = |difference: Value, names: &[&str]| {
        (difference, names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    let view = "GET /v1/{project_id}/editing/jobs";
    vec![
        no_url("DELETE /v2/{project_id}/editing/jobs/{job_id}"),
        no_url("DELETE /v2/{project_id}/editing/job?job_id={job_id}"),
        no_url("DELETE /v1/{project_id}/editing/jobs?job_id={job_id}"),
        no_url("POST /v1/{project_id}/editing/jobs"),
        no_url("POST /v2/{project_id}/editing/jobs"),
        no_url("GET /v1/{project_id}/editing/jobs"),
        no_url("GET /v2/{project_id}/editing/jobs"),
        named(
            json!({ "status": { "action": "mpc:editingTask:delete", "is": 200 } }),
            &[
                "DELETE /v2/{project_id}/editing/jobs/{job_id}",
                "DELETE /v1/{project_id}/editing/jobs?job_id={job_id}",
            ],
        ),
        named(
            json!({ "status": { "action": "mpc:editingTask:create", "is": 201 } }),
            &["POST /v1/{project_id}/editing/jobs"],
        ),
        named(json!({ "status": { "action": "mpc:editingTask:view", "is": 202 } }), &[view]),
        lacks(1, "edit_task_req"),
        lacks(1, "user_data"),
        lacks(1, "status"),
        lacks(2, "user_data"),
        lacks(2, "create_time"),
        named(
            json!({ "renamed": { "version": 1, "member": "status", "to": "state" } }),
            &["GET /v1/{project_id}/editing/jobs, `status`"],
        ),
        named(
            json!({ "word": { "version": 2, "word": "WAITING", "is": "QUEUED" } }),
            &["GET /v2/{project_id}/editing/jobs, `status`"],
        ),
        named(
            json!("numeric_ids"),
            &["POST /v2/{project_id}/editing/jobs", "GET /v1/{project_id}/editing/jobs, `job_id`"],
        ),
        named(json!("absent_is_an_error"), &["GET /v1/{project_id}/editing/jobs, of no such job"]),
        named(
            json!({ "absent_on_cancel": { "status": 404, "code": "MPC.10299" } }),
            &["DELETE /v2/{project_id}/editing/jobs/{job_id}, of no such job"],
        ),
        named(json!({ "project_header": "x-project_id" }), &["X-Project-Id alone"]),
        named(json!({ "project_header": "x-project-id" }), &["X-Project_Id alone"]),
    ]
}

#[test]
fn each_planted_difference_is_found() {
    let setup = Setup::new();
    for (difference, names) in planted() {
        let mut difference = difference;
        // The stand-in names URLs by their paths.
        if let Some(url) = difference["no_url"].as_str() {
            difference = json!({ "no_url": url.split('?').next() });
        }
        let parsed: Difference = serde_json::from_value(difference.clone()).unwrap();
        setup.cloud().set_differences([parsed]);
        let found = compare(&setup);
        let differing = differing(&found);
        for name in &names {
            assert!(differing.iter().any(|(found, ..)| found == name), "{difference}: {differing:#?}");
        }
        assert!(
            differing.len() <= 6 && differing.iter().all(|(_, e, c)| e != c),
            "{difference}: {differing:#?}"
        );
        assert_eq!(found.1, 1, "{difference}");
        nothing_is_left(&setup);
    }
    assert_eq!(setup.cloud().bad_signatures(ACCESS_KEY).unwrap().failures, 0);
}

#[test]
fn nothing_is_done_before_it_was_agreed_to() {
    let setup = Setup::new();
    let mut doctor = setup.command(ASKED);
    let output = doctor.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("add --yes"), "{told}");
    for (arguments, problem) in [
        ("doctor --contract --yes", "--project"),
        ("doctor --contract --project nope --input a/b --output c/d --yes", "unknown project \"nope\""),
        ("doctor --contract --project media-prod --input a/b --output c/d --yes", "--location"),
        ("doctor --contract --project media-prod --input a --output c/d --yes", "expected BUCKET/OBJECT"),
        ("doctor --yes", "--contract"),
    ] {
        let output = setup.run(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {told}");
        assert!(told.contains(problem), "{arguments}: {told}");
    }
    assert_eq!(setup.cloud().requests().len(), 0);
}

#[test]
fn a_wrong_signature_is_the_last_one() {
    let setup = Setup::new().file("sk", "wrong-secret-key-of-no-account");
    let found = compare(&setup);
    found.says(
        "contract",
        "fail",
        ("aborted: GET /v1/{project_id}/editing/jobs: the credential was rejected", ""),
    );
    assert_eq!((found.1, setup.cloud().bad_signatures(ACCESS_KEY).unwrap().failures), (1, 1));
}

#[test]
fn a_job_that_cannot_be_cancelled_is_named() {
    let setup = Setup::new();
    let urls = [
        "DELETE /v2/{project_id}/editing/jobs/{job_id}",
        "DELETE /v2/{project_id}/editing/job",
        "DELETE /v1/{project_id}/editing/jobs",
    ];
    setup.cloud().set_differences(urls.map(|url| Difference::NoUrl(url.into())));
    let found = compare(&setup);
    let left: Vec<_> = found
        .all("contract")
        .into_iter()
        .filter(|found| found["hint"].as_str().is_some_and(|hint| hint.contains("cancel it in the console")))
        .map(|found| found["name"].as_str().unwrap())
        .collect();
    assert_eq!((left.len(), found.1), (3, 1), "{left:?}");
    assert!(left.iter().all(|job| setup.cloud().job_state(PROJECT, job).is_some()));
}

#[test]
fn a_job_that_had_started_is_no_difference_and_is_named() {
    let setup = Setup::new();
    setup.cloud().set_differences([Difference::StartsAtOnce]);
    let found = compare(&setup);
    let told = |what: &str| {
        let all = found.all("contract").into_iter();
        all.filter(|found| found["message"].as_str().unwrap().contains(what) && found["status"] == "warn")
            .count()
    };
    let had_started = (told("not tried: the job had started"), told("runs to its end"));
    assert_eq!((had_started, found.1), ((3, 3), 0));
}

#[test]
fn a_create_without_an_answer_is_told() {
    let setup = Setup::new();
    // Before it: one `HEAD`, two views and three cancels of a missing job, two spellings of the header.
    let before = Fault::LatencyMs(0).times(8);
    setup.cloud().set_faults([before, Fault::LoseAnswer.once()]);
    let found = compare(&setup);
    let broken_off = found.named("contract", "media-prod");
    assert!(broken_off["message"].as_str().unwrap().contains("a job may have been created"), "{broken_off}");
    assert_eq!(found.1, 1);
}
