//! Fuzzed heads over the wire: heads of the grammar with errors, several at once.
//!
//! ```sh
//! WIRE_FUZZ_REQUESTS=10000000 cargo test --release --test it fuzz:: -- --nocapture
//! ```
//!
//! Each head names its own job, so that what upstream sees can be told from what it must not see: a call that
//! a simple reading of the head does not find, or finds once while upstream sees it twice.

#[path = "../../src/fuzz/mutate.rs"]
mod mutate;
#[path = "../../src/fuzz/oracle.rs"]
mod oracle;

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, PipeReader, Read, Write, pipe},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use mutate::Heads;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use oracle::Gate;

use crate::harness::{BOUND, PROJECT, Setup, free_address, mib, peak, wait_for};

#[test]
fn upstream_sees_every_call_once_and_nothing_else() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let requests = number("WIRE_FUZZ_REQUESTS").unwrap_or(20_000);
    let seed = number("WIRE_FUZZ_SEED").unwrap_or_else(|| fastrand::usize(..)) as u64;
    println!("WIRE_FUZZ_SEED={seed} WIRE_FUZZ_REQUESTS={requests}");
    let (upstream, started) = (Upstream::start(), Instant::now());
    let mut proxy = Proxy::start(&upstream);
    let tally = thread::scope(|scope| {
        let one = |caller: u64| {
            let mut caller = Caller::new(seed.wrapping_add(caller), proxy.address, &upstream);
            while caller.tally.requests < requests / CALLERS {
                caller.connect();
            }
            caller.tally
        };
        let callers: Vec<_> = (0..CALLERS as u64).map(|n| scope.spawn(move || one(n))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).fold(Tally::default(), Tally::and)
    });
    let records = proxy.stop();
    let seen = upstream.total();
    println!(
        "{} requests, {} answers, {seen} of them upstream's, {:.0} a second",
        tally.requests,
        tally.answers,
        tally.requests as f64 / started.elapsed().as_secs_f64()
    );
    assert_eq!(
        (tally.done, records.forwarded),
        (seen, seen),
        "every call upstream was answered and recorded"
    );
    assert_eq!(records.all, tally.answers, "one record a request");
    for (job, count) in upstream.left() {
        let asked = tally.ambiguous.get(&job).copied().unwrap_or_default();
        assert!(count <= asked, "{count} calls for {job}, which {asked} heads asked for");
    }
    assert!(seen * 50 > requests, "only {seen} of {requests} were sent");
}

/// What a caller sent, and the result.
#[derive(Debug, Default)]
struct Tally {
    requests: usize,
    answers: usize,
    /// Answers by upstream.
    done: usize,
    /// The number of calls for jobs whose shortened names may occur elsewhere too.
    ambiguous: HashMap<String, usize>,
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.answers += other.answers;
        self.done += other.done;
        for (job, count) in other.ambiguous {
            *self.ambiguous.entry(job).or_default() += count;
        }
        self
    }
}

struct Caller<'u> {
    heads: Heads,
    rng: fastrand::Rng,
    address: SocketAddr,
    upstream: &'u Upstream,
    tally: Tally,
}

impl<'u> Caller<'u> {
    fn new(seed: u64, address: SocketAddr, upstream: &'u Upstream) -> Self {
        let (heads, rng) = (Heads::new(seed, Vec::new()), fastrand::Rng::with_seed(seed));
        Self { heads, rng, address, upstream, tally: Tally::default() }
    }

    /// Sends some heads in one piece, reads to the end, and compares.
    fn connect(&mut self) {
        let mut bytes = Vec::new();
        for _ in 0..self.rng.usize(1..=4) {
            let job: String = std::iter::repeat_with(|| self.rng.alphanumeric()).take(JOB).collect();
            bytes.extend_from_slice(self.heads.next(&job));
            self.tally.requests += 1;
        }
        let answers = answers(&exchange(self.address, &bytes));
        let done = answers.iter().filter(|status| **status == 204).count();
        self.tally.answers += answers.len();
        self.tally.done += done;
        let mut seen = 0;
        let asked = asked(&bytes);
        let clear = asked.keys().all(|job| job.len() >= JOB / 2);
        for (job, Asked { may, must }) in asked {
            if job.len() < JOB / 2 {
                *self.tally.ambiguous.entry(job).or_default() += may;
                continue;
            }
            let count = self.upstream.take(&job);
            seen += count;
            let right = (must..=may).contains(&count);
            assert!(right, "{count} calls for {job}, not {must} to {may}: b\"{}\"", bytes.escape_ascii());
        }
        assert!(!clear || seen == done, "{done} answers to {seen} calls: b\"{}\"", bytes.escape_ascii());
    }
}

/// The number of calls for each job.
#[derive(Default)]
struct Asked {
    may: usize,
    /// By heads before the first refused one.
    must: usize,
}

fn asked(bytes: &[u8]) -> HashMap<String, Asked> {
    let mut asked: HashMap<String, Asked> = HashMap::new();
    let (mut rest, mut clean) = (bytes, true);
    while let Some(end) = oracle::end(rest) {
        let (head, behind) = rest.split_at(end);
        let is_cancel = |call: &oracle::Call<'_>| oracle::FORMS.contains(&call.form);
        let is_ours = |call: &oracle::Call<'_>| ["media-prod", PROJECT].contains(&call.project);
        let call = oracle::read(head, &GATE);
        // A create is followed by its body; whether the next head is read depends on whether the body was.
        let behind = behind.get(call.map_or(0, |call| call.body)..).unwrap_or_default();
        let call = call.filter(|call| is_cancel(call) && is_ours(call));
        clean &= call.is_some() && !is_last(head);
        if let Some(call) = call {
            let job = asked.entry(call.job.to_owned()).or_default();
            job.may += 1;
            job.must += usize::from(clean);
        }
        rest = behind;
    }
    asked
}

