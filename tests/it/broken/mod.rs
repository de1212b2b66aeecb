//! A broken upstream. Whatever it does, the caller gets a correct answer in time: upstream's, or that there is none and
//! what that means. Nothing ambiguous is sent twice, and no call gets another's answer.

pub(crate) mod answers;
mod many;
pub(crate) mod ways;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use serde_json::json;

use crate::harness::{Answer, Peer, Record, Scripted, Setup, cancel, wait_for};
use answers::{Asked, Expected, Misbehaviour, all};

#[test]
fn every_answer_is_passed_on_or_refused_and_spoils_no_later_one() {
    let count = all().len();
    assert!(count >= 70, "{count}");
    for number in 0..count {
        let misbehaviour = all().remove(number);
        let (name, expected) = (misbehaviour.name, misbehaviour.expected);
        let upstream = playing(vec![misbehaviour]);
        let proxy = Setup::new().upstream(&upstream.url()).section(SHORT).start();
        let answer = proxy.send(cancel("0-broken"));
        let attempts = if name == "busy, and then not" { 2 } else { 1 };
        expected.is_told(&answer, (name, "0-broken"));
        let record = proxy.record(&answer);
        expected.is_recorded(&record, &answer);
        record.says(json!({ "upstream.attempts": attempts, "mpc.job_id": "0-broken" }));
        upstream.saw(attempts);
        // No leftover answers this one.
        let next = proxy.send(cancel("honest"));
        assert_eq!((next.status, next.header("x-request-id")), (204, "for-honest"), "{name}");
        assert_eq!(next.all("x-forged").next(), None, "{name}");
        proxy.record(&next).says(json!({ "upstream.request_id": "for-honest", "outcome": "forwarded" }));
    }
}

#[test]
fn an_answer_that_comes_while_a_connection_is_idle_is_nobodys() {
    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    let upstream = Scripted::start(move |connection, peer| {
        peer.request();
        peer.write(format!("HTTP/1.1 204 No\r\nX-Request-Id: genuine-{connection}\r\n\r\n"));
        if connection == 0 {
            peer.write("HTTP/1.1 204 No\r\nX-Request-Id: forged\r\n\r\n");
            peer.wait_until_closed();
            seen.store(true, Relaxed);
        }
    });
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let first = proxy.send(cancel("100211"));
    wait_for("end of the connection", || closed.load(Relaxed).then_some(()));
    let second = proxy.send(cancel("100212"));
    assert_eq!((first.header("x-request-id"), second.header("x-request-id")), ("genuine-0", "genuine-1"));
    proxy.record(&second).says(json!({ "upstream.attempts": 1, "upstream.request_id": "genuine-1" }));
    upstream.saw(2);
}

#[test]
fn the_deadline_of_a_request_ends_an_attempt_too() {
    let upstream = Scripted::start(|_, peer| {
        peer.request();
        peer.wait_until_closed();
    });
    let proxy = Setup::new().upstream(&upstream.url()).section("limits: { request_deadline: 300ms }").start();
    let answer = proxy.send(cancel("100211"));
    Expected::Unanswered.is_told(&answer, ("deadline", "100211"));
    Expected::Unanswered.is_recorded(&proxy.record(&answer), &answer);
    upstream.saw(1);
}

/// An upstream that shows the misbehaviour whose number starts the job id, and behaves properly otherwise.
pub(crate) fn playing(misbehaviours: Vec<Misbehaviour>) -> Scripted {
    let asked_for: Mutex<HashSet<String>> = Mutex::default();
    Scripted::start(move |_, peer| {
        while let Some(head) = peer.request() {
            let job = job_of(&head).to_owned();
            let misbehaviour =
                job.split('-').next().and_then(|number| misbehaviours.get(number.parse::<usize>().ok()?));
            let again = !asked_for.lock().unwrap().insert(job.clone());
            let asked = Asked { head, id: format!("for-{job}"), again };
            let goes_on = match misbehaviour {
                Some(misbehaviour) => misbehaviour.play(peer, &asked),
                None => honest(peer, &asked),
            };
            if !goes_on {
                return;
            }
        }
    })
}

fn honest(peer: &mut Peer, asked: &Asked) -> bool {
    peer.write(format!("HTTP/1.1 204 No Content\r\nX-Request-Id: {}\r\n\r\n", asked.id))
}

/// The job of a request.
fn job_of(head: &str) -> &str {
    let target = head.split(' ').nth(1).unwrap();
    target.rsplit('/').next().unwrap()
}

impl Expected {
    /// Asserts that the caller got this answer for its job.
    fn is_told(self, answer: &Answer, (name, job): (&str, &str)) {
        let (status, code, proxy_errors, said) = match self {
            Self::Passed(status) => {
                assert_eq!(answer.status, status, "{name}: {answer:?}");
                return assert_eq!(answer.header("x-request-id"), format!("for-{job}"), "{name}: {answer:?}");
            }
            Self::Malformed => (502, INVALID, vec!["http_protocol_error"], UNKNOWN),
            Self::Cut => (502, INVALID, vec!["http_response_incomplete"], UNKNOWN),
            Self::TooLarge => (502, INVALID, vec!["http_response_body_size"], UNKNOWN),
            Self::Nothing => (502, INVALID, vec!["connection_terminated"], UNKNOWN),
            Self::Unanswered => (504, "PROXY.UpstreamTimeout", vec!["http_response_timeout"], UNKNOWN),
            Self::Unreachable(proxy_error) => (502, UNREACHABLE, vec![proxy_error], NOT_SENT),
            Self::Slammed if answer.error_msg().ends_with(NOT_SENT) => {
                (502, UNREACHABLE, vec!["connection_terminated", "connection_refused"], NOT_SENT)
            }
            Self::Slammed => (502, INVALID, vec!["connection_terminated"], UNKNOWN),
        };
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        answer.is_refusal(status, code);
        assert!(answer.error_msg().contains(said), "{name}: {}", answer.error_msg());
        let told = answer.header("proxy-status");
        let known = |error: &&str| told.starts_with(&format!("mpc-auth-proxy; error={error}; "));
        assert!(proxy_errors.iter().any(known), "{name}: {told}");
    }

    /// Asserts that the record matches the answer.
    fn is_recorded(self, record: &Record, answer: &Answer) {
        let job = record.text("mpc.job_id");
        record.says(json!({
            "request.id": answer.header("proxy-request-id"), "http.response.status_code": answer.status,
            "policy.effect": "allow", "credential.name": "prod",
        }));
        if let Self::Passed(status) = self {
            return record.says(json!({
                "outcome": "forwarded", "error.type": null,
                "upstream.status_code": status, "upstream.request_id": format!("for-{job}"),
            }));
        }
        let error = answer.json()["error_code"].clone();
        let outcome = if error == UNREACHABLE { "failed" } else { "unknown" };
        record.says(json!({
            "outcome": outcome, "error.type": error, "upstream.status_code": null, "upstream.request_id": null,
        }));
    }
}

const INVALID: &str = "PROXY.UpstreamInvalid";
const UNREACHABLE: &str = "PROXY.UpstreamUnreachable";
const UNKNOWN: &str = "the outcome is unknown";
const NOT_SENT: &str = "nothing was sent";
const SHORT: &str = "upstream: { attempt_timeout: 300ms, connect_timeout: 200ms }";
