//! At the start: callers that connected before are judged as always, and half a file is not loaded whatever its timestamp.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::Path,
    thread::{self, sleep},
    time::{Duration, SystemTime},
};

use mpc_auth_proxy::clock;
use rustls::version::{TLS12, TLS13};

use super::{CLEANER, MESH, POLICY, nothing_is_stolen, send_cases, with_tls};
use crate::{
    harness::{Authority, Client, Setup, Wanted, Wire, cancel, wait_for},
    loopback::{is_root, take_over},
    settle::{denied, last_line, policy},
};

const TIMES: usize = 8;

/// As with a socket of systemd: callers have connected and sent before the process exists.
#[test]
fn whoever_waits_before_the_start_is_judged_as_ever() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let waiting = send_cases(TIMES, || Wire::new(TcpStream::connect(address).unwrap()));
    let victims: Vec<Wire> = (0..if is_root() { 20 } else { 0 }).map(|_| take_over(address)).collect();
    let setup = Setup::new().listeners(&["{ name: app, bind: 'systemd:app', bearer: true }"]).policy(POLICY);
    let proxy = setup.start_with("app", socket).records_elsewhere();
    for (case, mut wire) in waiting {
        case.is_answered(&wire.answer());
    }
    let sent = TIMES + victims.len();
    for mut victim in victims {
        assert_eq!(victim.answer().json()["error_code"], "MPC.10211");
    }
    nothing_is_stolen(&proxy);
    proxy.upstream_saw(sent);
}

#[test]
fn certificates_that_wait_before_the_start_are_bounded_and_verified() {
    let authority = Authority::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let right = authority.issue(Wanted::caller().uri(CLEANER));
    let more = (0..48).map(|_| authority.issue(Wanted::caller()));
    let many = authority.issue(Wanted::caller().uri(CLEANER)).showing(more);
    let foreign = Authority::new().issue(Wanted::caller().uri(CLEANER));
    let listener = format!("{{ name: app, bind: 'systemd:app', {MESH}");
    let setup = with_tls(Setup::new().listeners(&[&listener]), &authority);
    thread::scope(|scope| {
        let (authority, right, many, foreign) = (&authority, &right, &many, &foreign);
        let ask = move |holder, version| {
            let client = Client { trusts: authority, shows: Some(holder), version };
            move || client.ask_at(address, cancel("none")).ok().map(|mut wire| wire.answer())
        };
        let bad: Vec<_> = [many, foreign]
            .into_iter()
            .flat_map(|holder| [&TLS12, &TLS13].map(|version| scope.spawn(ask(holder, version))))
            .collect();
        let good = scope.spawn(ask(right, &TLS13));
        let proxy = setup.start_with("app", socket);
        proxy.expect_records(1);
        let refused = bad.into_iter().all(|caller| caller.join().unwrap().is_none());
        assert!(refused && good.join().unwrap().is_some_and(|answer| answer.status == 403));
        let failed = "tls_handshake_failures_total{listener=\"app\",reason=\"rejected\"} 4\n";
        wait_for("count of all", || proxy.probe("/metrics").body.contains(failed).then_some(()));
        let said = "more than 4 intermediate certificates";
        wait_for("reason in the log", || proxy.log().contains(said).then_some(()));
        proxy.upstream_saw(1);
    });
}

/// The clock was set back, or the file comes from a machine whose clock is ahead.
#[test]
fn a_time_to_come_on_a_file_makes_no_half_of_it_whole_and_keeps_no_start_up() {
    let setup = Setup::new().policy(&policy("old"));
    let path = setup.path("policy.yaml");
    let text = policy("new");
    let (half, _) = text.split_at(text.len() - last_line());
    write_to_come(&path, half);
    let proxy = thread::scope(|scope| {
        scope.spawn(|| {
            // The second half is late, without notice.
            sleep(Duration::from_secs(1));
            write_to_come(&path, &text);
        });
        setup.start()
    });
    denied(&proxy);
    proxy.upstream_saw(0);
}

fn write_to_come(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let time = SystemTime::from(clock::now()) + Duration::from_secs(3600);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}
