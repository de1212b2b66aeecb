//! During a reload: many certificates, calls of callers that hang up, removed sockets, and signals.

use std::{
    fs,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use mpc_auth_proxy::testserver::Fault;
use nix::sys::signal::Signal;
use rustls::version::{TLS12, TLS13};

use super::{CLEANER, MESH, POLICY, with_tls};
use crate::{
    hangup::{TIMES, all_cancelled_once, with_jobs},
    harness::{Authority, BOUND, Client, Proxy, Setup, Wanted, Wire, cancel, request, wait_for},
    settle::{hash, in_halves, last_line, policy},
};

/// Each caller is accepted or refused as always, whichever policy and certificates are in force.
#[test]
fn certificates_of_a_crowd_are_bounded_and_verified() {
    let authority = Authority::new();
    let listener = format!("{{ name: mesh, bind: 127.0.0.1:0, {MESH}");
    let proxy = with_tls(Setup::new().listeners(&[&listener]), &authority).start();
    let right = authority.issue(Wanted::caller().uri(CLEANER));
    let more = (0..48).map(|_| authority.issue(Wanted::caller()));
    let many = authority.issue(Wanted::caller().uri(CLEANER)).showing(more);
    let foreign = Authority::new().issue(Wanted::caller().uri(CLEANER));
    let (over, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (proxy, authority, over, refused) = (&proxy, &authority, &over, &refused);
        for (holder, version) in [(&many, &TLS13), (&many, &TLS12), (&foreign, &TLS13), (&foreign, &TLS12)] {
            scope.spawn(move || {
                let client = Client { trusts: authority, shows: Some(holder), version };
                let end = Instant::now() + BOUND;
                while !over.load(Relaxed) && Instant::now() < end {
                    assert!(client.ask(proxy, "mesh", cancel("none")).is_err());
                    refused.fetch_add(1, Relaxed);
                }
            });
        }
        for round in 0..5 {
            let (before, so_far) = (hash(proxy), refused.load(Relaxed));
            let server = authority.issue(Wanted::server());
            proxy.write("tls.crt", &server.certificate_pem);
            proxy.write("tls.key", &server.key_pem);
            proxy.write("policy.yaml", &format!("{POLICY}# {round}\n"));
            proxy.signal(Signal::SIGHUP);
            wait_for("another policy", || (hash(proxy) != before).then_some(()));
            let client = Client { trusts: authority, shows: Some(&right), version: &TLS13 };
            proxy.expect_records(1);
            assert_eq!(client.ask(proxy, "mesh", cancel("none")).unwrap().answer().status, 403);
            wait_for("refusals", || (refused.load(Relaxed) > so_far).then_some(()));
        }
        over.store(true, Relaxed);
    });
    let failed = format!(
        "tls_handshake_failures_total{{listener=\"mesh\",reason=\"rejected\"}} {}\n",
        refused.load(Relaxed)
    );
    wait_for("count of all", || proxy.probe("/metrics").body.contains(&failed).then_some(()));
    let said = "more than 4 intermediate certificates";
    wait_for("reason in the log", || proxy.log().contains(said).then_some(()));
    proxy.upstream_saw(5);
}

#[test]
fn a_request_that_came_whole_is_carried_out_once_though_its_caller_left() {
    // Long enough to be in flight when the policy changes.
    let proxy = with_jobs(Some(Fault::LatencyMs(300).until_cleared()));
    let text = fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    for round in 0..10 {
        for job in round * TIMES / 10..(round + 1) * TIMES / 10 {
            drop(proxy.sending(cancel(&format!("job-{job}"))));
        }
        let before = hash(&proxy);
        proxy.write("policy.yaml", &format!("{text}# {round}\n"));
        wait_for("another policy", || (hash(&proxy) != before).then_some(()));
    }
    all_cancelled_once(&proxy);
}

#[test]
fn a_socket_whose_file_goes_is_bound_anew_and_half_a_policy_is_not_in_force() {
    let proxy =
        Setup::new().listeners(&["{ name: app, bind: 'unix:proxy.sock' }"]).policy(&policy("first")).start();
    for round in 0..2 {
        let before = hash(&proxy);
        let path = proxy.path("policy.yaml");
        in_halves(&path, &policy(&format!("round {round}")), last_line(), || {
            proxy.signal(Signal::SIGHUP);
            fs::remove_file(proxy.path("proxy.sock")).unwrap();
            is_denied(&proxy);
        });
        wait_for("another policy", || {
            is_denied(&proxy);
            (hash(&proxy) != before).then_some(())
        });
    }
    proxy.upstream_saw(0);
}

/// Calls as soon as the socket exists.
fn is_denied(proxy: &Proxy) {
    let stream = wait_for("socket", || UnixStream::connect(proxy.path("proxy.sock")).ok());
    proxy.expect_records(1);
    let mut wire = Wire::new(stream);
    wire.ask(cancel("none")).is_refusal(403, "PROXY.Forbidden");
}

/// Files that are constantly written are never loaded, and do not delay a shutdown.
#[test]
fn it_is_stopped_while_files_are_being_written() {
    for stop in [Some(Signal::SIGTERM), Some(Signal::SIGINT), None] {
        let setup = Setup::new().policy(&policy("first")).section("admin: { bind: 'unix:admin.sock' }");
        let mut proxy = setup.start();
        let (path, over) = (proxy.path("policy.yaml"), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                let end = Instant::now() + BOUND;
                for round in 0.. {
                    if over.load(Relaxed) || Instant::now() > end {
                        return;
                    }
                    fs::write(&path, policy(&format!("round {round}"))).unwrap();
                    sleep(Duration::from_millis(100));
                }
            });
            // An operator that waits for the result.
            let mut operator = Wire::new(UnixStream::connect(proxy.path("admin.sock")).unwrap());
            operator.write(request("POST", "/reload", &[]));
            proxy.signal_and_wait(Signal::SIGHUP, "audit sink reopened");
            match stop {
                Some(signal) => proxy.signal(signal),
                None => {
                    assert_eq!(proxy.ask_unix("admin.sock", &request("POST", "/shutdown", &[])).status, 202)
                }
            }
            let asked = Instant::now();
            assert_eq!(proxy.ended().code(), Some(0), "{stop:?}");
            // Before a reload is given up.
            assert!(asked.elapsed() < Duration::from_secs(8), "{stop:?}: {:?}", asked.elapsed());
            over.store(true, Relaxed);
        });
    }
}
