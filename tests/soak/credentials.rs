//! Credentials that change under load: no call fails, no source is asked twice, and nothing is signed with half a key.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use mpc_auth_proxy::{
    secret::Secret,
    testserver::{AccessKey, Fault, Options, User},
};
use serde_json::json;

use crate::{
    harness::{PROJECT, Proxy, Setup, cancel, cloud, options, wait_for},
    load::{Line, Over, Took, crowd, run},
    process::raise_descriptors,
    size, trail,
};

#[test]
fn expired_token() {
    raise_descriptors();
    let calls = size("EXPIRED", 200);
    let proxy = Arc::new(trail::start(with_a_user()));
    assert_eq!(run(async { Line::to(&proxy, "app").ask(cancel("none")).await.status }), 403);
    let (fetches, sent) = (fetches(&proxy), sent(&proxy));
    proxy.cloud().revoke_tokens();
    // All are in flight before the first is answered.
    proxy.cloud().set_faults([Fault::LatencyMs(100).until_cleared()]);
    let answered = run(crowd(calls, |job| cancelled(Arc::clone(&proxy), format!("t{job}"))));
    let (fetches, sent) = (self::fetches(&proxy) - fetches, self::sent(&proxy) - sent);
    let mut attempts = Vec::new();
    let records = trail::read(Arc::into_inner(proxy).unwrap(), calls + 1, |record| {
        attempts.push(record["upstream.attempts"].as_u64().unwrap());
    });
    let (twice, latency) =
        (attempts.iter().filter(|attempts| **attempts == 2).count(), Took::of_all(answered));
    println!("expired_token: {calls} calls at once, all 204: {fetches} fetch, {twice} sent twice; {latency}");
    assert_eq!((records, fetches, twice), (calls + 1, 1, sent - calls));
    assert!(twice > 0, "none of them had the dead token");
}

#[test]
fn rotation_file_by_file() {
    let proxy = trail::start(with_first_key(Setup::new()));
    under_load("rotation_file_by_file", proxy, rotate);
}

#[test]
fn rotation_of_a_mounted_secret() {
    let files = "access_key: mounted/ak, secret_key: mounted/sk, security_token: mounted/st";
    let setup = with_first_key(Setup::new()).credential(&format!("{{ files: {{ {files} }} }}"));
    let mounted = setup.path("mounted");
    let version = |number: usize| mounted.join(format!("..{number}"));
    // Like the kubelet: all files of a version at once, by one link.
    let mount = |number: usize| {
        fs::create_dir_all(version(number)).unwrap();
        for (name, text) in files_of(&key(number)) {
            fs::write(version(number).join(name), text).unwrap();
        }
        symlink(version(number), mounted.join("..data_tmp")).unwrap();
        fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
    };
    mount(0);
    for (name, _) in files_of(&key(0)) {
        symlink(format!("..data/{name}"), mounted.join(name)).unwrap();
    }
    under_load("rotation_of_a_mounted_secret", trail::start(setup), |proxy, number| {
        proxy.cloud().put_access_key(key(number));
        mount(number);
        fs::remove_dir_all(version(number - 1)).unwrap();
        until_in_force(proxy, number);
    });
}

/// A proxy with the first of successive keys in three files.
pub(crate) fn with_first_key(setup: Setup) -> Setup {
    setup.cloud().put_access_key(key(0));
    let setup = setup.credential("{ files: { access_key: ak, secret_key: sk, security_token: st } }");
    files_of(&key(0)).iter().fold(setup, |setup, (name, text)| setup.file(name, text))
}

/// Replaces the previous key's files by those of this one at different times, and waits until they are in force.
pub(crate) fn rotate(proxy: &Proxy, number: usize) {
    proxy.cloud().put_access_key(key(number));
    for (name, text) in files_of(&key(number)) {
        proxy.write(name, &text);
        sleep(Duration::from_millis(fastrand::u64(..30)));
    }
    until_in_force(proxy, number);
}

