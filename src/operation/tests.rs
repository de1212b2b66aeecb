//! Targets that are operations, and others.

use super::*;
use crate::reason::Reason;

fn parsed(target: &str) -> Result<(Form, String, String), TargetError> {
    Target::parse("DELETE", target)
        .map(|t| (t.operation().form.unwrap(), t.project().to_string(), t.job().unwrap().to_string()))
}

/// A target for each call in the life of a job.
fn read(method: &str, target: &str) -> Result<Target, TargetError> {
    Target::parse(method, target)
}

fn rendered(target: &Target) -> String {
    target.operation().render(target.project().as_str(), target.jobs())
}

#[test]
fn the_three_cancel_urls_are_one_action() {
    for (target, form) in [
        ("/v2/media-prod/editing/jobs/100211", Form::Path),
        ("/v2/media-prod/editing/job?job_id=100211", Form::Query),
        ("/v1/media-prod/editing/jobs?job_id=100211", Form::V1),
    ] {
        assert_eq!(parsed(target), Ok((form, "media-prod".into(), "100211".into())), "{target}");
    }
    let cancels = CATALOGUE.iter().filter(|row| row.form.is_some());
    assert_eq!(cancels.map(|row| row.action).collect::<Vec<_>>(), [DELETE; 3]);
}

#[test]
fn rendering_a_parsed_target_gives_the_same_text() {
    for target in ["/v2/p/editing/jobs/j", "/v2/p/editing/job?job_id=j", "/v1/p/editing/jobs?job_id=j"] {
        let t = Target::parse("DELETE", target).unwrap();
        assert_eq!(rendered(&t), target);
    }
}

#[test]
fn a_target_can_be_rendered_in_another_form() {
    let t = Target::parse("DELETE", "/v2/p/editing/jobs/j").unwrap();
    let v1 = t.operation().in_form(Form::V1).unwrap();
    assert_eq!(v1.render("id", t.jobs()), "/v1/id/editing/jobs?job_id=j");
}

#[test]
fn whatever_is_not_exactly_an_operation_is_refused() {
    use TargetError::{Malformed, Method, NotFound, TooLong};
    for (method, target, expected) in [
        ("DELETE", "/", NotFound),
        ("DELETE", "//v2/p/editing/jobs/j", NotFound),
        ("DELETE", "/v2/p/editing/jobs/j/", NotFound),
        ("DELETE", "/v2/p/../editing/jobs/j", NotFound),
        ("DELETE", "/v3/p/editing/jobs/j", NotFound),
        ("DELETE", "/v2/p/Editing/jobs/j", NotFound),
        ("DELETE", "/v2/p/editing/jobs", Method("GET, POST")),
        ("HEAD", "/v1/p/editing/jobs", Method("GET, POST, DELETE")),
        ("GET", "/v2/p/editing/jobs/j", Method("DELETE")),
        ("delete", "/v2/p/editing/jobs/j", Method("DELETE")),
        ("DELETE", "http://h/v2/p/editing/jobs/j", Malformed(Reason::TargetForm)),
        ("DELETE", "*", Malformed(Reason::TargetForm)),
        ("DELETE", "", Malformed(Reason::TargetForm)),
        ("DELETE", "/v2//editing/jobs/j", Malformed(Reason::BadProject)),
        ("DELETE", "/v2/p%20/editing/jobs/j", Malformed(Reason::BadProject)),
        ("DELETE", "/v2/p/editing/jobs/", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/jobs/..", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/jobs/a%2Fb", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/jobs/j;x=1", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/jobs/j#f", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/jobs/é", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/job", Malformed(Reason::BadQuery)),
        ("DELETE", "/v2/p/editing/job?", Malformed(Reason::BadQuery)),
        ("DELETE", "/v2/p/editing/job?Job_id=j", Malformed(Reason::BadQuery)),
        ("DELETE", "/v2/p/editing/job?x=1&job_id=j", Malformed(Reason::BadQuery)),
        ("DELETE", "/v2/p/editing/job?job_id=j&job_id=k", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/job?job_id=j&x=1", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/job?job_id=", Malformed(Reason::BadJob)),
        ("DELETE", "/v2/p/editing/job?job_id=j?", Malformed(Reason::BadJob)),
    ] {
        assert_eq!(Target::parse(method, target), Err(expected), "{method} {target}");
    }
    let query_on_path = parsed("/v2/p/editing/jobs/j?job_id=k");
    assert!(matches!(query_on_path, Err(Malformed(Reason::QueryNotAllowed))));
    assert_eq!(parsed(&format!("/v2/p/editing/jobs/{}", "j".repeat(300))), Err(TooLong));
    assert_eq!(parsed(&format!("/v2/p/editing/jobs/{}", "j".repeat(65))), Err(Malformed(Reason::BadJob)));
    assert!(parsed(&format!("/v2/p/editing/jobs/{}", "j".repeat(64))).is_ok());
}

