//! A proxy's configuration, and the properties of every decision under it.

use std::{
    env, fs,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::HOST;
use http_body_util::BodyExt;

use super::{
    head,
    oracle::{self, BODIES, CREATES, Call, FORMS, Gate, VIEWS},
};
use crate::{
    audit::{Outcome, Record, RecordedFacts, Sink, Target, WhenBlocked},
    clock::{self, Clocks},
    config::{self, Hosts, Limits},
    credential::{ProviderContext, Refresher},
    identity::{Peer, PeerAddress},
    limit::Freeze,
    metrics::{ExpectedSeries, Metrics},
    operation,
    reason::Reason,
    stage::{
        ActivePolicy, AfterLimits, Arrival, Authenticate, Authorize, BufferedBody, Compose, Decide, Denial,
        ExpectedBody, Limit, Payload, Precheck, Project, Receive, Recorded, Refusal, Route, Stage,
    },
    upstream::{Egress, Outbound, Proxies, Roots, Timeouts, Upstream},
};

/// The stages that decide, and the listeners.
#[derive(Clone)]
pub struct World {
    decide: Decide,
    precheck: Arc<Precheck>,
    listeners: [(&'static Gate, Arc<Peer>, Arc<Hosts>); 3],
    now: DateTime<Utc>,
    judged: u64,
}

impl World {
    /// Creates the world of the configuration below.
    pub fn new() -> Self {
        let settings = settings();
        let roots = Roots::new(None).expect("the built-in roots");
        let egress = Egress { roots, proxies: Proxies::new(None, |_| None) };
        let clocks = Clocks::default();
        let connect_timeout = settings.upstream.connect_timeout;
        let provider_context = ProviderContext::new(&egress, connect_timeout, &clocks);
        let sources = settings.credentials.iter().map(|credential| (&credential.name, &credential.source));
        let refreshers = Refresher::all(sources, provider_context).expect("the built-in roots");
        let cached = Arc::clone(refreshers.first().expect("a credential").cached());
        let timeouts = Timeouts { connect: connect_timeout, attempt: settings.upstream.attempt_timeout };
        let project = |project: &Arc<config::Project>| {
            let upstream = Upstream::new(&project.endpoint, &egress, timeouts).expect("an upstream");
            let project = Project::new(Arc::clone(project), Arc::clone(&cached), Arc::new(upstream));
            Arc::new(project.expect("a project"))
        };
        let projects: Vec<Arc<Project>> = settings.projects.iter().map(project).collect();
        let sink = Sink::open(Target::File("/dev/null".into()), WhenBlocked::Refuse).expect("a sink");
        let metrics = Arc::new(Metrics::new(&ExpectedSeries {
            listeners: &[],
            callers: settings.callers.ids(),
            policy: &settings.policy,
            credentials: &[],
            upstreams: &[],
            projects: &[],
            sink: &sink,
            clocks: &clocks,
        }));
        let limits = settings.limits.clone();
        let in_force = Arc::new(ArcSwap::from_pointee(ActivePolicy::new(settings, None)));
        let decide = Decide {
            receive: Receive::new(Limits::default().request_deadline),
            authenticate: Authenticate::new(in_force),
            route: Route::new(&projects, RecordedFacts::Values),
            authorize: Authorize::new(Arc::clone(&metrics)),
            limit: Limit::new(Freeze::default(), metrics),
        };
        let precheck = Arc::new(Precheck::new(decide.clone(), sink, limits.body_bytes));
        Self { decide, precheck, listeners: listeners(), now: clock::now(), judged: 0 }
    }

    /// Decides on the head in these bytes, on the listener that the first byte selects. Returns whether it is permitted.
    ///
    /// # Panics
    /// If a promise is broken.
    pub fn judge(&mut self, bytes: &[u8]) -> bool {
        let Some((first, bytes)) = bytes.split_first() else { return false };
        let (gate, peer, hosts) = self.listeners[usize::from(*first) % 3].clone();
        let mut record = Record::new("id".into(), Arc::clone(&peer.listener), "127.0.0.1".into(), self.now);
        let (head, payload, body) = match head::parse(bytes) {
            Ok((head, rest)) => {
                let (payload, body) = match head.body {
                    None => (Payload::None, Bytes::new()),
                    Some(announced) => {
                        let length = announced.length;
                        let expected = ExpectedBody { head: &head.parts, peer: &peer, hosts: &hosts, length };
                        self.payload(&expected, &rest)
                    }
                };
                (Ok(head.parts), payload, body)
            }
            Err(refusal) => (Err(refusal), Payload::None, Bytes::new()),
        };
        let arrival = Arrival { head, payload, peer, hosts };
        let admitted = self.decide.check(Recorded::new(arrival, &mut record));
        let decision = admitted.and_then(|admitted| match AfterLimits::of(admitted) {
            AfterLimits::Permitted(permitted) => Ok(Compose.check(permitted)?.outbound()),
            AfterLimits::Viewing(mut viewing) => Ok(viewing.composed()?.outbound()),
            AfterLimits::Waiting(_) => panic!("no rule of this policy asks for facts"),
        });
        let asked = oracle::end(bytes)
            .and_then(|end| oracle::read(&bytes[..end], gate).filter(|call| bytes.len() - end >= call.body));
        let expected = asked.filter(is_allowed);
        // Another oracle judges which bodies are acceptable. Here the known ones must be, and others must do no harm.
        let known = BODIES.iter().any(|known| known.as_bytes() == body);
        match (&decision, expected) {
            (Ok(outbound), Some(call)) => {
                is_that_call(outbound, &call, &record);
                is_that_body(outbound, &body);
            }
            (Err(Refusal::BadBody(_) | Refusal::Denied(Denial::NoRule(_))), Some(call))
                if call.body > 0 && !known => {}
            (Err(Refusal::BadBody(_)), Some(Call { body: 0, form, .. })) if CREATES.contains(&form) => {}
            (Err(refusal), None) => assert!(!matches!(refusal, Refusal::Internal), "a bug"),
            (Ok(outbound), None) => {
                panic!("permitted, and not a call: {} {}", outbound.method(), outbound.uri())
            }
            (Err(refusal), Some(call)) => panic!("{call:?} refused: {refusal}"),
        }
        self.judged += 1;
        if self.judged.is_multiple_of(LOOKUP_INTERVAL) {
            if let Err(refusal) = &decision {
                is_in_our_words(refusal);
            }
            is_one_line(record);
        }
        decision.is_ok()
    }
}

impl World {
    /// Reads the body after a head as a connection does.
    fn payload(&self, expected: &ExpectedBody<'_>, rest: &Bytes) -> (Payload, Bytes) {
        let missing = |refusal| (Payload::Missing(Box::new(refusal)), Bytes::new());
        match self.precheck.check(expected) {
            Ok(length) if length <= rest.len() => {
                let bytes = rest.slice(..length);
                (Payload::Whole(Box::new(BufferedBody { bytes: bytes.clone(), room: None })), bytes)
            }
            Ok(_) => missing(Refusal::BadRequest(Reason::BodyCut)),
            Err(refusal) => missing(refusal),
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Reimplements `policy.yaml`.
fn is_allowed(call: &Call<'_>) -> bool {
    let (project, ..) = project(call);
    if CREATES.contains(&call.form) {
        return !project.is_empty() && ["editor-api", "oncall"].contains(&call.caller);
    }
    if VIEWS.contains(&call.form) {
        let kept = call.job.split('&').any(|pair| pair.starts_with("job_id=release-"));
        return !project.is_empty() && ["editor-api", "oncall"].contains(&call.caller) && !kept;
    }
    let allowed = match call.caller {
        "editor-api" => project == "media-prod",
        "batch-cleaner" => call.job.starts_with("tmp-"),
        "oncall" => project == "media-test",
        _ => false,
    };
    !project.is_empty() && allowed && !call.job.starts_with("release-")
}

/// Returns the project's name and id, and the URL form that is sent.
fn project(call: &Call<'_>) -> (&'static str, &'static str, &'static str) {
    match call.project {
        "media-prod" | "0a1b2c3d4e5f60718293a4b5c6d7e8f9" => {
            ("media-prod", "0a1b2c3d4e5f60718293a4b5c6d7e8f9", call.form)
        }
        "media-test" | "1a1b2c3d4e5f60718293a4b5c6d7e8f9" => {
            let form = if FORMS.contains(&call.form) { FORMS[2] } else { call.form };
            ("media-test", "1a1b2c3d4e5f60718293a4b5c6d7e8f9", form)
        }
        _ => ("", "", ""),
    }
}

/// Checks that exactly this call would be sent, and that the record matches.
fn is_that_call(outbound: &Outbound, call: &Call<'_>, record: &Record) {
    let (_, id, form) = project(call);
    let target = outbound.uri().path_and_query().expect("a target").as_str();
    let is_view = VIEWS.contains(&call.form);
    let mut pairs: Vec<&str> = call.job.split('&').collect();
    // Names, and the values of a repeated name, are signed and sent in order.
    pairs.sort_unstable();
    let job = if is_view { pairs.join("&") } else { call.job.to_owned() };
    let method = outbound.method().as_str();
    assert_eq!(
        format!("{method} {target}"),
        form.replacen("/P/", &format!("/{id}/"), 1).replacen('J', &job, 1)
    );
    let is_create = CREATES.contains(&call.form);
    let read = operation::Target::parse(method, target).expect("a call that we would take ourselves");
    assert_eq!(read.operation().render(read.project().as_str(), read.jobs()), target, "rendered again");
    let names: Vec<&str> = outbound.headers().keys().map(|name| name.as_str()).collect();
    let (ours, theirs) = names.split_at(OURS.len());
    let theirs = if is_create { theirs.strip_prefix(&["content-type"][..]).expect("a type") } else { theirs };
    assert!(
        ours == OURS && [&[][..], &["traceparent"], &["traceparent", "tracestate"]].contains(&theirs),
        "{names:?}"
    );
    assert_eq!(outbound.headers().len(), names.len(), "each once");
    assert_eq!(outbound.headers()[HOST], "mpc.cn-north-4.myhuaweicloud.com");
    assert!(["x-project-id", "x-project_id"].iter().all(|name| outbound.headers()[*name] == id));
    assert_eq!((record.caller.as_deref(), record.project_id.as_deref()), (Some(call.caller), Some(id)));
    let ids: Vec<&str> = record.job_id.iter().chain(&record.job_ids).map(|id| id.as_str()).collect();
    if is_create {
        assert_eq!((ids, record.action), (vec![], Some("mpc:editingTask:create")));
    } else if is_view {
        let asked = pairs.iter().filter_map(|pair| pair.strip_prefix("job_id="));
        assert_eq!((ids, record.action), (asked.collect(), Some("mpc:editingTask:view")));
    } else {
        assert_eq!((ids, record.action), (vec![call.job], Some("mpc:editingTask:delete")));
    }
    // In a list each job is decided by itself.
    let is_list = is_view && !call.job.starts_with("job_id=");
    assert_eq!((record.effect, record.call.attempts), ((!is_list).then_some("allow"), 0));
}

/// Checks that the body means the same as the received one, and names only buckets of the policy.
fn is_that_body(outbound: &Outbound, came: &[u8]) {
    let sent = whole(outbound);
    if came.is_empty() {
        return assert!(sent.is_empty());
    }
    let sent: serde_json::Value = serde_json::from_slice(&sent).expect("JSON");
    assert_eq!(Some(&sent), serde_json::from_slice(came).ok().as_ref(), "nothing is sent that did not come");
    let mut all = vec![&sent];
    while let Some(value) = all.pop() {
        let bucket = value.get("bucket").map_or("media-in", |bucket| bucket.as_str().expect("a text"));
        assert!(["media-in", "media-out"].contains(&bucket), "{bucket}");
        all.extend(value.as_object().into_iter().flatten().map(|(_, member)| member));
        all.extend(value.as_array().into_iter().flatten());
    }
}

/// Returns the whole body.
fn whole(outbound: &Outbound) -> Bytes {
    let mut collected = pin!(outbound.body().clone().collect());
    match collected.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(body)) => body.to_bytes(),
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => panic!("it is whole"),
    }
}

/// Checks that the message is in our own words.
fn is_in_our_words(refusal: &Refusal) {
    let text = refusal.to_string();
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
}

/// Checks that the record is one line of JSON within its reserved room.
fn is_one_line(mut record: Record) {
    record.outcome = Some(Outcome::Refused);
    let line = record.line(Duration::ZERO);
    assert!(line.len() <= 4096 && line.iter().filter(|byte| **byte == b'\n').count() == 1);
    let read: Result<serde_json::Value, _> = serde_json::from_slice(&line);
    assert!(read.is_ok_and(|record| record["event"] == "request"), "{}", line.escape_ascii());
}

fn listeners() -> [(&'static Gate, Arc<Peer>, Arc<Hosts>); 3] {
    let address = |uid: u32| match uid {
        0 => PeerAddress::Tcp { address: SocketAddr::from(([127, 0, 0, 1], 40_000)), owner: None },
        uid => PeerAddress::Unix { uid, gid: uid, groups: Arc::default() },
    };
    [("app", &APP, 0), ("team", &TEAM, 0), ("shared", &SHARED, 1001)].map(|(name, gate, uid)| {
        let bearer = !gate.tokens.is_empty();
        let peer = Peer {
            listener: name.into(),
            address: address(uid),
            certificate: None,
            bearer,
            local: name != "team",
        };
        (
            gate,
            Arc::new(peer),
            Arc::new(Hosts::Names(gate.hosts.iter().map(|host| Arc::from(*host)).collect())),
        )
    })
}

fn settings() -> config::Settings {
    let folder = env::temp_dir().join(format!("mpc-auth-proxy-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&folder).expect("a folder");
    let token = |text: &str| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text));
    for (name, text) in [
        ("proxy.yaml", PROXY.to_owned()),
        ("policy.yaml", POLICY.to_owned()),
        ("cleaner.sha256", token(TOKENS[0].0)),
        ("oncall.sha256", token(TOKENS[1].0)),
    ] {
        fs::write(folder.join(name), text).expect("a file");
    }
    let loaded = config::load(&folder.join("proxy.yaml"));
    fs::remove_dir_all(folder).expect("the folder");
    loaded.unwrap_or_else(|report| panic!("{report}")).settings
}

/// The interval of decisions whose message and record are checked, which takes longer than everything else.
const LOOKUP_INTERVAL: u64 = 128;
const OURS: [&str; 5] = ["host", "user-agent", "accept", "x-project-id", "x-project_id"];
const LOCAL: &[&str] = &["localhost", "127.0.0.1", "[::1]"];
const TOKENS: &[(&str, &str)] =
    &[("cleaner-token-0123456789", "batch-cleaner"), ("oncall-token-0123456789", "oncall")];
const APP: Gate = Gate { hosts: LOCAL, caller: Some("editor-api"), tokens: &[] };
const TEAM: Gate = Gate { hosts: &["proxy.media.svc"], caller: None, tokens: TOKENS };
const SHARED: Gate = Gate { hosts: LOCAL, caller: Some("oncall"), tokens: TOKENS };

const PROXY: &str = "version: 1
policy: policy.yaml
listeners:
  - { name: app, bind: 127.0.0.1:8080 }
  - { name: team, bind: 127.0.0.1:8081, bearer: true, hosts: [proxy.media.svc] }
  - { name: shared, bind: 'unix:shared.sock', bearer: true }
projects:
  - name: media-prod
    id: 0a1b2c3d4e5f60718293a4b5c6d7e8f9
    endpoint: https://mpc.cn-north-4.myhuaweicloud.com
    credential: prod
  - name: media-test
    id: 1a1b2c3d4e5f60718293a4b5c6d7e8f9
    endpoint: https://mpc.cn-north-4.myhuaweicloud.com
    credential: prod
    cancel_form: v1
credentials: { prod: { environment: {} } }
";
const POLICY: &str = "version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
  batch-cleaner: { identify: [ { bearer: { sha256_file: cleaner.sha256 } } ] }
  oncall: { identify: [ { listener: shared }, { bearer: { sha256_file: oncall.sha256 } } ] }
rules:
  - { id: editor, effect: allow, callers: [editor-api], actions: ['mpc:editingTask:delete'], projects: [media-prod], jobs: ['*'] }
  - { id: cleaner, effect: allow, callers: [batch-cleaner], actions: ['mpc:editingTask:delete'], projects: ['media-*'], jobs: ['tmp-*'] }
  - { id: oncall, effect: allow, callers: [oncall], actions: ['mpc:editingTask:delete'], projects: [media-test], jobs: ['*'] }
  - { id: view, effect: allow, callers: [editor-api, oncall], actions: ['mpc:editingTask:view'], projects: ['media-*'], jobs: ['*'] }
  - { id: create, effect: allow, callers: [editor-api, oncall], actions: ['mpc:editingTask:create'], projects: ['media-*'], jobs: ['*'],
      condition: { 'ForAllValues:StringEquals': { 'mpc:InputBucket': [media-in, media-out], 'mpc:OutputBucket': [media-in, media-out] } } }
  - { id: keep, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['release-*'] }
";