/// Rotates the key repeatedly under load; each old one is revoked once no call can use it.
fn under_load(name: &str, proxy: Proxy, rotate: impl Fn(&Proxy, usize) + Sync) {
    let rotations = size("ROTATIONS", 30);
    let load = Arc::new(Load { proxy, over: AtomicBool::new(false), done: Default::default() });
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            let _over = Over(&load.over);
            for number in 1..=rotations {
                rotate(&load.proxy, number);
                load.every_caller_calls_anew();
                load.proxy.cloud().revoke_access_key(&key(number - 1).id);
            }
        });
        run(crowd(CALLERS, |caller| call_until_over(Arc::clone(&load), caller)))
    });
    let (proxy, latency) = (Arc::into_inner(load).unwrap().proxy, Took::of_all(took));
    let held_back = "upstream rejected this credential's signatures";
    assert!(!proxy.log().contains(held_back), "{}", proxy.log());
    let mut keys = HashSet::new();
    let records = trail::read(proxy, latency.len(), |record| {
        // More than one attempt would mean a rejected signature.
        record.says(
            json!({ "outcome": "forwarded", "http.response.status_code": 204, "upstream.attempts": 1 }),
        );
        keys.insert(record.text("credential.key_hint").to_owned());
    });
    println!(
        "{name}: {rotations} rotations, {records} calls by {} keys, all 204 at once; {latency}",
        keys.len()
    );
    assert_eq!((records, keys.len()), (latency.len(), rotations + 1));
}

/// Callers, and a key that gets replaced.
struct Load {
    proxy: Proxy,
    over: AtomicBool,
    /// The number of calls by each caller.
    done: [AtomicUsize; CALLERS],
}

impl Load {
    /// Waits until every caller has started and finished a call.
    fn every_caller_calls_anew(&self) {
        let before = self.done.each_ref().map(|done| done.load(Relaxed));
        wait_for("calls of every caller", || {
            let mut both = self.done.iter().zip(before);
            both.all(|(done, before)| done.load(Relaxed) >= before + 2).then_some(())
        });
    }
}

async fn call_until_over(load: Arc<Load>, caller: usize) -> Took {
    let (mut line, mut took) = (Line::to(&load.proxy, "app"), Took::default());
    while !load.over.load(Relaxed) {
        let job = format!("r{caller}");
        load.proxy.queue(&job);
        let start = Instant::now();
        let answer = line.ask(cancel(&job)).await;
        took.since(start);
        assert_eq!(answer.status, 204, "{answer:?}");
        load.done[caller].fetch_add(1, Relaxed);
    }
    took
}

async fn cancelled(proxy: Arc<Proxy>, job: String) -> Took {
    proxy.queue(&job);
    let mut took = Took::default();
    let start = Instant::now();
    let answer = Line::to(&proxy, "app").ask(cancel(&job)).await;
    took.since(start);
    assert_eq!(answer.status, 204, "{answer:?}");
    took
}

/// Waits until the credential in force is this key, which is never suspended meanwhile.
fn until_in_force(proxy: &Proxy, number: usize) {
    wait_for("new key in force", || {
        sleep(Duration::from_millis(10));
        let status = proxy.probe("/status").json()["credentials"][0].clone();
        assert_eq!(status["held_back_seconds"], json!(null), "{status}");
        (status["key_hint"] == key(number).id[..4]).then_some(())
    });
}

/// The key with this number. Records name the first four characters of its id.
fn key(number: usize) -> AccessKey {
    AccessKey {
        id: format!("{number:04}ACCESSKEY0000000"),
        secret: Secret::new(format!("secret-{number}")),
        security_token: Some(Secret::new(format!("token-{number}"))),
        project_id: PROJECT.into(),
    }
}

fn files_of(key: &AccessKey) -> [(&'static str, String); 3] {
    let token = key.security_token.as_ref().unwrap();
    [("ak", key.id.clone()), ("sk", key.secret.expose().into()), ("st", token.expose().into())]
}

/// A proxy that signs in at IAM for a token.
fn with_a_user() -> Setup {
    let user = User {
        domain: "media".into(),
        name: "mpc".into(),
        password: Secret::new("password-of-nobody"),
        project_id: PROJECT.into(),
    };
    let setup = Setup::new().with_cloud(cloud(Options { users: vec![user], ..options() }));
    let iam = setup.endpoint().to_owned();
    setup.file("password", "password-of-nobody").credential(&format!(
        "{{ iam_password: {{ iam_endpoint: '{iam}', domain: media, user: mpc, password_file: password }} }}"
    ))
}

/// The number of tokens fetched.
fn fetches(proxy: &Proxy) -> usize {
    proxy.cloud().requests().iter().filter(|seen| seen.target.starts_with("/v3/auth/tokens")).count()
}

/// The number of calls MPC saw.
fn sent(proxy: &Proxy) -> usize {
    proxy.cloud().requests().iter().filter(|seen| seen.method == "DELETE").count()
}

const CALLERS: usize = 8;
