//! A running proxy: the real binary, its output read continuously.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    ops::Index,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle, panicking},
};

use mpc_auth_proxy::testserver::{Cloud, JobState, Seen};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Map, Value};

use super::{Answer, PROJECT, Setup, Wire, peak, request, setup::write_private, wait_for};

/// Stopped when dropped; by then it must have written one record per request, and no other.
pub(crate) struct Proxy {
    child: Child,
    setup: Setup,
    stdout: Lines,
    stderr: Lines,
    addresses: BTreeMap<String, String>,
    sent: AtomicUsize,
    records_elsewhere: bool,
}

/// An audit record.
#[derive(Debug)]
pub(crate) struct Record(Map<String, Value>);

/// The lines of a stream so far.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(super) fn new(mut child: Child, setup: Setup) -> Self {
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        let mut proxy = Self {
            child,
            setup,
            stdout,
            stderr,
            addresses: BTreeMap::new(),
            sent: AtomicUsize::new(0),
            records_elsewhere: false,
        };
        proxy.addresses = proxy.wait_until_it_serves();
        proxy
    }

    fn wait_until_it_serves(&mut self) -> BTreeMap<String, String> {
        wait_for("line that says `serving`", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?}: {:#?}", self.stderr.all());
            let log: Vec<Value> = self.stderr.json();
            // No configuration may prevent the sandbox.
            for state in log.iter().filter_map(|line| line["state"].as_str()) {
                let known = ["off: not available here", "off: --no-sandbox"];
                assert!(state.starts_with("on") || known.contains(&state), "the sandbox is {state}");
            }
            log.iter().any(|line| line["message"] == "serving").then(|| listening(&log))
        })
    }

    /// Records do not go to standard output: the test looks for them itself.
    pub(crate) fn records_elsewhere(mut self) -> Self {
        self.records_elsewhere = true;
        self
    }

    /// Sends a request on a new connection and reads the answer.
    pub(crate) fn send(&self, request: impl AsRef<[u8]>) -> Answer {
        self.send_to("app", request)
    }

    pub(crate) fn send_to(&self, listener: &str, request: impl AsRef<[u8]>) -> Answer {
        self.connect_to(listener).ask(request)
    }

    /// A connection that brought this request, or a part of one.
    pub(crate) fn sending(&self, request: impl AsRef<[u8]>) -> Wire {
        let mut wire = self.connect();
        wire.write(request);
        wire
    }

    /// A connection for one request.
    pub(crate) fn connect(&self) -> Wire {
        self.connect_to("app")
    }

    pub(crate) fn connect_to(&self, listener: &str) -> Wire {
        self.expect_records(1);
        self.dial(listener)
    }

    /// A connection for as many requests as are announced with [`Self::expect_records`].
    pub(crate) fn dial(&self, listener: &str) -> Wire {
        let address = self.address(listener);
        match address.strip_prefix("unix:") {
            Some(path) => Wire::new(UnixStream::connect(path).unwrap()),
            None => Wire::new(TcpStream::connect(address).unwrap()),
        }
    }

    /// Announces this many more records.
    pub(crate) fn expect_records(&self, more: usize) {
        self.sent.fetch_add(more, Relaxed);
    }

    /// Sends a request to the probes' listener.
    pub(crate) fn probe(&self, target: &str) -> Answer {
        let mut wire = Wire::new(TcpStream::connect(self.address("ops")).unwrap());
        wire.write(request("GET", target, &[]));
        wire.answer()
    }

    /// Sends a request to the admin socket beside `proxy.yaml`.
    pub(crate) fn ask_unix(&self, name: &str, request: &str) -> Answer {
        let mut wire = Wire::new(UnixStream::connect(self.path(name)).unwrap());
        wire.write(request);
        wire.answer()
    }

    /// The address of a listener; `ops` is the probes'.
    pub(crate) fn address(&self, listener: &str) -> &str {
        &self.addresses[listener]
    }

    pub(crate) fn cloud(&self) -> &Arc<Cloud> {
        self.setup.cloud.cloud()
    }

    /// The stand-in cloud's URL.
    pub(crate) fn endpoint(&self) -> String {
        self.setup.cloud.url()
    }

    /// Puts a job into the cloud's queue.
    pub(crate) fn queue(&self, job: &str) {
        self.cloud().put_job(PROJECT, job, JobState::Waiting);
    }

    /// What upstream saw, asserted to be this many requests.
    pub(crate) fn upstream_saw(&self, count: usize) -> Vec<Seen> {
        let seen = self.cloud().requests();
        assert_eq!(seen.len(), count, "{seen:#?}");
        seen
    }

    /// The only request that upstream saw.
    pub(crate) fn upstream_saw_one(&self) -> Seen {
        self.upstream_saw(1).remove(0)
    }

    /// The only record of an answered request.
    pub(crate) fn record(&self, answer: &Answer) -> Record {
        let id = answer.header("proxy-request-id");
        let mut found = wait_for("record of the request", || {
            let mut records = self.records();
            records.retain(|record| record["request.id"] == id);
            (!records.is_empty()).then_some(records)
        });
        assert_eq!(found.len(), 1, "{found:#?}");
        let record = found.remove(0);
        // A request not answered by upstream has its cause in the record, with the code of the answer.
        if record["outcome"] != "forwarded" {
            assert!(record["error.reason"].is_string(), "{record:#?}");
            // An answer to HEAD has no body.
            assert!(
                answer.body.is_empty() || record.text("error.message") == answer.error_msg(),
                "{record:#?}"
            );
        }
        record
    }

    /// All records, asserted to be this many.
    pub(crate) fn audit(&self, count: usize) -> Vec<Record> {
        wait_for("records", || Some(self.records()).filter(|records| records.len() >= count))
    }

    /// The records of requests so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        let (records, _) = self.lines();
        records
    }

    /// The records of operator actions, asserted to be this many.
    pub(crate) fn interventions(&self, count: usize) -> Vec<Record> {
        wait_for("records of operators", || {
            let (_, interventions) = self.lines();
            Some(interventions).filter(|records| records.len() >= count)
        })
    }

    fn lines(&self) -> (Vec<Record>, Vec<Record>) {
        let records = self.stdout.all();
        records.iter().map(|line| Record::parse(line)).partition(|record| record["event"] != "operator")
    }

    /// Runs a command on the configuration it was started with.
    pub(crate) fn run(&self, command: &str) -> Output {
        self.setup.run(command)
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.all().join("\n")
    }

    /// The standard output so far.
    pub(crate) fn printed(&self) -> String {
        self.stdout.all().join("\n")
    }

    /// Waits for a log line with this message.
    pub(crate) fn logged(&self, message: &str) -> Value {
        wait_for(&format!("line `{message}` in the log"), || {
            self.stderr.json().into_iter().find(|line| line["message"] == message)
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.setup.path(name)
    }

    /// Replaces a file beside `proxy.yaml`.
    pub(crate) fn write(&self, name: &str, text: &str) {
        write_private(self.path(name), text);
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Sends a signal and waits until the log says that it was followed.
    pub(crate) fn signal_and_wait(&self, signal: Signal, message: &str) {
        self.signal(signal);
        self.logged(message);
    }

    /// Limits the size of its files from now on.
    pub(crate) fn limit_file_size(&self, bytes: u64) {
        self.limit("fsize", bytes);
    }

    /// Sets its limit of open files.
    pub(crate) fn limit_open_files(&self, most: u64) {
        self.limit("nofile", most);
    }

    fn limit(&self, what: &str, most: u64) {
        let arguments = [format!("--pid={}", self.child.id()), format!("--{what}={most}:")];
        let set = Command::new("prlimit").args(arguments).status();
        assert!(set.unwrap().success());
    }

    /// Waits for it to end by itself, when its output is complete.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = wait_for("end of the process", || self.child.try_wait().unwrap());
        self.stdout.finish();
        self.stderr.finish();
        status
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        peak(self.id());
        self.signal(Signal::SIGTERM);
        self.ended().code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let expected = self.sent.load(Relaxed);
        if !panicking() && !self.records_elsewhere {
            wait_for("record of every request", || {
                let over = self.child.try_wait().unwrap().is_some();
                (over || self.records().len() >= expected).then_some(())
            });
            peak(self.id());
        }
        drop(self.child.kill());
        drop(self.child.wait());
        self.stdout.finish();
        self.stderr.finish();
        if !panicking() {
            is_in_words(&self.log());
        }
        if panicking() {
            eprintln!("{}\n{}", self.log(), self.printed());
        } else if !self.records_elsewhere {
            assert_eq!(self.records().len(), expected, "one record a request: {}", self.printed());
        }
    }
}

/// Asserts that the log contains no values in Rust's debug format.
pub(crate) fn is_in_words(log: &str) {
    // Log lines of libraries at these levels are for programmers.
    let is_theirs =
        |line: &&str| line.contains("\"level\":\"TRACE\"") || line.contains("\"level\":\"DEBUG\"");
    for line in log.lines().filter(|line| !is_theirs(line)) {
        let debug = ["Os {", "Custom {", "Error(", "Error {", "Kind(", "kind:", "Some(", "Err(", "\\u{"];
        assert!(!debug.iter().any(|part| line.contains(part)), "this is no text for people: {line}");
    }
}

impl Record {
    pub(crate) fn parse(line: &str) -> Self {
        Self(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// Fails if a field does not have this value.
    #[expect(clippy::needless_pass_by_value, reason = "called with `json!({ … })`")]
    pub(crate) fn says(&self, expected: Value) {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(self.0.get(name), Some(value), "{name} in {self:#?}");
        }
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {self:#?}"))
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Index<&str> for Record {
    type Output = Value;

    fn index(&self, field: &str) -> &Value {
        self.0.get(field).unwrap_or_else(|| panic!("no field {field} in {self:#?}"))
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                kept.lock().unwrap().push(line.unwrap());
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn json(&self) -> Vec<Value> {
        self.all().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the end of the stream, at the end of the process.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

fn listening(log: &[Value]) -> BTreeMap<String, String> {
    let mut addresses = BTreeMap::new();
    for line in log {
        let name = match line["message"].as_str() {
            Some("listening") => &line["listener"],
            Some("ops listening") => &Value::from("ops"),
            _ => continue,
        };
        addresses.insert(name.as_str().unwrap().into(), line["address"].as_str().unwrap().into());
    }
    addresses
}