/// Whether nothing after this head is read because it is HTTP/1.0.
fn is_last(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| line.ends_with(b" HTTP/1.0\r"))
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    // It may have hung up at the first of them.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap_or_else(|error| panic!("{error}: b\"{}\"", bytes.escape_ascii()));
    answers
}

/// The statuses of answers, all of which must be complete.
fn answers(mut bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&bytes[..end]).unwrap().to_ascii_lowercase();
        let status = head.get(9..12).unwrap().parse().unwrap();
        assert!(STATUSES.contains(&status), "{head}");
        let length = head
            .split_once("\r\ncontent-length: ")
            .map_or(0, |(_, rest)| rest.split_once('\r').unwrap().0.parse().unwrap());
        // An answer to HEAD has none.
        let body = bytes[end..].get(..length).filter(|body| !body.starts_with(b"HTTP/1."));
        bytes = &bytes[end + body.map_or(0, <[u8]>::len)..];
        statuses.push(status);
    }
    statuses
}

/// Looks at every request, counts it, and answers it.
struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    jobs: HashMap<String, usize>,
    total: usize,
}

impl Upstream {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let (address, seen) = (upstream.address, Arc::clone(&upstream.seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream.unwrap(), address, &seen));
            }
        });
        upstream
    }

    /// The number of times a job was seen since the last call.
    fn take(&self, job: &str) -> usize {
        self.seen.lock().unwrap().jobs.remove(job).unwrap_or_default()
    }

    fn left(&self) -> HashMap<String, usize> {
        std::mem::take(&mut self.seen.lock().unwrap().jobs)
    }

    fn total(&self) -> usize {
        self.seen.lock().unwrap().total
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr, seen: &Mutex<Seen>) {
    stream.set_nodelay(true).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while lines.read_line(&mut head).is_ok_and(|length| length > 0) {
        if !head.ends_with("\r\n\r\n") {
            continue;
        }
        let job = job(&head, address).unwrap_or_else(|| {
            eprintln!("upstream was sent {head:?}");
            // A call nobody made fails the test.
            head.clone()
        });
        {
            let mut seen = seen.lock().unwrap();
            *seen.jobs.entry(job).or_default() += 1;
            seen.total += 1;
        }
        head.clear();
        if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
            return;
        }
    }
}

/// The job of a correct request.
fn job(head: &str, address: SocketAddr) -> Option<String> {
    let mut lines = head.strip_suffix("\r\n\r\n")?.split("\r\n");
    let target = lines.next()?.strip_suffix(" HTTP/1.1")?;
    let job = oracle::FORMS.into_iter().find_map(|form| {
        let (before, rest) = form.split_once('P')?;
        let (between, _) = rest.split_once('J')?;
        target.strip_prefix(before)?.strip_prefix(PROJECT)?.strip_prefix(between)
    });
    let job = job.filter(|job| oracle::is_segment(job))?;
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ")).collect::<Option<_>>()?;
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    names.retain(|name| !["traceparent", "tracestate"].contains(name));
    let host = headers.iter().find(|(name, _)| *name == "host")?.1;
    (names == NAMES && host == address.to_string()).then(|| job.to_owned())
}

struct Proxy {
    child: Child,
    address: SocketAddr,
    records: Option<thread::JoinHandle<Records>>,
    _setup: Setup,
}

#[derive(Debug, Default)]
struct Records {
    all: usize,
    forwarded: usize,
}

impl Proxy {
    fn start(upstream: &Upstream) -> Self {
        let address = free_address();
        let listener = format!("{{ name: app, bind: '{address}' }}");
        // Only cancels are counted, as they are executed once.
        let policy = "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules:
  - { id: a, effect: allow, callers: ['*'], actions: ['mpc:editingTask:delete'], projects: ['*'], jobs: ['*'] }
";
        let setup = Setup::new()
            .policy(policy)
            .listeners(&[&listener])
            .upstream(&format!("http://{}", upstream.address));
        let (reader, writer) = pipe().unwrap();
        let child = setup.command("run").stdout(writer).stderr(Stdio::null()).spawn().unwrap();
        let records = Some(thread::spawn(move || Records::of(reader)));
        drop(wait_for("its listener", || TcpStream::connect(address).ok()));
        Self { child, address, records, _setup: setup }
    }

    /// Stops it and counts its records.
    fn stop(&mut self) -> Records {
        eprintln!("memory: {} at most", mib(peak(self.child.id()).unwrap()));
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(wait_for("its end", || self.child.try_wait().unwrap()).code(), Some(0));
        self.records.take().unwrap().join().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Records {
    fn of(reader: PipeReader) -> Self {
        let mut records = Self::default();
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap();
            assert!(line.starts_with("{\"event\":\"request\",") && line.ends_with('}'), "{line}");
            records.all += 1;
            records.forwarded += usize::from(line.contains("\"outcome\":\"forwarded\""));
        }
        records
    }
}

const CALLERS: usize = 4;
/// Long enough to be unique.
const JOB: usize = 24;
const GATE: Gate =
    Gate { hosts: &["localhost", "127.0.0.1", "[::1]"], caller: Some("editor-api"), tokens: &[] };
const STATUSES: [u16; 14] = [204, 400, 401, 403, 404, 405, 408, 411, 413, 414, 415, 421, 431, 503];
const NAMES: [&str; 7] =
    ["host", "user-agent", "accept", "x-project-id", "x-project_id", "x-sdk-date", "authorization"];
