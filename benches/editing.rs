//! Time taken by bodies and answers: a create as the SDKs send it, one of the maximum size, and the answer to a lookup.
#![expect(clippy::expect_used, reason = "a benchmark has no one to hand an error to")]

use std::{fmt::Write, hint::black_box};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mpc_auth_proxy::{
    editing::{Answered, Body},
    operation::{Operation, Segment, Target, Version},
};

/// A create with this many settings, each of which reads and writes an object.
fn create(settings: usize) -> String {
    let mut body = r#"{"edit_type": ["EDIT"], "input": {"bucket": "media-in", "location": "cn-north-4", "object": "raw/lesson-1.mp4"}, "edit_settings": ["#.to_owned();
    for at in 0..settings {
        let comma = if at == 0 { "" } else { ", " };
        write!(
            body,
            r#"{comma}{{"timeline_start": "{at}", "timeline_end": "{at}9", "heads": [{{"bucket": "media-in", "location": "cn-north-4", "object": "\u8bfe\u7a0b/head-{at}.mp4"}}], "av_parameter": {{"video": {{"codec": 1, "bitrate": 2500, "width": 1920, "height": 1080, "frame_rate": 25}}, "audio": {{"codec": 1, "sample_rate": 4, "bitrate": 128, "channels": 2}}, "output": {{"bucket": "media-out", "location": "cn-north-4", "object": "clips/{at}/", "file_name": "{at}.mp4"}}}}}}"#
        )
        .expect("text");
    }
    body.push_str(r#"], "user_data": "editor-api/42"}"#);
    body
}

fn reading(c: &mut Criterion) {
    let mut group = c.benchmark_group("editing");
    for settings in [1, 25, 400] {
        let body = create(settings);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("create of {} bytes", body.len()), |b| {
            b.iter(|| Body::inspect(black_box(body.as_bytes()), Version::V1, Some("editor-api")));
        });
    }
    let cancel = Target::parse("DELETE", "/v1/p/editing/jobs?job_id=100211").expect("a target");
    let job = Segment::parse("100211").expect("a job id");
    let view = Operation::view(Version::V1).and_then(|view| cancel.viewed_by(view)).expect("a view");
    for settings in [1, 25] {
        let request = create(settings);
        let answer: Bytes = format!(
            r#"{{"total":1,"jobs":[{{"task_id":"100211","job_id":"100211","status":"WAITING","user_data":"editor-api/42","edit_type":["EDIT"],"edit_task_req":{request}}}]}}"#
        )
        .into();
        group.throughput(Throughput::Bytes(answer.len() as u64));
        group.bench_function(format!("answer of {} bytes", answer.len()), |b| {
            b.iter(|| Answered::read(&view, 200, black_box(&answer)).into_lookup(&job));
        });
    }
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
