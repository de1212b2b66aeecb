//! Cost of a request, from its head to its answer. The whole stack in this process, as `run` builds it: a configuration
//! read from files, a policy, a key that signs, a record of each request.
//!
//! A call that the policy denies is the price of deciding. A call that is allowed is sent, over one kept
//! connection, to an upstream that answers without thinking. The bare exchange is the same upstream without the
//! stack: a write and a read of as many bytes. What the proxy adds is the difference.

#![expect(clippy::expect_used, reason = "a benchmark stops at its first mistake, as a test does")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response, request};
use mpc_auth_proxy::{
    audit::{Recent, RecordedFacts, Sink, Target, WhenBlocked},
    clock::{self, Clocks},
    config::{self, Hosts, Settings},
    credential::{ProviderContext, Refresher, Round},
    identity::{Peer, PeerAddress},
    limit::{ByteBudget, Cutoff, Freeze, Limiter},
    metrics::{ExpectedSeries, Metrics},
    stack::{self, Capacity, Parts, Stack},
    stage::{ActivePolicy, Arrival, Body, Payload, Project, Service},
    upstream::{Egress, Proxies, Roots, Timeouts, Upstream},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    sync::Semaphore,
};

fn whole_stack(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let upstream = upstream();
    let stack = runtime.block_on(stack(upstream));
    let mut group = criterion.benchmark_group("stack");
    for (name, job, expected) in [("denied by policy", "release-7", 403), ("allowed and sent", "100211", 204)]
    {
        let call = Call::of(job);
        let answer = runtime.block_on(call.go(&stack));
        assert_eq!(answer.status(), expected, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                runtime.block_on(async {
                    let started = Instant::now();
                    for _ in 0..count {
                        call.go(&stack).await;
                    }
                    started.elapsed()
                })
            });
        });
    }
    group.bench_function("bare exchange", |bencher| {
        bencher.iter_custom(|count| runtime.block_on(exchange(upstream, count)));
    });
    group.finish();
}

/// A call as the server hands it over.
struct Call {
    head: request::Parts,
    peer: Arc<Peer>,
    hosts: Arc<Hosts>,
}

impl Call {
    fn of(job: &str) -> Self {
        let request = Request::delete(format!("/v2/media-prod/editing/jobs/{job}"))
            .header("host", "127.0.0.1:8080")
            .header("user-agent", "bench/1.0")
            .header("accept", "*/*");
        let address = PeerAddress::Tcp { address: SocketAddr::from(([127, 0, 0, 1], 40_000)), owner: None };
        Self {
            head: request.body(()).expect("a request").into_parts().0,
            peer: Arc::new(Peer {
                listener: "app".into(),
                address,
                certificate: None,
                bearer: false,
                local: true,
            }),
            hosts: Arc::new(Hosts::Default),
        }
    }

    async fn go(&self, stack: &Stack) -> Response<Body> {
        let arrival = Arrival {
            head: Ok(Box::new(self.head.clone())),
            payload: Payload::None,
            peer: Arc::clone(&self.peer),
            hosts: Arc::clone(&self.hosts),
        };
        match stack.call(arrival).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }
}