#[test]
fn every_row_parses_what_it_renders_and_says_what_it_does() {
    for row in CATALOGUE {
        let jobs = if row.has_body { Jobs::ToBeMade } else { Jobs::One(Segment::parse("j").unwrap()) };
        let target = row.render("p", &jobs);
        let parsed = read(row.method, &target).unwrap();
        assert_eq!((parsed.operation(), parsed.jobs(), rendered(&parsed)), (row, &jobs, target));
        let (method, writes) = (row.method, row.access == Access::Write);
        assert_eq!(
            (row.has_body, writes, row.idempotent),
            match method {
                "POST" => (true, true, false),
                "GET" => (false, false, true),
                _ => (false, true, true),
            }
        );
        assert_eq!(row.in_form(Form::V1).is_some(), row.action == DELETE, "only a cancel has another form");
    }
}

#[test]
fn a_view_names_one_to_ten_jobs_and_sends_them_sorted() {
    let ids = |from: u32, to: u32| (from..to).map(|id| format!("job_id={id}")).collect::<Vec<_>>().join("&");
    let ten = format!("/v2/p/editing/jobs?{}", ids(10, 20));
    for (target, sent) in [
        ("/v1/p/editing/jobs?job_id=j", "/v1/p/editing/jobs?job_id=j"),
        (
            "/v2/p/editing/jobs?job_id=9&job_id=100&job_id=B&job_id=a",
            "/v2/p/editing/jobs?job_id=100&job_id=9&job_id=B&job_id=a",
        ),
        (&ten, &ten),
    ] {
        assert_eq!(read("GET", target).map(|target| rendered(&target)).as_deref(), Ok(sent), "{target}");
    }
    let longest = (10..20).map(|id| format!("job_id={}{id}", "x".repeat(62))).collect::<Vec<_>>().join("&");
    assert!(read("GET", &format!("/v1/{}/editing/jobs?{longest}", "p".repeat(64))).is_ok());
    let long = format!("/v2/p/editing/jobs?{}", ids(100_000, 100_100));
    assert_eq!(read("GET", &long), Err(TargetError::TooLong));
    for (target, why) in [
        ("/v2/p/editing/jobs".to_owned(), Reason::BadIds),
        ("/v2/p/editing/jobs?".to_owned(), Reason::BadIds),
        ("/v2/p/editing/jobs?status=WAITING".to_owned(), Reason::BadIds),
        ("/v2/p/editing/jobs?job_id=a&job_id=a".to_owned(), Reason::BadIds),
        ("/v1/p/editing/jobs?job_id=a&job_id=b&job_id=a".to_owned(), Reason::BadIds),
        ("/v1/p/editing/jobs?job_id=a&status=INIT".to_owned(), Reason::BadIds),
        ("/v1/p/editing/jobs?job_id=a&".to_owned(), Reason::BadIds),
        ("/v1/p/editing/jobs?job_id=a,b".to_owned(), Reason::BadJob),
        ("/v1/p/editing/jobs?job_id=a%62".to_owned(), Reason::BadJob),
        ("/v1/p/editing/jobs?job_id=".to_owned(), Reason::BadJob),
        (format!("/v2/p/editing/jobs?{}", ids(10, 21)), Reason::BadIds),
    ] {
        assert_eq!(read("GET", &target), Err(TargetError::Malformed(why)), "{target}");
    }
}

