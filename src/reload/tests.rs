//! Reloading, in a separate process: the contents of files decide, whatever the events.

use std::{fs, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::*;
use crate::{
    audit::{Sink, Target, WhenBlocked},
    clock, config,
    metrics::{ExpectedSeries, Metrics},
    stage::ActivePolicy,
    upstream::Roots,
    watch::HANG_TIMEOUT,
};

const PROXY: &str = "version: 1
policy: policy.yaml
listeners: [ { name: app, bind: 127.0.0.1:8080 } ]
projects: [ { name: p, id: p1, endpoint: 'http://127.0.0.1:1', credential: c } ]
credentials: { c: { environment: {} } }
";
const POLICY: &str = "version: 1
callers: { a: { identify: [ { listener: app } ] } }
rules: [ { id: r, effect: allow, callers: [a], actions: ['*'], projects: [p], jobs: ['*'] } ]
";

/// A reloader whose task runs until the set is dropped.
async fn reloader(folder: &Path) -> (Reloader, Arc<ArcSwap<ActivePolicy>>, JoinSet<()>) {
    let path = folder.join("proxy.yaml");
    fs::write(&path, PROXY).unwrap();
    fs::write(folder.join("policy.yaml"), POLICY).unwrap();
    let loaded = config::load(&path).unwrap();
    let baseline = Baseline::new(path, &loaded);
    let sink = Sink::open(Target::File("/dev/null".into()), WhenBlocked::Refuse).unwrap();
    let policy = &loaded.settings.policy;
    let metrics = Metrics::new(&ExpectedSeries {
        listeners: &[],
        callers: &[],
        policy,
        credentials: &[],
        projects: &[],
        upstreams: &[],
        clocks: &clock::Clocks::default(),
        sink: &sink,
    });
    let in_force = Arc::new(ArcSwap::from_pointee(ActivePolicy::new(loaded.settings, None)));
    let roots = Roots::new(None).unwrap();
    let target = Targets { in_force: Arc::clone(&in_force), roots, metrics: Arc::new(metrics) };
    let mut tasks = JoinSet::new();
    let reloader = Reloader::new(baseline, target, &mut tasks).await;
    (reloader, in_force, tasks)
}

fn replace(folder: &Path, text: &str) {
    fs::write(folder.join("fresh"), text).unwrap();
    fs::rename(folder.join("fresh"), folder.join("policy.yaml")).unwrap();
}

#[tokio::test]
async fn what_is_asked_for_after_a_rename_is_what_was_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let (reloader, in_force, _task) = reloader(folder.path()).await;
    for effect in ["deny", "allow", "deny"] {
        replace(folder.path(), &POLICY.replace("allow", effect));
        let Reloaded::Applied(hash) = reloader.reload().await else { panic!("not applied") };
        assert_eq!(in_force.load().policy.hash(), &hash);
        assert_eq!(in_force.load().policy.rules()[0].effect.as_str(), effect);
    }
    replace(folder.path(), "nonsense");
    assert!(matches!(reloader.reload().await, Reloaded::Refused(_)));
    assert_eq!(reloader.sync_status().state, SyncState::Refused);
    replace(folder.path(), POLICY);
    assert!(matches!(reloader.reload().await, Reloaded::Applied(_)));
    assert_eq!((reloader.sync_status().state, reloader.sync_status().problem), (SyncState::InForce, None));
}

#[tokio::test(start_paused = true)]
async fn who_asks_while_a_file_is_written_is_told_so_in_time_and_it_is_taken_when_it_is_still() {
    let folder = tempfile::tempdir().unwrap();
    let (reloader, in_force, _task) = reloader(folder.path()).await;
    let before = Arc::clone(in_force.load().policy.hash());
    let writer = async {
        for line in 0..13 {
            fs::write(folder.path().join("policy.yaml"), format!("{POLICY}# {line}\n")).unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    };
    let asker = async {
        sleep(Duration::from_millis(1)).await;
        let asked = Instant::now();
        let answer = reloader.reload().await;
        assert!(
            matches!(&answer, Reloaded::Pending(reason) if reason.contains("still being written")),
            "{answer:?}"
        );
        assert!(asked.elapsed() < HANG_TIMEOUT + Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!(reloader.sync_status().state, SyncState::Pending);
        assert_eq!(in_force.load().policy.hash(), &before);
    };
    tokio::join!(writer, asker);
    assert!(matches!(reloader.reload().await, Reloaded::Applied(_)));
    assert_ne!(in_force.load().policy.hash(), &before);
    assert_eq!(reloader.sync_status().state, SyncState::InForce);
}