/// The stack of a configuration like `config/minimal`, with records that go nowhere.
async fn stack(upstream: SocketAddr) -> Stack {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings(folder.path(), upstream);
    let sink = Sink::open(Target::File("/dev/null".into()), WhenBlocked::Refuse).expect("a sink");
    let (clocks, roots) = (Clocks::default(), Roots::new(None).expect("the built-in roots"));
    let egress = Egress { roots, proxies: Proxies::new(None, |_| None) };
    let provider_context = ProviderContext::new(&egress, settings.upstream.connect_timeout, &clocks);
    let sources = settings.credentials.iter().map(|credential| (&credential.name, &credential.source));
    let mut refresher = Refresher::all(sources, provider_context).expect("the built-in roots").remove(0);
    assert!(matches!(refresher.round().await, Round::Changed), "the keys");
    let held = Arc::clone(refresher.cached());
    let metrics = Arc::new(Metrics::new(&ExpectedSeries {
        listeners: &["app".into()],
        callers: settings.callers.ids(),
        policy: &settings.policy,
        credentials: std::slice::from_ref(&held),
        upstreams: &[],
        projects: &["media-prod".into()],
        sink: &sink,
        clocks: &clocks,
    }));
    let in_force = ActivePolicy {
        callers: settings.callers,
        policy: settings.policy,
        limiter: Limiter::new(settings.caller_limits, [], &Limiter::default()),
        in_flight: settings.limits.in_flight,
        tls: settings.tls,
        since: clock::now(),
    };
    let project = settings.projects.first().expect("a project");
    let timeouts =
        Timeouts { connect: settings.upstream.connect_timeout, attempt: settings.upstream.attempt_timeout };
    let upstream = Upstream::new(&project.endpoint, &egress, timeouts).expect("an upstream");
    let project = Project::new(Arc::clone(project), held, Arc::new(upstream)).expect("a project");
    let parts = Parts {
        in_force: Arc::new(ArcSwap::from_pointee(in_force)),
        projects: vec![Arc::new(project)],
        sink,
        recorded_facts: RecordedFacts::Values,
        recent: Arc::new(Recent::default()),
        freeze: Freeze::default(),
        metrics,
        hostname: "bench".into(),
        cutoff: Cutoff::default(),
    };
    let capacity = Capacity {
        in_flight: Arc::new(Semaphore::new(settings.limits.in_flight)),
        room: ByteBudget::new(settings.limits.buffer_bytes),
    };
    stack::build(&settings.limits, &settings.upstream, capacity, parts)
}

fn settings(folder: &Path, upstream: SocketAddr) -> Settings {
    let files = [
        ("proxy.yaml", PROXY.replace("UPSTREAM", &upstream.to_string())),
        ("policy.yaml", POLICY.into()),
        ("ak", "AKEXAMPLE00000000001".into()),
        ("sk", "SkExampleKeyForBenchmarksOnly00000000001".into()),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("a file");
    }
    config::load(&folder.join("proxy.yaml")).expect("a valid configuration").settings
}

/// Answers every request on every connection without looking at it.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            stream.set_nodelay(true).expect("a socket");
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().expect("a socket"));
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                    if line == "\r\n" && stream.write_all(ANSWER).is_err() {
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

/// Sends this many requests one after the other on one connection, as the proxy would.
async fn exchange(upstream: SocketAddr, count: u64) -> Duration {
    let mut stream = TcpStream::connect(upstream).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let mut answer = [0; ANSWER.len()];
    let started = Instant::now();
    for _ in 0..count {
        stream.write_all(REQUEST).await.expect("a request");
        stream.read_exact(&mut answer).await.expect("an answer");
    }
    started.elapsed()
}

const PROXY: &str = "version: 1
policy: policy.yaml
listeners: [ { name: app, bind: 127.0.0.1:8080 } ]
projects:
  - name: media-prod
    id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9
    endpoint: http://UPSTREAM
    credential: prod
credentials:
  prod: { files: { access_key: ak, secret_key: sk } }
";
const POLICY: &str = "version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
rules:
  - id: editor-cancels
    effect: allow
    callers: [editor-api]
    actions: [mpc:editingTask:delete]
    projects: [media-prod]
    jobs: ['*']
  - id: nobody-cancels-releases
    effect: deny
    callers: ['*']
    actions: ['*']
    projects: [media-prod]
    jobs: [release-*]
";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\
    x-request-id: a8f0ebea-a3ae-4ab7-881f-6875b390f3c9-1795476262291-upstream\r\n\r\n";
/// What the stack sends for the allowed call: as many bytes, with a signature of zeros.
const REQUEST: &[u8] = b"DELETE /v2/0a1b2c3d4e5f60718293a4b5c6d7e8f9/editing/jobs/100211 HTTP/1.1\r\n\
    host: 127.0.0.1:40000\r\n\
    user-agent: mpc-auth-proxy/0.1.0\r\n\
    accept: application/json\r\n\
    x-project-id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9\r\n\
    x-project_id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9\r\n\
    x-sdk-date: 20261123T101112Z\r\n\
    authorization: SDK-HMAC-SHA256 Access=AKEXAMPLE00000000001, SignedHeaders=host;x-project-id;x-sdk-date, \
    Signature=0000000000000000000000000000000000000000000000000000000000000000\r\n\r\n";

criterion_group!(benches, whole_stack);
criterion_main!(benches);