#[test]
fn a_list_has_filters_of_one_spelling_and_sends_them_sorted() {
    for (query, sent) in [
        ("", ""),
        ("?status=WAITING", "?status=WAITING"),
        (
            "?status=SUCCEED&start_time=20260101000000&size=100&page=0&end_time=20260115083000",
            "?end_time=20260115083000&page=0&size=100&start_time=20260101000000&status=SUCCEED",
        ),
        ("?page=50000&size=1", "?page=50000&size=1"),
    ] {
        let target = read("GET", &format!("/v1/p/editing/jobs{query}")).unwrap();
        assert!(matches!(target.jobs(), Jobs::List(_)) && target.jobs().ids().is_empty());
        assert_eq!(rendered(&target), format!("/v1/p/editing/jobs{sent}"), "{query}");
    }
    let wrong = "? ?status ?status= ?status=waiting ?status=WAITING& ?&status=WAITING ?x=1 ?STATUS=INIT \
                   ?status=INIT&status=INIT ?page=-1 ?page=+1 ?page=01 ?page=50001 ?page= ?size=0 ?size=101 \
                   ?size=1%30 ?start_time=2026010100000 ?start_time=20261301000000 ?start_time=20260229000000 \
                   ?start_time=2026-01-01T00:00 ?end_time=+2026010100000 ?status=INIT&job_id=a ?job_ids=a";
    for query in wrong.split(' ') {
        let refused = read("GET", &format!("/v1/p/editing/jobs{query}"));
        assert!(matches!(refused, Err(TargetError::Malformed(_))), "{query}: {refused:?}");
    }
}

#[test]
fn a_path_names_every_method_that_it_answers_to() {
    use TargetError::{Malformed, Method, NotFound};
    let takes_none = Malformed(Reason::QueryOnCreate);
    for (method, target, expected) in [
        ("PUT", "/v1/p/editing/jobs", Method("GET, POST, DELETE")),
        ("DELETE", "/v2/p/editing/jobs", Method("GET, POST")),
        ("get", "/v2/p/editing/jobs", Method("GET, POST")),
        ("GET", "/v2/p/editing/jobs/j", Method("DELETE")),
        ("POST", "/v2/p/editing/job?job_id=j", Method("DELETE")),
        ("GET", "/v3/p/editing/jobs", NotFound),
        ("POST", "/v1/p/editing/jobs/", NotFound),
        ("POST", "/v1/p/editing/jobs?", takes_none),
    ] {
        assert_eq!(read(method, target), Err(expected), "{method} {target}");
    }
    assert_eq!(read("POST", "/v1/p/editing/jobs").unwrap().jobs(), &Jobs::ToBeMade);
}

#[test]
fn a_cancelled_job_can_be_viewed_in_either_version() {
    let cancel = read("DELETE", "/v2/p/editing/jobs/j").unwrap();
    for (version, sent) in
        [(Version::V1, "/v1/p/editing/jobs?job_id=j"), (Version::V2, "/v2/p/editing/jobs?job_id=j")]
    {
        let view = cancel.viewed_by(Operation::view(version).unwrap()).unwrap();
        assert_eq!((view.operation().method, rendered(&view).as_str()), ("GET", sent));
    }
    let create = read("POST", "/v1/p/editing/jobs").unwrap();
    assert_eq!(create.viewed_by(Operation::view(Version::V1).unwrap()), None);
    assert_eq!(cancel.viewed_by(create.operation()), None);
}

#[test]
fn what_the_sdks_ask_for_is_an_operation_and_is_sent_as_they_send_it() {
    let mut count = 0;
    for line in include_str!("../../tests/data/editing.jsonl").lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let (method, target) =
            (vector["method"].as_str().unwrap(), vector["request_target"].as_str().unwrap());
        assert_eq!(read(method, target).map(|target| rendered(&target)).as_deref(), Ok(target));
        count += 1;
    }
    assert_eq!(count, 8);
}
