//! Unix sockets whose file is removed: that is noticed, reported and repaired.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    thread,
};

use nix::unistd::geteuid;

use crate::harness::{Answer, Proxy, Setup, Wire, cancel, copy_program, request, wait_for};

#[test]
fn a_socket_whose_file_was_removed_is_bound_anew_with_its_permissions() {
    let mut proxy = start();
    for _ in 0..3 {
        fs::remove_file(proxy.path("proxy.sock")).unwrap();
        wait_for("socket", || UnixStream::connect(proxy.path("proxy.sock")).ok());
        answers(&proxy);
        let mode = fs::metadata(proxy.path("proxy.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    proxy.logged("a socket file was removed or replaced: bound again");
    assert_eq!(proxy.stop(), Some(0));
    assert!(!proxy.path("proxy.sock").exists(), "it takes its socket with it");
}

/// Connected callers stay connected, and waiting ones are answered.
#[test]
fn a_socket_whose_file_was_renamed_is_made_again_and_nobody_is_lost() {
    let proxy = start();
    let mut before = proxy.dial("local");
    before.write("");
    fs::rename(proxy.path("proxy.sock"), proxy.path("moved.sock")).unwrap();
    wait_for("socket", || UnixStream::connect(proxy.path("proxy.sock")).ok());
    answers(&proxy);
    proxy.expect_records(1);
    assert_eq!(before.ask(cancel("none")).status, 403);
}

#[test]
fn what_is_in_its_place_is_told_until_it_is_gone() {
    for what in ["file", "folder", "socket"] {
        let proxy = start();
        let path = proxy.path("proxy.sock");
        let other = proxy.path("other");
        let alive = match what {
            "file" => fs::write(&other, "precious").map(|()| None).unwrap(),
            "folder" => fs::create_dir(&other).map(|()| None).unwrap(),
            _ => Some(UnixListener::bind(&other).unwrap()),
        };
        // A folder cannot be renamed onto a file, and the file may be back at once.
        wait_for("replacement", || {
            if what == "folder" {
                drop(fs::remove_file(&path));
            }
            fs::rename(&other, &path).ok()
        });
        let expected = match what {
            "file" => "it is a file",
            "folder" => "it is a directory",
            _ => "another process listens there",
        };
        let told = wait_for("loss", || {
            let answer = proxy.probe("/readyz");
            (answer.status == 503).then_some(answer)
        });
        assert!(
            told.body.contains("its file was removed or replaced") && told.body.contains(expected),
            "{told:?}"
        );
        let status = proxy.probe("/status").json();
        assert!(status["listeners"][0]["problem"].as_str().unwrap().contains(expected), "{status}");
        drop(alive);
        drop(fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)));
        wait_for("mend", || (proxy.probe("/readyz").status == 200).then_some(()));
        answers(&proxy);
    }
}

#[test]
fn the_operators_socket_is_mended_too_and_no_caller_minds() {
    let proxy = start();
    let path = proxy.path("admin.sock");
    fs::remove_file(&path).unwrap();
    wait_for("socket", || UnixStream::connect(&path).ok());
    assert_eq!(status(&proxy).status, 200);
    fs::write(proxy.path("other"), "").unwrap();
    fs::rename(proxy.path("other"), &path).unwrap();
    wait_for("loss", || {
        let problem = proxy.probe("/status").json()["admin_problem"].clone();
        problem.as_str()?.contains("it is a file").then_some(())
    });
    let ready = proxy.probe("/readyz?verbose");
    assert!(ready.status == 200 && ready.body.contains("admin socket unix:"), "{ready:?}");
    fs::remove_file(&path).unwrap();
    wait_for("mend", || proxy.probe("/status").json()["admin_problem"].is_null().then_some(()));
    assert_eq!(status(&proxy).status, 200);
}

/// Callers under constant load while the file is removed repeatedly: every connected one is answered.
#[test]
fn callers_who_connect_while_the_file_goes_are_answered() {
    let proxy = start();
    let path = proxy.path("proxy.sock");
    let remover = thread::spawn(move || {
        for _ in 0..3 {
            wait_for("socket", || fs::remove_file(&path).is_ok().then_some(()));
        }
    });
    let mut answered = 0;
    while !remover.is_finished() || answered < 10 {
        let stream = wait_for("socket", || UnixStream::connect(proxy.path("proxy.sock")).ok());
        proxy.expect_records(1);
        let mut wire = Wire::new(stream);
        assert_eq!(wire.ask(cancel("none")).status, 403);
        answered += 1;
    }
    remover.join().unwrap();
}

#[test]
fn a_socket_that_may_not_be_looked_at_is_told_as_that() {
    if !geteuid().is_root() {
        eprintln!("only root can leave a socket of another user");
        return;
    }
    let setup = Setup::new().listeners(&[LOCAL]).policy(POLICY);
    let program = setup.path("program");
    copy_program(&program);
    let script = format!(
        "chown -R 61838:61838 {0} && chown 0:0 {0}/proxy.sock && chmod 600 {0}/proxy.sock && exec setpriv \
         --reuid=61838 --regid=61838 --clear-groups {1} \"$@\"",
        setup.path("").display(),
        program.display()
    );
    let _alive = UnixListener::bind(setup.path("proxy.sock")).unwrap();
    let output = setup.under(&["sh", "-c", &script]).run("run");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("permission denied: a socket of user 0 with mode 0600 exists"), "{error}");
}

fn start() -> Proxy {
    Setup::new().listeners(&[LOCAL]).policy(POLICY).section("admin: { bind: 'unix:admin.sock' }").start()
}

fn answers(proxy: &Proxy) {
    assert_eq!(proxy.send_to("local", cancel("none")).status, 403);
}

fn status(proxy: &Proxy) -> Answer {
    proxy.ask_unix("admin.sock", &request("GET", "/status", &["Connection: close"]))
}

const LOCAL: &str = "{ name: local, bind: 'unix:proxy.sock', mode: '0600' }";
const POLICY: &str = "version: 1
callers: { editor-api: { identify: [ { listener: local } ] } }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
";
