//! Everything at once: good, bad and lost calls, an upstream that fails in every way, policies half of which are
//! broken, replaced keys. Every request is answered, recorded once, and leaves nothing in memory.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::RangeBounds,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use mpc_auth_proxy::testserver::{Fault, Planned};
use nix::sys::signal::Signal;
use uuid::Uuid;

use crate::{
    credentials::{rotate, with_first_key},
    harness::{Answer, PROJECT, Proxy, Record, Setup, TOKEN, cancel, mib, request, wait_for},
    load::{Farewell, Line, Over, Took, crowd, run},
    process::{descriptors, resident},
    size, trail,
};

#[test]
fn mixed() {
    let world = Arc::new(World::new(size("SOAK_CALLS", 3_000)));
    let (open, memory) = (descriptors(&world.proxy), resident(&world.proxy));
    let started = Instant::now();
    let (told, weather) = thread::scope(|scope| {
        let weather = scope.spawn(|| weather(&world));
        let over = Over(&world.over);
        let told = run(crowd(CALLERS, |_| caller(Arc::clone(&world))));
        drop(over);
        (told, weather.join().unwrap())
    });
    let took = started.elapsed();
    let World { proxy, calls, .. } = Arc::into_inner(world).unwrap();
    let still_open = wait_for("end of the callers' connections", || {
        Some(descriptors(&proxy)).filter(|now| *now <= open + POOL)
    });
    let memory = [memory, weather.peak(..calls / 2), weather.peak(calls / 2..), resident(&proxy)];
    let (mut ledger, latency) = Ledger::of(told);
    let (requests, lost) = (ledger.answered.len() + ledger.hung_up.len(), ledger.hung_up.len());
    let records = trail::read(proxy, requests, |record| ledger.settle(record));
    let [start, first, second, end] = memory.map(mib);
    println!(
        "mixed: {calls} calls of {CALLERS} callers in {took:.1?}: {requests} requests, {lost} of them hung up, {records} \
         records; {} rotations and reloads; {latency}
mixed: RSS at the start {start}, peak {first}, of the second half {second}, at the end {end}; descriptors {open}, \
         at the end {still_open}
mixed: {:?}",
        weather.rounds, ledger.answers
    );
    assert_eq!(records, requests);
    assert_eq!((ledger.answered.len(), ledger.hung_up.len()), (0, 0), "these were not recorded");
    assert!(memory[2] <= memory[1] + GROWTH, "memory grows: {:?}", weather.memory);
}

/// State shared by all callers.
struct World {
    proxy: Proxy,
    calls: usize,
    next: AtomicUsize,
    over: AtomicBool,
}

/// The answers to one caller.
#[derive(Default)]
struct Told {
    /// The id of each answer, and its status.
    answered: Vec<(Uuid, u16)>,
    /// The jobs of requests without waiting for the answer.
    hung_up: Vec<String>,
    took: Took,
}

/// Events meanwhile.
struct Weather {
    rounds: usize,
    /// Numbers of calls, with the memory at that time in KiB.
    memory: Vec<(usize, usize)>,
}

/// Entries still to be found in the records.
struct Ledger {
    answered: HashMap<Uuid, u16>,
    hung_up: HashSet<String>,
    /// The one of the two policies with this hash.
    policies: HashMap<String, String>,
    /// By status and code.
    answers: BTreeMap<String, usize>,
}

impl World {
    fn new(calls: usize) -> Self {
        let setup = Setup::new().with_team().policy(&policy("first"));
        let proxy = trail::start(with_first_key(setup));
        Self { proxy, calls, next: AtomicUsize::new(0), over: AtomicBool::new(false) }
    }
}

