//! The suggestion, word by word, and that it allows what was seen.

use std::{collections::BTreeSet, process::ExitCode};

use serde_json::{Value, json};

use super::{
    command::Suggest,
    suggestion::patterns,
    yaml::{printable, yaml},
};
use crate::{
    cli::{
        output::Format,
        policy::{
            fixture::{Folder, audit},
            records::Records,
        },
    },
    config,
    policy::{Call, Effect, Facts, Scope, parse_moment},
};

fn suggest(calls: &[&str], format: Format, config: Option<&str>) -> anyhow::Result<(ExitCode, String)> {
    let (code, out, _) = suggest_from(&audit(calls), format, config)?;
    Ok((code, out))
}

/// The suggestion from the lines of an audit file, with its warnings.
fn suggest_from(
    audit: &str,
    format: Format,
    config: Option<&str>,
) -> anyhow::Result<(ExitCode, String, String)> {
    let folder = Folder::with(&[("audit.jsonl", audit), ("proxy.yaml", config.unwrap_or_default())]);
    let config = config.map(|_| folder.path("proxy.yaml"));
    let suggest = Suggest { audit: Records::of(vec![folder.path("audit.jsonl")]), config, format };
    folder.printed(|out, err| suggest.run(out, err))
}

/// Loads the policy with these projects, each with its name and id.
fn loaded(policy: &str, projects: &[(&str, &str)]) -> config::StandalonePolicy {
    let folder = Folder::with(&[("policy.yaml", policy)]);
    let scope = |(name, id): &(&str, &str)| Scope { name: (*name).into(), id: (*id).into() };
    let scopes = || projects.iter().map(scope).collect();
    config::policy_alone(&folder.path("policy.yaml"), None, scopes).unwrap()
}

const CALLS: [&str; 6] = [
    "allow editor-api listener 127.0.0.1 0a1b 100211",
    "allow editor-api listener 127.0.0.1 0a1b 100212 would_deny",
    "allow editor-api bearer 10.2.3.4 0a1b 100211",
    "allow batch-cleaner unix uid:1001 1c2d tmp-1",
    "deny batch-cleaner unix uid:1001 0a1b 100211",
    "allow mesh-service spiffe 10.2.3.5 1c2d null",
];

const SUGGESTION: &str = r##"# Suggested from 5 calls that were allowed. It allows these, and as little else
# as possible: review it before use.
version: 1

callers:
  batch-cleaner:
    identify:
      - unix: { uid: 1001 }
  editor-api:
    identify:
      - bearer: { sha256_file: editor-api.sha256 }   # the file you have
      - listener: app
  mesh-service:
    identify:
      # also by `spiffe`: copy that proof from the policy in force

rules:
  # 1 call, the last at 2027-01-15T00:03:00Z, from uid:1001
  # jobs: 1, each by id: widen this, since a job is seldom cancelled twice
  - id: seen-1
    effect: allow
    callers: [batch-cleaner]
    actions: [mpc:editingTask:delete]
    projects: ["1c2d"]
    jobs: ["tmp-1"]

  # 3 calls, the last at 2027-01-15T00:02:00Z, from 10.2.3.4, 127.0.0.1
  # jobs: 2, each by id: widen this, since a job is seldom cancelled twice
  - id: seen-2
    effect: allow
    callers: [editor-api]
    actions: [mpc:editingTask:delete]
    projects: [media-prod]
    jobs: ["100211", "100212"]

  # 1 call, the last at 2027-01-15T00:05:00Z, from 10.2.3.5
  # jobs: 1, each by id: widen this, since a job is seldom cancelled twice
  - id: seen-3
    effect: allow
    callers: [mesh-service]
    actions: [mpc:editingTask:delete]
    projects: ["1c2d"]
    jobs: ["null"]

# Denied, so left out:
#   1 call of batch-cleaner, mpc:editingTask:delete on media-prod, the last at 2027-01-15T00:04:00Z

