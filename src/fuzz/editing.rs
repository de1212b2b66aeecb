//! Checks that sent bodies and shown answers mean the same to another JSON parser.

use bytes::Bytes;
use serde_json::Value;

use crate::{
    editing::{Answered, Body, Problem},
    operation::{Target, Version},
};

/// Judges the body of a create for both versions, with and without a stamp.
pub fn judge_body(bytes: &[u8]) {
    for version in [Version::V1, Version::V2] {
        for stamp in [None, Some("editor-api")] {
            let body = match Body::inspect(bytes, version, stamp) {
                Ok(body) => body,
                Err(fault) => {
                    assert_ne!(fault.problem, Problem::Disagreement, "two readers");
                    assert!(fault.at <= bytes.len(), "a place in the body");
                    continue;
                }
            };
            assert!(body.bytes().is_ascii(), "whatever the encoding is taken for");
            let sent: Value = serde_json::from_slice(body.bytes()).expect("what is sent is JSON");
            let mut meant: Value = serde_json::from_slice(bytes).expect("what is accepted is JSON");
            if let Some(caller) = stamp {
                let own = meant.get("user_data").and_then(Value::as_str).unwrap_or_default();
                meant["user_data"] = format!("{caller}/{own}").into();
            }
            assert_eq!(sent, meant, "nothing is sent that did not come");
            let again = Body::inspect(body.bytes(), version, None);
            assert_eq!(again.as_ref(), Ok(&body), "what is sent is judged in the same way");
        }
    }
}

/// Judges an answer to each kind of view, and shows half of it.
pub fn judge_answer(bytes: &[u8]) {
    for target in
        ["/v1/p/editing/jobs", "/v1/p/editing/jobs?job_id=7&job_id=8", "/v2/p/editing/jobs?job_id=7"]
    {
        let view = Target::parse("GET", target).expect("a view");
        let body = Bytes::copy_from_slice(bytes);
        let Answered::Jobs(viewed) = Answered::read(&view, 200, &body) else { continue };
        let ids: Vec<&str> = viewed.jobs().iter().map(|job| job.id().as_str()).collect();
        let asked = view.jobs().ids();
        assert!(asked.is_empty() || ids.iter().all(|id| asked.iter().any(|asked| asked.as_str() == *id)));
        let permitted = |id: &str| id.len() % 2 == 1;
        let Some(meant) = read(bytes) else { continue };
        let shown = viewed.show(|job| permitted(job.id().as_str()), None);
        let shown = read(&shown).expect("what is shown is of what came");
        let list = if target.starts_with("/v1/") { "jobs" } else { "job_array" };
        let jobs = meant[list].as_array().expect("jobs");
        let expected: Vec<Value> =
            jobs.iter().filter(|job| job["job_id"].as_str().is_some_and(permitted)).cloned().collect();
        assert_eq!(shown[list], Value::from(expected), "the permitted jobs, and all of them");
        viewed.show(|_| true, Some("editor-api"));
    }
}

/// Parses with serde_json. `None` for a number that no double can hold, which does not matter here.
fn read(bytes: &[u8]) -> Option<Value> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(error.to_string().contains("number out of range"), "{error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use fastrand::Rng;

    use super::*;

    /// Introduces one or two mistakes.
    fn mutate(text: &mut Vec<u8>, rng: &mut Rng) {
        for _ in 0..rng.u32(0..4) {
            let (from, to) = (rng.usize(..text.len()), rng.usize(..text.len()));
            match rng.u32(..4) {
                0 => text[from] = ALPHABET[rng.usize(..ALPHABET.len())],
                1 => text.insert(from, ALPHABET[rng.usize(..ALPHABET.len())]),
                2 => drop(text.drain(from.min(to)..from.max(to).min(from.min(to) + 8))),
                _ => {
                    let piece = text[from.min(to)..from.max(to).min(from.min(to) + 64)].to_vec();
                    text.splice(from..from, piece);
                }
            }
            if text.is_empty() {
                return;
            }
        }
    }

    #[test]
    fn nothing_is_sent_or_shown_that_another_reader_does_not_find_in_what_came() {
        let executions = env::var("FUZZ_BODIES").map_or(20_000, |count| count.parse().unwrap());
        let mut rng = Rng::with_seed(7);
        for _ in 0..executions {
            let mut body = BODIES[rng.usize(..BODIES.len())].as_bytes().to_vec();
            mutate(&mut body, &mut rng);
            judge_body(&body);
            let mut answer = ANSWERS[rng.usize(..ANSWERS.len())].as_bytes().to_vec();
            mutate(&mut answer, &mut rng);
            judge_answer(&answer);
        }
    }

    const ALPHABET: &[u8] = b"\"\"\\{}[]:,.-+eE0123456789abfnrtuX_ /\n\x00\x7f\xc3\xa9\xed\xa0\xff";
    const BODIES: [&str; 3] = [
        r#"{"edit_type":["CLIP"],"clips":[{"input":{"bucket":"in","location":"l","object":"a/b.mp4"},"timeline_start":"1"}],
            "output_setting":{"hls":{"interval":5.50},"output":{"bucket":"out","object":"c/","file_name":"d"}},"user_data":"w"}"#,
        r#"{"inputs":[{"input":{"bucket":"in","object":"\u8bfe\ud83c\udfac"}}],"output":{"bucket":"out","object":"x"}}"#,
        r#"{"a":{"input":{"bucket":"b","output":{"bucket":"c"}}},"x":[-0,1.5,null,true,[[{}]]]}"#,
    ];
    const ANSWERS: [&str; 3] = [
        r#"{"total":2,"jobs":[{"job_id":"7","task_id":"7","status":"SUCCEED","user_data":"editor-api/w","edit_type":["CLIP"],
            "edit_task_req":{"user_data":"editor-api/w","input":{"bucket":"b","object":"o"}}},{"job_id":"8","X":1.5e3}]}"#,
        r#"{"job_array":[{"job_id":"7","status":"WAITING","user_data":"\u8bfe","progress":0}]}"#,
        r#"{"total":12,"jobs":[{"job_id":"100211"},{"job_id":"22","user_data":null}],"more":{}}"#,
    ];
}