/// Makes calls of all kinds in turn until all are made.
async fn caller(world: Arc<World>) -> Told {
    let mut told = Told::default();
    let (mut app, mut team) = (Line::to(&world.proxy, "app"), Line::to(&world.proxy, "team"));
    loop {
        let number = world.next.fetch_add(1, Relaxed);
        if number >= world.calls {
            return told;
        }
        let (job, denied) = (format!("m{number}"), format!("denied-{number}"));
        world.proxy.queue(&job);
        match number % 16 {
            kind @ 0..6 => {
                let token = format!("Authorization: Bearer {TOKEN}");
                let (line, credentials): (_, &[&str]) =
                    if kind < 4 { (&mut app, &[]) } else { (&mut team, &[&token]) };
                was_passed_on(&told.ask(line, in_a_form(number, &job, credentials)).await);
            }
            6 => {
                let answer = told.ask(&mut app, cancel("gone")).await;
                assert!(is(&answer, 403, "MPC.10211") || has_failed(&answer), "{answer:?}");
            }
            7 => told.is_refused(&mut app, cancel(&denied), (403, "PROXY.Forbidden")).await,
            8 => told.is_refused(&mut team, cancel(&job), (401, "PROXY.Unauthenticated")).await,
            9 | 10 => {
                let (bytes, status, code) = MALFORMED[number / 16 % MALFORMED.len()];
                told.is_refused(&mut app, bytes, (status, code)).await;
            }
            11 => {
                let both = app.ask_all(&[cancel(&job), cancel(&denied)]).await;
                both.iter().for_each(|answer| told.note(answer));
                was_passed_on(&both[0]);
                both[1].is_refusal(403, "PROXY.Forbidden");
            }
            12 => {
                let mut open = app.dial().await;
                open.write(cancel(&job)).await.unwrap();
                open.half_close().await.unwrap();
                let answer = open.answer().await.unwrap();
                told.note(&answer);
                was_passed_on(&answer);
            }
            kind => {
                let mut open = app.dial().await;
                open.write(cancel(&job)).await.unwrap();
                open.leave(if kind == 13 { Farewell::Reset } else { Farewell::Close });
                told.hung_up.push(job);
            }
        }
    }
}

impl Told {
    async fn ask(&mut self, line: &mut Line, request: impl AsRef<[u8]>) -> Answer {
        let start = Instant::now();
        let answer = line.ask(request).await;
        self.took.since(start);
        self.note(&answer);
        answer
    }

    async fn is_refused(&mut self, line: &mut Line, request: impl AsRef<[u8]>, (status, code): (u16, &str)) {
        self.ask(line, request).await.is_refusal(status, code);
    }

    fn note(&mut self, answer: &Answer) {
        let id = answer.header("proxy-request-id");
        self.answered.push((Uuid::parse_str(&id[..36]).unwrap(), answer.status));
    }
}

/// Changes the environment until the calls are over.
fn weather(world: &World) -> Weather {
    let proxy = &world.proxy;
    let mut weather = Weather { rounds: 0, memory: Vec::new() };
    while !world.over.load(Relaxed) {
        weather.rounds += 1;
        proxy.cloud().set_faults(faults());
        let text = match weather.rounds % 4 {
            0 => policy("first"),
            2 => policy("second"),
            broken => policy("broken")[..40 * broken].to_owned(),
        };
        proxy.write("policy.yaml", &text);
        proxy.signal(Signal::SIGHUP);
        rotate(proxy, weather.rounds);
        weather.memory.push((world.next.load(Relaxed), resident(proxy)));
    }
    weather
}

impl Weather {
    /// The peak memory between these numbers of calls, in KiB.
    fn peak(&self, calls: impl RangeBounds<usize>) -> usize {
        let part = self.memory.iter().filter(|(at, _)| calls.contains(at));
        part.map(|(_, kib)| *kib).max().unwrap_or_default()
    }
}

impl Ledger {
    fn of(told: Vec<Told>) -> (Self, Took) {
        let mut ledger = Self {
            answered: HashMap::new(),
            hung_up: HashSet::new(),
            policies: HashMap::new(),
            answers: BTreeMap::new(),
        };
        let mut took = Vec::new();
        for one in told {
            for (id, status) in one.answered {
                assert_eq!(ledger.answered.insert(id, status), None, "two answers have the id {id}");
            }
            ledger.hung_up.extend(one.hung_up);
            took.push(one.took);
        }
        (ledger, Took::of_all(took))
    }

    /// Finds the request of a record.
    fn settle(&mut self, record: &Record) {
        let id = Uuid::parse_str(&record.text("request.id")[..36]).unwrap();
        let status = &record["http.response.status_code"];
        match self.answered.remove(&id) {
            Some(told) => assert_eq!(*status, told, "{record:?}"),
            // Only the proxy knows of it; once per job.
            None => assert!(self.hung_up.remove(record.text("mpc.job_id")), "{record:?}"),
        }
        if let Some(rule) = record["policy.rule"].as_str() {
            let policy = rule.split('-').next().unwrap().to_owned();
            let hash = record.text("policy.hash").to_owned();
            let of_hash = self.policies.entry(hash).or_insert_with(|| policy.clone());
            assert_eq!(*of_hash, policy, "each decision is of one whole policy: {record:?}");
        }
        let code = record["error.type"].as_str().or(record["upstream.error_code"].as_str());
        *self.answers.entry(format!("{status} {}", code.unwrap_or("done"))).or_default() += 1;
    }
}

