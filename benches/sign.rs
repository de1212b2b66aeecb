//! Time taken by signing a cancel call as the proxy sends it, with permanent and temporary keys.
#![expect(clippy::expect_used, reason = "a benchmark has no one to hand an error to")]

use criterion::{Criterion, criterion_group, criterion_main};
use mpc_auth_proxy::clock;
use mpc_auth_proxy::secret::Secret;
use mpc_auth_proxy::signing::{SigningKey, Timestamp, Unsigned, sign};
use std::hint::black_box;

const PROJECT: &str = "0123456789abcdef0123456789abcdef";
const HEADERS: &[(&str, &[u8])] = &[
    ("host", b"mpc.cn-north-4.myhuaweicloud.com"),
    ("x-project-id", PROJECT.as_bytes()),
    ("x-project_id", PROJECT.as_bytes()),
];
const PATH_FORM: Unsigned<'static> = Unsigned {
    method: "DELETE",
    path: "/v2/0123456789abcdef0123456789abcdef/editing/jobs/00112233445566778899aabbccddeeff",
    query: "",
    headers: HEADERS,
    body: b"",
};
const QUERY_FORM: Unsigned<'static> = Unsigned {
    path: "/v1/0123456789abcdef0123456789abcdef/editing/jobs",
    query: "job_id=00112233445566778899aabbccddeeff",
    ..PATH_FORM
};

fn key(token: Option<&str>) -> SigningKey {
    let secret = Secret::new("SkExampleKeyForBenchmarksOnly00000000001");
    SigningKey::new("AKEXAMPLE00000000001", &secret, token.map(Secret::new)).expect("a key")
}

fn signing(c: &mut Criterion) {
    let now = clock::now();
    let at = Timestamp::from(now);
    let (permanent, temporary) = (key(None), key(Some(&"t".repeat(1_024))));
    let mut group = c.benchmark_group("sign");
    group.bench_function("path form", |b| b.iter(|| sign(black_box(&PATH_FORM), &permanent, at)));
    group.bench_function("query form", |b| b.iter(|| sign(black_box(&QUERY_FORM), &permanent, at)));
    group.bench_function("security token", |b| b.iter(|| sign(black_box(&PATH_FORM), &temporary, at)));
    group.bench_function("timestamp", |b| b.iter(|| Timestamp::from(black_box(now))));
    group.finish();
}

criterion_group!(benches, signing);
criterion_main!(benches);
