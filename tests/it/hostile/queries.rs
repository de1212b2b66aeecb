//! Queries: one `job_id` with one id, if the URL has it, and nothing else.

use super::{Case, NO_METHOD, Then, Told, judge, target};
use crate::harness::PROJECT;

#[test]
fn a_query_that_is_not_one_job_id_is_refused() {
    let mut cases = Vec::new();
    for (form, path) in
        [("query form", "/v2/media-prod/editing/job"), ("v1 form", "/v1/media-prod/editing/jobs")]
    {
        for query in QUERIES {
            cases.push(Case::bad(format!("{form}: {query}"), target(&format!("{path}{query}"))));
        }
        let sent = path.replace("media-prod", PROJECT) + "?job_id=100211";
        let told = vec![Told::Cancelled(sent)];
        cases.push(Case::told(form, target(&format!("{path}?job_id=100211")), told, Then::Usable));
    }
    judge(164, cases);
}

#[test]
fn the_path_form_takes_no_query() {
    let path = "/v2/media-prod/editing/jobs/100211";
    let mut cases: Vec<Case> = QUERIES
        .iter()
        .filter(|query| query.starts_with('?'))
        .map(|query| Case::bad(*query, target(&format!("{path}{query}"))))
        .collect();
    cases.push(Case::bad("?job_id=100211", target(&format!("{path}?job_id=100211"))));
    cases.push(Case::refused(
        "a question mark in place of a slash",
        target("/v2/media-prod/editing/jobs?100211"),
        NO_METHOD,
    ));
    judge(81, cases);
}

const QUERIES: &[&str] = &[
    "",
    "?",
    "??job_id=100211",
    "?&job_id=100211",
    "?job_id=100211&",
    "?job_id=100211&&",
    "?job_id",
    "?job_id=",
    "?job_id==100211",
    "?job_id=100211=",
    "?=100211",
    "?job_id=100211&job_id=100212",
    "?job_id=100211&job_id=100211",
    "?job_id=&job_id=100211",
    "?job_id=100211&job_id=",
    "?job_id=100211&job_id",
    "?job_id=100211;job_id=100212",
    "?job_id=100211,100212",
    "?job_id=100211%2C100212",
    "?job_id=100211|100212",
    "?job_id[]=100211",
    "?job_id[0]=100211",
    "?job_id%5B%5D=100211",
    "?job_id={100211}",
    "?job_id=[100211]",
    "?job_id.x=100211",
    "?job_id:=100211",
    "?job_id=100211&x=1",
    "?x=1&job_id=100211",
    "?job_id=100211&force=true",
    "?job_id=100211&project_id=other",
    "?project_id=other&job_id=100211",
    "?job_id=100211&_method=GET",
    "?job_id=100211;x=1",
    "?x=1;job_id=100211",
    "?JOB_ID=100211",
    "?Job_Id=100211",
    "?job-id=100211",
    "?jobId=100211",
    "?jobid=100211",
    "?id=100211",
    "?job_ids=100211",
    "?xjob_id=100211",
    "?job%5Fid=100211",
    "?%6Aob_id=100211",
    "?job_id%3D100211",
    "?job_id%00=100211",
    "?job_id=%3100211",
    "?job_id=%31%30%30%32%31%31",
    "?job_id=%2531100211",
    "?job_id=100211%00",
    "?job_id=100211%0d%0aX-Evil:%201",
    "?job_id=100211%26x=1",
    "?job_id=100211%23",
    "?job_id=100211%",
    "?job_id=100211%2",
    "?job_id=100211%zz",
    "?job_id=100211+",
    "?job_id=+100211",
    "?job_id=%20100211",
    "?job_id=100211/",
    "?job_id=/100211",
    "?job_id=../100211",
    "?job_id=100211/../100212",
    "?job_id=100211\\",
    "?job_id=100211?",
    "?job_id=100211?job_id=100212",
    "?job_id=*",
    "?job_id=\"100211\"",
    "?job_id='100211'",
    "?job_id=100211'--",
    "?job_id=$(id)",
    "?job_id=`id`",
    "?job_id=<100211>",
    "?job_id=\u{ff11}00211",
    "?job_id=100211\u{e9}",
    "?job_id=100211#",
    "?job_id=100211#x",
    "#?job_id=100211",
    "?#job_id=100211",
    "?job_id=#100211",
];
