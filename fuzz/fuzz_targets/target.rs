//! Fuzzes request targets: what is accepted is exactly one of the catalogue's URLs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_auth_proxy::operation::{CATALOGUE, Segment, Target};

fuzz_target!(|request: (u8, &str)| {
    let (method, target) = request;
    let method = if method == 0 { "GET" } else { "DELETE" };
    let Ok(parsed) = Target::parse(method, target) else { return };
    let (operation, project, jobs) = (parsed.operation(), parsed.project(), parsed.jobs());
    assert!(CATALOGUE.contains(operation) && operation.method == method);
    // There is one spelling of it, and it was the one that came in.
    assert_eq!(operation.render(project.as_str(), jobs), target);
    assert_eq!(Segment::parse(project.as_str()).as_ref(), Some(project));
    assert_eq!(jobs.ids().len(), 1, "what is cancelled is one job");
    assert!(jobs.ids().iter().all(|job| Segment::parse(job.as_str()).as_ref() == Some(job)));
});
