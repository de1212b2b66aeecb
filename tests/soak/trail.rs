//! Reads the audit file of a soak. The audit file of a proxy, read line by line: at full size it is too long to be
//! held.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
};

use crate::harness::{Proxy, Record, Setup, mib, peak, wait_for};

/// Records go to a file of that name, beside `proxy.yaml`.
pub(crate) const FILE: &str = "audit.log";

/// A proxy whose records go to the file.
pub(crate) fn start(setup: Setup) -> Proxy {
    setup.section(&format!("audit: {{ sink: {FILE} }}")).start().records_elsewhere()
}

/// Waits until so many requests are over by the proxy's own count, stops it, and gives each record.
pub(crate) fn read(mut proxy: Proxy, requests: usize, mut each: impl FnMut(&Record)) -> usize {
    wait_for("end of every request", || (counted(&proxy) >= requests).then_some(()));
    println!("memory: {} at most", mib(peak(proxy.id()).unwrap()));
    assert_eq!(proxy.stop(), Some(0), "everything that was accepted was answered");
    let mut records = 0;
    for line in BufReader::new(File::open(proxy.path(FILE)).unwrap()).lines() {
        each(&Record::parse(&line.unwrap()));
        records += 1;
    }
    records
}

/// The requests in the metrics, of all listeners, callers and outcomes.
fn counted(proxy: &Proxy) -> usize {
    metrics(proxy, "mpc_auth_proxy_requests_total{").values().sum()
}

/// The series that begin so, and their values.
pub(crate) fn metrics(proxy: &Proxy, begin: &str) -> BTreeMap<String, usize> {
    let text = proxy.probe("/metrics").body;
    let series = text.lines().filter(|line| line.starts_with(begin));
    let parsed = series.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    parsed.collect()
}
