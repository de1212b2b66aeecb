//! How are requests sent? The reader of `upstream`.

use std::{num::NonZeroU32, time::Duration};

use super::{
    decode::Fields,
    files,
    page::Page,
    proxy::{LONGEST, timeout},
    scalar,
    settings::{BreakerSettings, Stale, UpstreamSettings},
    yaml::Node,
};
use crate::{pem, upstream::Endpoint};

pub(super) fn read(page: &Page, node: &Node) -> Option<UpstreamSettings> {
    let mut fields = Fields::of(page, node, "`upstream`")?;
    let default = UpstreamSettings::default();
    let connect_timeout = fields.optional("connect_timeout", timeout);
    let attempt_timeout = fields.optional("attempt_timeout", timeout);
    let ca_file = fields.optional("ca_file", |page, node| {
        Some(files::watched(page, node, |page, node| files::pem(page, node, pem::authorities))?.0)
    });
    let proxy = fields.optional("proxy", proxy);
    let retries = fields.optional("retries", retries);
    let (attempts, budget, stale) = retries.unwrap_or((default.attempts, default.budget, default.stale));
    let breaker = fields.optional("breaker", breaker).unwrap_or(default.breaker);
    fields.finish();
    Some(UpstreamSettings {
        connect_timeout: connect_timeout.unwrap_or(default.connect_timeout),
        attempt_timeout: attempt_timeout.unwrap_or(default.attempt_timeout),
        ca_file,
        proxy,
        attempts,
        budget,
        stale,
        breaker,
    })
}

/// `http://HOST:PORT`. What is wrong is not shown: it may hold a password.
fn proxy(page: &Page, node: &Node) -> Option<Endpoint> {
    let text = scalar::text(page, node, "an egress proxy such as http://egress:3128")?;
    if text.contains('@') {
        let message = "a user and password are never written here";
        let hint = "remove this key, and set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT in the environment";
        page.error(node.place, message, hint);
        return None;
    }
    let proxy = Endpoint::parse(text).ok().filter(|proxy| !proxy.tls());
    if proxy.is_none() {
        let message = "an egress proxy is http://HOST:PORT, and is asked to CONNECT";
        page.error(node.place, message, "for instance http://egress:3128");
    }
    proxy
}

fn retries(page: &Page, node: &Node) -> Option<(u32, u32, Stale)> {
    let mut fields = Fields::of(page, node, "`retries`")?;
    let default = UpstreamSettings::default();
    let attempts = fields.optional("attempts", |page, node| scalar::count(page, node, 1..=10));
    let budget = fields.optional("budget", scalar::percentage);
    let stale = fields.optional("stale", |page, node| {
        scalar::choice(page, node, &[("once", Stale::Once), ("never", Stale::Never)])
    });
    fields.finish();
    let attempts = attempts.and_then(|n| u32::try_from(n).ok()).unwrap_or(default.attempts);
    Some((attempts, budget.unwrap_or(default.budget), stale.unwrap_or(default.stale)))
}

fn breaker(page: &Page, node: &Node) -> Option<BreakerSettings> {
    let mut fields = Fields::of(page, node, "`breaker`")?;
    let default = BreakerSettings::default();
    let failures = fields.optional("failures", |page, node| scalar::count(page, node, 1..=1_000_000));
    let open_for =
        fields.optional("open_for", |page, node| scalar::duration(page, node, SHORTEST_OPEN..=LONGEST));
    fields.finish();
    let failures = failures.and_then(|n| NonZeroU32::new(u32::try_from(n).ok()?));
    Some(BreakerSettings {
        failures: failures.unwrap_or(default.failures),
        open_for: open_for.unwrap_or(default.open_for),
    })
}

const SHORTEST_OPEN: Duration = Duration::from_millis(100);
