//! Reads the audit file of a soak line by line, as it is too large for memory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
};

use crate::harness::{Proxy, Record, Setup, mib, peak, wait_for};

/// Writes records to a file of that name beside `proxy.yaml`.
pub(crate) const FILE: &str = "audit.log";

/// A proxy that writes its records to the file.
pub(crate) fn start(setup: Setup) -> Proxy {
    setup.section(&format!("audit: {{ sink: {FILE} }}")).start().records_elsewhere()
}

/// Waits until the proxy has counted this many requests, stops it, and yields each record.
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

/// The series with this prefix, and their values.
pub(crate) fn metrics(proxy: &Proxy, begin: &str) -> BTreeMap<String, usize> {
    let text = proxy.probe("/metrics").body;
    let series = text.lines().filter(|line| line.starts_with(begin));
    let parsed = series.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    parsed.collect()
}
