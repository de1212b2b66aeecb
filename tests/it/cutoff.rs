//! Calls that wait past the end of the drain are refused and not sent.
//!
//! This moment, between the end of the drain and of the process, cannot be seen from outside. So the stack runs in this
//! process, as `run` builds it.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use http::{Request, Response};
use mpc_auth_proxy::{
    audit::{Recent, RecordedFacts, Sink, Target, WhenBlocked},
    clock::Clocks,
    config::{self, Hosts, Settings},
    credential::{ProviderContext, Refresher, Round},
    identity::{Peer, PeerAddress},
    limit::{ByteBudget, Cutoff, Freeze},
    metrics::{ExpectedSeries, Metrics},
    stack::{self, Capacity, Parts, Stack},
    stage::{ActivePolicy, Arrival, Body, Payload, Project, Service},
    upstream::{Egress, Proxies, Roots, Timeouts, Upstream},
};
use tokio::{runtime::Builder, sync::Semaphore, task::JoinSet};

use crate::harness::{ACCESS_KEY, Held, SECRET_KEY};

#[test]
fn calls_that_wait_for_the_keys_turn_are_not_sent_when_the_time_is_over() {
    let held = Held::answering(|_| "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".into());
    let cutoff = Cutoff::default();
    // Two threads: this one waits, too.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut statuses = runtime.block_on(async {
        let stack = stack(&held.url(), &cutoff).await;
        let mut calls = JoinSet::new();
        for _ in 0..10 {
            calls.spawn(call(stack.clone()));
        }
        // An unconfirmed key signs three calls at once.
        tokio::task::block_in_place(|| held.has(3));
        cutoff.end();
        held.let_go();
        let mut statuses: Vec<u16> =
            calls.join_all().await.iter().map(|answer| answer.status().as_u16()).collect();
        statuses.push(call(stack).await.status().as_u16());
        statuses
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [&[204; 3][..], &[503; 8]].concat());
    held.upstream().saw(3);
}

/// Moved to the heap for each call, and held while upstream works.
#[test]
fn the_future_of_a_call_is_small() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let held = Held::answering(|_| String::new());
    let stack = runtime.block_on(stack(&held.url(), &Cutoff::default()));
    let size = size_of_val(&stack.call(arrival()));
    assert!(size <= 3072, "{size} bytes");
}

async fn call(stack: Stack) -> Response<Body> {
    match stack.call(arrival()).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

fn arrival() -> Arrival {
    let request = Request::delete("/v2/media-prod/editing/jobs/100211").header("host", "localhost");
    let address = PeerAddress::Tcp { address: ([127, 0, 0, 1], 40_000).into(), owner: None };
    let peer = Peer { listener: "app".into(), address, certificate: None, bearer: false, local: true };
    Arrival {
        head: Ok(Box::new(request.body(()).unwrap().into_parts().0)),
        payload: Payload::None,
        peer: Arc::new(peer),
        hosts: Arc::new(Hosts::Default),
    }
}

async fn stack(upstream: &str, cutoff: &Cutoff) -> Stack {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), upstream);
    let (limits, upstream) = (settings.limits.clone(), settings.upstream.clone());
    let sink = Sink::open(Target::File("/dev/null".into()), WhenBlocked::Refuse).unwrap();
    let (clocks, roots) = (Clocks::default(), Roots::new(None).unwrap());
    let egress = Egress { roots, proxies: Proxies::new(None, |_| None) };
    let surroundings = ProviderContext::new(&egress, upstream.connect_timeout, &clocks);
    let sources = settings.credentials.iter().map(|credential| (&credential.name, &credential.source));
    let mut refresher = Refresher::all(sources, surroundings).unwrap().remove(0);
    assert!(matches!(refresher.round().await, Round::Changed), "the keys");
    let timeouts = Timeouts { connect: upstream.connect_timeout, attempt: upstream.attempt_timeout };
    let project = &settings.projects[0];
    let way = Upstream::new(&project.endpoint, &egress, timeouts).unwrap();
    let project = Project::new(Arc::clone(project), Arc::clone(refresher.cached()), Arc::new(way)).unwrap();
    let metrics = Arc::new(Metrics::new(&ExpectedSeries {
        listeners: &["app".into()],
        callers: settings.callers.ids(),
        policy: &settings.policy,
        credentials: std::slice::from_ref(refresher.cached()),
        upstreams: &[],
        projects: &["media-prod".into()],
        sink: &sink,
        clocks: &clocks,
    }));
    let parts = Parts {
        in_force: Arc::new(ArcSwap::from_pointee(ActivePolicy::new(settings, None))),
        projects: vec![Arc::new(project)],
        sink,
        recorded_facts: RecordedFacts::Values,
        recent: Arc::new(Recent::default()),
        freeze: Freeze::default(),
        metrics,
        hostname: "test".into(),
        cutoff: cutoff.clone(),
    };
    let in_flight = Arc::new(Semaphore::new(limits.in_flight));
    let capacity = Capacity { in_flight, room: ByteBudget::new(limits.buffer_bytes) };
    stack::build(&limits, &upstream, capacity, parts)
}

fn settings(folder: &Path, upstream: &str) -> Settings {
    let proxy = format!(
        "version: 1
policy: policy.yaml
listeners: [ {{ name: app, bind: 127.0.0.1:0 }} ]
projects:
  - {{ name: media-prod, id: p, endpoint: '{upstream}', credential: prod }}
credentials: {{ prod: {{ files: {{ access_key: ak, secret_key: sk }} }} }}
"
    );
    let policy = "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules: [ { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] } ]
";
    for (name, text) in
        [("proxy.yaml", &*proxy), ("policy.yaml", policy), ("ak", ACCESS_KEY), ("sk", SECRET_KEY)]
    {
        std::fs::write(folder.join(name), text).unwrap();
    }
    config::load(&folder.join("proxy.yaml")).unwrap().settings
}