/// Asserts that upstream succeeded, or failed in a known way.
fn was_passed_on(answer: &Answer) {
    // An attempt before this one lost its answer.
    let done_before =
        || is(answer, 403, "MPC.10211") && answer.header("proxy-status").contains("may have cancelled");
    assert!(answer.status == 204 || has_failed(answer) || done_before(), "{answer:?}");
}

fn has_failed(answer: &Answer) -> bool {
    FAILURES.iter().any(|(status, code)| is(answer, *status, code))
}

fn is(answer: &Answer, status: u16, code: &str) -> bool {
    answer.status == status && !answer.body.is_empty() && answer.json()["error_code"] == code
}

/// The three forms of the URL, by the project's name and its id.
fn in_a_form(number: usize, job: &str, credentials: &[&str]) -> String {
    let project = if number.is_multiple_of(2) { PROJECT } else { "media-prod" };
    let target = match number % 3 {
        0 => format!("/v2/{project}/editing/jobs/{job}"),
        1 => format!("/v2/{project}/editing/job?job_id={job}"),
        _ => format!("/v1/{project}/editing/jobs?job_id={job}"),
    };
    request("DELETE", &target, credentials)
}

/// Every kind of failure, and answers between them: five failures in a row would open the circuit.
fn faults() -> Vec<Planned> {
    let kinds = [
        Fault::Reset,
        Fault::LoseAnswer,
        Fault::InternalError,
        Fault::Unavailable,
        Fault::Throttled { retry_after_s: 1 },
    ];
    kinds.into_iter().flat_map(|fault| [fault.once(), Fault::LatencyMs(2).times(6)]).collect()
}

fn policy(name: &str) -> String {
    format!(
        "version: 1
callers:
  editor-api: {{ identify: [ {{ listener: app }} ] }}
  oncall: {{ identify: [ {{ bearer: {{ sha256_file: oncall.sha256 }} }} ] }}
rules:
  - {{ id: {name}-allows, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
  - {{ id: {name}-denies, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['denied-*'] }}
"
    )
}

/// Failing upstream answers, with the proxy's answer to each.
const FAILURES: [(u16, &str); 6] = [
    (429, "APIGW.0308"),
    (500, "MPC.10201"),
    (502, "PROXY.UpstreamInvalid"),
    (502, "PROXY.UpstreamUnreachable"),
    (503, "APIGW.0613"),
    (503, "PROXY.CircuitOpen"),
];

/// tests/it/refuse.rs has many more.
const MALFORMED: [(&str, u16, &str); 10] = [
    ("DELETE /v2/media-prod/editing/jobs/1 HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "PROXY.WrongHost"),
    ("DELETE /v2/media-prod/editing/jobs/%31 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, BAD),
    ("DELETE /v2/media-prod/editing/jobs/1 HTTP/1.1\nHost: localhost\r\n\r\n", 400, BAD),
    ("DELETE /v2/media-prod/editing/jobs/1 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400, BAD),
    ("DELETE /v2/media-prod/editing/jobs/1 HTTP/1.1\r\nHost: localhost\r\nTrailer: X-A\r\n\r\n", 400, BAD),
    ("DELETE /v2/media-prod/editing/jobs/1 HTTP/1.2\r\nHost: localhost\r\n\r\n", 400, BAD),
    (
        "DELETE /v2/media-prod/editing/jobs/1 HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n",
        403,
        "PROXY.Forbidden",
    ),
    ("DELETE /v2/media-prod/editing/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "PROXY.MethodNotAllowed"),
    ("GET /v2/media-prod/editing/jobs/1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "PROXY.MethodNotAllowed"),
    ("nonsense\r\n\r\n", 400, BAD),
];
const BAD: &str = "PROXY.BadRequest";

/// The number of concurrent calls.
const CALLERS: usize = 64;
/// The number of idle upstream connections, and a few that are still being closed.
const POOL: usize = 128;
/// The additional memory allowed for the second half of the calls, in KiB. A leak of ten bytes per call would
/// show in a million of them.
const GROWTH: usize = 4096;