# The identity policy that the proxy's key needs at Huawei Cloud (IAM 5.0):
# {
#   "Version": "5.0",
#   "Statement": [
#     {
#       "Effect": "Allow",
#       "Action": [
#         "mpc:editingTask:delete"
#       ],
#       "Resource": [
#         "*"
#       ]
#     }
#   ]
# }
"##;

#[test]
fn the_suggestion_is_a_policy_with_its_reasons() {
    let config = "projects: [ { name: media-prod, id: 0a1b } ]";
    let (code, out) = suggest(&CALLS, Format::Text, Some(config)).unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(out, SUGGESTION);
}

const LIVES: [&str; 7] = [
    "allow editor-api listener 127.0.0.1 0a1b +100211 user=editor-api/7 mpc:Input=media-in/a,media-in/b mpc:OutputBucket=out",
    "allow editor-api listener 127.0.0.1 0a1b 100211 mpc:UserData=editor-api/7",
    "allow packager listener 127.0.0.1 0a1b +100212 user=nightly",
    "allow packager listener 127.0.0.1 0a1b 100212",
    "allow cleaner listener 127.0.0.1 0a1b 100211",
    "allow cleaner listener 127.0.0.1 0a1b 100212",
    "deny cleaner listener 127.0.0.1 0a1b +100213",
];

const OWNERSHIP: &str = r##"rules:
  # 2 calls, the last at 2027-01-15T00:05:00Z, from 127.0.0.1
  # jobs: 2, each by id: widen this, since a job is seldom cancelled twice
  - id: seen-1
    effect: allow
    callers: [cleaner]
    actions: [mpc:editingTask:delete]
    projects: [media-prod]
    jobs: ["100211", "100212"]

  # 1 call, the last at 2027-01-15, from 127.0.0.1
  # new jobs: 1, all with its name and `/` before `user_data`
  - id: seen-2
    effect: allow
    callers: [editor-api]
    actions: [mpc:editingTask:create]
    projects: [media-prod]
    jobs: ["*"]
    condition:
      StringMatch: { mpc:UserData: ["${proxy:Caller}/*"] }
      "ForAllValues:StringMatch": { mpc:Input: ["media-in/*"], mpc:Output: ["out/*"] }

  # 1 call, the last at 2027-01-15T00:01:00Z, from 127.0.0.1
  # jobs: 1, all with its name and `/` before `user_data`
  - id: seen-3
    effect: allow
    callers: [editor-api]
    actions: [mpc:editingTask:delete]
    projects: [media-prod]
    jobs: ["*"]
    condition:
      StringMatch: { mpc:UserData: ["${proxy:Caller}/*"] }

  # 1 call, the last at 2027-01-15T00:02:00Z, from 127.0.0.1
  # new jobs: 1, not all with its name and `/` before `user_data`: with `stamp_owner: true` in the project they have it
  - id: seen-4
    effect: allow
    callers: [packager]
    actions: [mpc:editingTask:create]
    projects: [media-prod]
    jobs: ["*"]

  # 1 call, the last at 2027-01-15T00:03:00Z, from 127.0.0.1
  # jobs: 1, all created by it: needs `stamp_owner: true` in the project, or its name and `/` before `user_data`
  - id: seen-5
    effect: allow
    callers: [packager]
    actions: [mpc:editingTask:delete]
    projects: [media-prod]
    jobs: ["*"]
    condition:
      StringMatch: { mpc:UserData: ["${proxy:Caller}/*"] }

# Denied, so left out:
"##;

#[test]
fn whoever_only_cancels_what_it_created_is_suggested_its_own_jobs() {
    let config = "projects: [ { name: media-prod, id: 0a1b } ]";
    let (_, out) = suggest(&LIVES, Format::Text, Some(config)).unwrap();
    let rules = out.find("rules:").map(|start| &out[start..]).unwrap();
    assert!(rules.starts_with(OWNERSHIP), "{rules}");
    assert_eq!(loaded(&out, &[("media-prod", "0a1b")]).policy.rules().len(), 5);
}

