//! Problems between the proxy and the cloud.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use chrono::TimeDelta;
use mpc_auth_proxy::testserver::{Fault, JobState};
use serde_json::json;

use super::{page::Page, setup};
use crate::harness::{PROJECT, SECRET_KEY, cancel, wait_for};

pub(super) fn upstream_cannot_be_reached(page: &mut Page) -> Option<()> {
    // Somebody had this port, and will have it again.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let setup = setup().upstream(&format!("http://{address}"));
    let once = "upstream: { retries: { attempts: 1 }, breaker: { failures: 100 } }";
    let proxy = setup.section(once).start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&["upstream_connect", "http://127.0.0.1:", "Connection refused"]);
    page.one_says(&["unreachable", "= ", "tcp"]);
    let back = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in back.incoming() {
            let mut stream = stream.unwrap();
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"));
        }
    });
    page.block(&proxy);
    Some(())
}

pub(super) fn the_key_is_wrong(page: &mut Page) -> Option<()> {
    let proxy = setup().file("sk", "another-secret-key").start().records_elsewhere();
    page.block(&proxy);
    page.one_says(&["rejected a signature", "\"credential\":\"prod\"", "\"HARN\"", "do not match"]);
    proxy.write("sk", SECRET_KEY);
    let renewed = || proxy.log().matches("credential refreshed").count();
    wait_for("the right key", || (renewed() == 2).then_some(()));
    page.block(&proxy);
    Some(())
}

pub(super) fn the_key_is_held_back(page: &mut Page) -> Option<()> {
    let proxy = setup().file("sk", "another-secret-key").start().records_elsewhere();
    for _ in 0..3 {
        assert_eq!(proxy.send(cancel("100211")).status, 401);
    }
    page.block(&proxy);
    page.one_says(&["SUSPENDED", "prod from files", "replace"]);
    proxy.write("sk", SECRET_KEY);
    page.block(&proxy);
    Some(())
}

pub(super) fn the_circuit_is_open(page: &mut Page) -> Option<()> {
    let once = "upstream: { retries: { attempts: 1 } }";
    let proxy = setup().section(once).start().records_elsewhere();
    proxy.cloud().set_faults([Fault::Unavailable.until_cleared()]);
    for _ in 0..5 {
        assert_eq!(proxy.send(cancel("100211")).status, 503);
    }
    page.block(&proxy);
    page.one_says(&["circuit breaker opened", "http://127.0.0.1:", "503 Service Unavailable"]);
    proxy.cloud().set_faults([]);
    while proxy.send(cancel("100211")).status == 503 {}
    page.block(&proxy);
    Some(())
}

pub(super) fn many_calls_fail(page: &mut Page) -> Option<()> {
    let proxy = setup().start().records_elsewhere();
    proxy.cloud().set_faults([Fault::InternalError.until_cleared()]);
    page.block(&proxy);
    page.one_says(&["\"upstream.status_code\":500", "\"outcome\":\"forwarded\""]);
    proxy.cloud().set_faults([]);
    page.block(&proxy);
    Some(())
}

pub(super) fn the_job_cannot_be_looked_up(page: &mut Page) -> Option<()> {
    let owner = "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules:
  - { id: own, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'],
      condition: { StringMatch: { mpc:UserData: ['${proxy:Caller}/*'] } } }
";
    let proxy = setup().policy(owner).start().records_elsewhere();
    proxy.cloud().set_faults([Fault::Garbage.until_cleared()]);
    page.block(&proxy);
    page.one_says(&["lookup_malformed", "\"lookup.status_code\":200", "\"lookup.request_id\""]);
    proxy.cloud().set_faults([]);
    let request = json!({ "edit_type": ["CLIP"], "user_data": "editor-api/clip-7" });
    proxy.cloud().put_job(PROJECT, "100211", JobState::Waiting);
    proxy.cloud().set_job_request(PROJECT, "100211", request);
    page.block(&proxy);
    Some(())
}

pub(super) fn upstream_does_not_answer(page: &mut Page) -> Option<()> {
    let proxy = setup().section("upstream: { attempt_timeout: 500ms }").start().records_elsewhere();
    proxy.cloud().set_faults([Fault::Hang.until_cleared()]);
    page.block(&proxy);
    page.one_says(&["upstream_timeout", "\"outcome\":\"unknown\"", "\"mpc.job_id\":\"100211\""]);
    proxy.cloud().set_faults([]);
    page.block(&proxy);
    Some(())
}

pub(super) fn the_clock_is_wrong(page: &mut Page) -> Option<()> {
    let proxy = setup().start().records_elsewhere();
    proxy.cloud().set_clock_offset(TimeDelta::minutes(20) + TimeDelta::seconds(20));
    proxy.send(cancel("100211"));
    page.block(&proxy);
    page.one_says(&["fail", "its clock is 20 min behind", "NTP"]);
    page.one_says(&["a proxy is running, with problems", "this machine's clock is 20 min behind"]);
    proxy.cloud().set_clock_offset(TimeDelta::zero());
    page.block(&proxy);
    Some(())
}
