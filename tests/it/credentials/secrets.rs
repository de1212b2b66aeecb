//! No secret of a source is shown, whatever anyone answers it.

use mpc_auth_proxy::testserver::{Fault, Service};

use super::{MARKED, REMOTE, call, harness::wait_for};
use crate::harness::{Answer, Proxy, Setup};

#[test]
fn no_source_shows_a_secret_when_it_works() {
    for source in &REMOTE {
        let proxy = traced(source.setup(3600)).start();
        let said = [call(&proxy)];
        assert_eq!(said[0].status, 204, "{}", source.name);
        shows_nothing(&proxy, &said, source.name);
    }
}

#[test]
fn no_source_shows_a_secret_when_it_is_answered_badly() {
    for source in &REMOTE {
        for fault in [Fault::Echo, Fault::Garbage, Fault::InternalError, Fault::Unauthorized, Fault::Reset] {
            let setup = traced(source.setup(3600));
            let all = [Service::Iam, Service::Sts, Service::Metadata, Service::PodIdentity];
            setup.cloud().set_faults(all.map(|service| fault.until_cleared().at(service)));
            let proxy = setup.start();
            let said = [call(&proxy)];
            said[0].is_refusal(503, "PROXY.NoCredential");
            shows_nothing(&proxy, &said, source.name);
        }
    }
}

#[test]
fn an_answer_of_upstream_that_repeats_what_it_was_sent_is_redacted() {
    for source in &REMOTE {
        let proxy = traced(source.setup(3600)).start();
        proxy.cloud().set_faults([Fault::Echo.until_cleared()]);
        let said = [call(&proxy)];
        assert_eq!(said[0].status, 400, "{}", source.name);
        shows_nothing(&proxy, &said, source.name);
    }
}

fn traced(setup: Setup) -> Setup {
    setup.argument("--log-level=trace")
}

/// Searches all output for the secrets put in and those issued by the cloud.
fn shows_nothing(proxy: &Proxy, said: &[Answer], source: &str) {
    proxy.audit(said.len());
    let probes = ["/metrics", "/status", "/readyz?verbose"].map(|probe| proxy.probe(probe));
    let sent = wait_for("requests", || Some(proxy.cloud().requests()).filter(|all| !all.is_empty()));
    let secrets = sent.iter().flat_map(|seen| {
        let headers = ["x-auth-token", "x-security-token", "x-metadata-token", "authorization"];
        headers.into_iter().filter_map(|name| seen.header(name)).map(|value| {
            match value.split_once("Signature=") {
                Some((_, signature)) => signature.to_owned(),
                None => value.to_owned(),
            }
        })
    });
    let everything = [format!("{said:?}{probes:?}"), proxy.printed(), proxy.log()];
    for secret in secrets.chain([MARKED.to_owned()]) {
        for text in &everything {
            assert!(!text.contains(&secret), "{source}: {secret} in {text}");
        }
    }
}