#[test]
fn the_suggestion_allows_what_was_seen_and_nothing_else() {
    let (_, out) = suggest(&CALLS, Format::Text, None).unwrap();
    let alone = loaded(&out, &[("0a1b", "0a1b"), ("1c2d", "1c2d")]);
    let effect = |caller: &str, project: &str, job| {
        let caller = alone.callers.iter().find(|c| c.as_str() == caller).unwrap();
        let action = "mpc:editingTask:delete";
        let at = parse_moment("2027-01-15").unwrap();
        let (job, facts) = (Some(job), Facts::none_known());
        let (source_ip, listener, identified_by) = (None, None, None);
        let call = Call { caller, action, project, job, facts, at, source_ip, listener, identified_by };
        alone.policy.decide(&call).applied().unwrap()
    };
    for call in CALLS {
        let words: Vec<&str> = call.split(' ').collect();
        assert_eq!(effect(words[1], words[4], words[5]).as_str(), words[0], "{call}");
    }
    assert_eq!(effect("editor-api", "0a1b", "100213"), Effect::Deny);
    assert_eq!(effect("editor-api", "1c2d", "100211"), Effect::Deny);
}

#[test]
fn many_jobs_are_told_by_what_they_start_with() {
    let many = |start: &str| (0..20).map(|n| format!("{start}{n}")).collect::<BTreeSet<String>>();
    let starts = |jobs: &BTreeSet<String>| patterns(jobs).0;
    assert_eq!(starts(&many("tmp-")), ["tmp-*"]);
    assert_eq!(starts(&(&many("tmp-") | &many("test_"))), ["test_*", "tmp-*"]);
    assert_eq!(starts(&many("1002")), ["*"]);
    assert_eq!(starts(&(&many("tmp-") | &many("1002"))), ["*"]);
    assert_eq!(starts(&many("tmp-").into_iter().take(10).collect()).len(), 10);
}

#[test]
fn programs_get_the_two_policies_apart() {
    let (_, out) = suggest(&CALLS, Format::Json, None).unwrap();
    let json: Value = serde_json::from_str(&out).unwrap();
    assert!(json["policy"].as_str().unwrap().contains("version: 1"));
    assert_eq!(json["identity_policy"]["Statement"][0]["Action"], json!(["mpc:editingTask:delete"]));
}

#[test]
fn from_nothing_nothing_is_suggested() {
    let error = |calls: &[&str]| suggest(calls, Format::Text, None).unwrap_err().to_string();
    assert!(error(&[]).ends_with("audit.jsonl has no policy decisions"));
    assert!(error(&CALLS[4..5]).ends_with("audit.jsonl has no allowed calls"));
}

#[test]
fn hostile_records_make_no_pattern_and_no_line() {
    let hostile = [
        ("mpc:editingTask:delete", "*"),
        ("mpc:editingTask:delete", "mpc:*"),
        ("\"0a1b\"", "\"*\""),
        ("0a1b", "0a1?"),
        ("127.0.0.1", "1\u{2028}rules: []"),
        ("127.0.0.1", "1\u{85}x"),
        ("127.0.0.1", "\u{202e}1"),
        ("\"app\"", "\"a\\nrules: []\""),
        ("\"listener\"", "\"\u{2029}\""),
    ];
    let good = audit(&["allow editor-api listener 127.0.0.1 0a1b 100211"]);
    let bad: String = hostile.iter().map(|(from, to)| good.replace(from, to)).collect();
    let (code, out, err) = suggest_from(&(bad + &good), Format::Text, None).unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(out.starts_with("# Suggested from 1 call that were allowed."), "{out}");
    // That of the identity policy's resource.
    assert!(out.is_ascii() && out.matches('*').count() == 1, "{out}");
    let first = "audit.jsonl:1: not an audit record: `mpc.action` cannot be";
    assert!(err.is_ascii() && err.contains(first), "{err}");
    assert!(err.ends_with("4 more lines are not audit records\n"), "{err}");
}

#[test]
fn a_text_has_one_reading_in_yaml_and_in_a_comment() {
    assert_eq!(yaml("a\u{2028}b\"\\\u{1f600}"), "\"a\\U00002028b\\\"\\\\\\U0001F600\"");
    assert_eq!(printable("a\u{85}b\u{202e}c"), "a\\u{85}b\\u{202e}c");
}
