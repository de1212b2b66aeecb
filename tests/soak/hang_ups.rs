//! Callers that hang up before their answer: a complete request is executed once and recorded.

use std::{collections::HashSet, sync::Arc, time::Instant};

use mpc_auth_proxy::testserver::{Fault, JobState};
use serde_json::json;

use crate::{
    harness::{PROJECT, Proxy, Setup, cancel},
    load::{Farewell, Line, crowd, run},
    size, trail,
};

#[test]
fn hang_ups() {
    let calls = size("HANG_UPS", 200);
    let proxy = Arc::new(trail::start(Setup::new()));
    proxy.cloud().set_faults([Fault::LatencyMs(5).until_cleared()]);
    let started = Instant::now();
    let answered: usize =
        run(crowd(CALLERS, |caller| go_away(Arc::clone(&proxy), (caller..calls).step_by(CALLERS))))
            .into_iter()
            .sum();
    let proxy = Arc::into_inner(proxy).unwrap();
    let cloud = Arc::clone(proxy.cloud());
    let mut recorded = HashSet::new();
    let records = trail::read(proxy, calls, |record| {
        record.says(json!({
            "outcome": "forwarded", "http.response.status_code": 204, "upstream.status_code": 204,
            "upstream.attempts": 1,
        }));
        assert!(recorded.insert(record.text("mpc.job_id").to_owned()), "twice: {record:?}");
    });
    let took = started.elapsed();
    let seen: HashSet<String> = cloud.requests().into_iter().map(|seen| seen.target).collect();
    println!(
        "hang_ups: {calls} whole requests, then closed, reset or half-closed, in {took:.1?}: {} carried out, {records} \
         records, {answered} answers to those who half-closed",
        seen.len()
    );
    assert_eq!((records, cloud.requests().len(), seen.len()), (calls, calls, calls), "each of them once");
    let waiting = |job: &usize| cloud.job_state(PROJECT, &name(*job)) == Some(JobState::Waiting);
    assert_eq!((0..calls).find(waiting), None, "this job still waits");
}

/// Sends these requests, each on a new connection, and hangs up. Returns the number of answers it still got.
async fn go_away(proxy: Arc<Proxy>, jobs: impl Iterator<Item = usize>) -> usize {
    let (line, mut answered) = (Line::to(&proxy, "app"), 0);
    for job in jobs {
        proxy.queue(&name(job));
        let mut open = line.dial().await;
        open.write(cancel(&name(job))).await.unwrap();
        match job / CALLERS % 3 {
            0 => open.leave(Farewell::Close),
            1 => open.leave(Farewell::Reset),
            _ => {
                open.half_close().await.unwrap();
                assert_eq!(open.answer().await.unwrap().status, 204);
                answered += 1;
            }
        }
    }
    answered
}

fn name(job: usize) -> String {
    format!("h{job}")
}

const CALLERS: usize = 64;
