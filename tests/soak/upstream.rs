//! A failing or overloaded upstream: it gets few more requests than there are calls; the excess is
//! refused at once, and the rest proceeds.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mpc_auth_proxy::testserver::Fault;
use tokio::time::sleep;

use crate::{
    harness::{Answer, Proxy, Scripted, Setup, cancel, wait_for},
    load::{Line, Took, crowd, run},
    process::raise_descriptors,
    size, trail,
};

#[test]
fn all_503() {
    // With a circuit breaker that opens, and one that hardly does, so that only the budget limits retries.
    asked_little("all_503, circuit as by default", "failures: 5");
    asked_little("all_503, circuit kept closed", "failures: 1000000");
}

/// Calls an upstream that refuses everything and permits an immediate retry.
fn asked_little(name: &str, breaker: &str) {
    let works = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&works);
    let upstream = Scripted::start(move |_, peer| {
        while peer.request().is_some() && peer.write(if told.load(Relaxed) { DONE } else { UNAVAILABLE }) {}
    });
    let setup = Setup::new().upstream(&upstream.url());
    let proxy = Arc::new(trail::start(setup.section(&format!("upstream: {{ breaker: {{ {breaker} }} }}"))));
    let (calls, started) = (size("UNAVAILABLE", 300), Instant::now());
    let answers = run(crowd(CALLERS, |caller| refused(Arc::clone(&proxy), (caller..calls).step_by(CALLERS))));
    let took = started.elapsed();
    let attempts = upstream.heads().len();
    works.store(true, Relaxed);
    let mut tries = 0;
    let recovering = Instant::now();
    wait_for("call that succeeds", || {
        tries += 1;
        (proxy.send(cancel("100211")).status == 204).then_some(())
    });
    let recovered = recovering.elapsed();
    let mut recorded = 0;
    let records = trail::read(Arc::into_inner(proxy).unwrap(), calls + tries, |record| {
        recorded += record["upstream.attempts"].as_u64().unwrap();
    });
    let mut by_code: BTreeMap<String, usize> = BTreeMap::new();
    answers.into_iter().flatten().for_each(|code| *by_code.entry(code).or_default() += 1);
    println!(
        "{name}: {calls} calls in {took:.1?}, {attempts} attempts: {:.3} a call; {recovered:.1?} from recovery to the \
         first success; answers {by_code:?}",
        attempts as f64 / calls as f64
    );
    assert!(10 * attempts <= 12 * calls + 10 * FEW, "{attempts} attempts for {calls} calls");
    assert_eq!(
        (records, recorded),
        (calls + tries, upstream.heads().len() as u64),
        "all of them are recorded"
    );
}

/// Makes this many calls. Returns the codes of their answers, all of which are 503.
async fn refused(proxy: Arc<Proxy>, calls: impl Iterator<Item = usize>) -> Vec<String> {
    let (mut line, mut codes) = (Line::to(&proxy, "app"), Vec::new());
    for _ in calls {
        let answer = line.ask(cancel("100211")).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        codes.push(if answer.body.is_empty() { "of upstream's".into() } else { code(&answer) });
    }
    codes
}

#[test]
fn over_capacity() {
    raise_descriptors();
    let capacity = size("CAPACITY", 16);
    // Room for as many answers as there are calls at once.
    let (connections, room) = (4 * capacity, (capacity + 16) * 64);
    let limits =
        format!("limits: {{ in_flight: {capacity}, connections: {connections}, buffer_bytes: {room}KiB }}");
    let proxy = Arc::new(trail::start(Setup::new().section(&limits)));
    // At most a thousand calls a second, so that the speed of the machine does not matter.
    let latency = Duration::from_millis(50.max(capacity as u64));
    proxy.cloud().set_faults([Fault::LatencyMs(latency.as_millis() as u64).until_cleared()]);
    let crowd_of = |callers| run(crowd(callers, |caller| insist(Arc::clone(&proxy), caller, latency)));
    // Confirms the key first: an unconfirmed one allows three calls at once.
    crowd_of(1);
    proxy.cloud().clear_requests();
    let (alone, refused_alone) = Insistent::together(crowd_of(capacity.div_ceil(2)));
    let started = Instant::now();
    let (passed, refused) = Insistent::together(crowd_of(3 * capacity));
    let rounds = started.elapsed().div_duration_f64(latency) as usize + 1;
    let seen = proxy.cloud().requests().len();
    let requests = CALLS + alone.len() + passed.len() + refused.len();
    let records = trail::read(Arc::into_inner(proxy).unwrap(), requests, |_| {});
    println!(
        "over_capacity: at most {capacity} in flight, upstream takes {latency:?}. Half of that: {} passed {alone}. Three \
         times that: {} passed {passed}, p99 {:.1} times; {} refused {refused}",
        alone.len(),
        passed.len(),
        passed.times(&alone),
        refused.len()
    );
    assert_eq!(refused_alone.len(), 0, "what is not too much is not refused");
    assert!(passed.len() > 0 && refused.len() > 0, "{} passed, {} refused", passed.len(), refused.len());
    assert!(
        passed.len() <= rounds * capacity,
        "more were under way than may be: {} in {rounds} rounds",
        passed.len()
    );
    assert_eq!((records, seen), (requests, alone.len() + passed.len()), "what is refused is not sent");
}

/// The response times of a persistent caller.
#[derive(Default)]
struct Insistent {
    passed: Took,
    refused: Took,
}

impl Insistent {
    fn together(all: Vec<Self>) -> (Took, Took) {
        let (passed, refused): (Vec<_>, Vec<_>) =
            all.into_iter().map(|one| (one.passed, one.refused)).unzip();
        (Took::of_all(passed), Took::of_all(refused))
    }
}

async fn insist(proxy: Arc<Proxy>, caller: usize, patience: Duration) -> Insistent {
    let (mut line, mut took, job) = (Line::to(&proxy, "app"), Insistent::default(), format!("o{caller}"));
    // Out of step: a steady load without bursts.
    sleep(patience.mul_f64(fastrand::f64())).await;
    for _ in 0..CALLS {
        proxy.queue(&job);
        let start = Instant::now();
        let answer = line.ask(cancel(&job)).await;
        if answer.status == 204 {
            took.passed.since(start);
            // Upstream takes as long for all: without this, what began together would come back together for ever.
            sleep(patience.mul_f64(0.5 * fastrand::f64())).await;
            continue;
        }
        took.refused.since(start);
        let expected = if answer.status == 429 { "PROXY.RateLimited" } else { "PROXY.Overloaded" };
        answer.is_refusal(if answer.status == 429 { 429 } else { 503 }, expected);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0, "{answer:?}");
        // Less patient than `Retry-After`, but without spinning.
        sleep(patience.mul_f64(0.5 + fastrand::f64())).await;
    }
    took
}

fn code(answer: &Answer) -> String {
    answer.json()["error_code"].as_str().unwrap().into()
}

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
const CALLERS: usize = 16;
/// Retries allowed whatever their share.
const FEW: usize = 3;
/// Calls per caller.
const CALLS: usize = 20;
