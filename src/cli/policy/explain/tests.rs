//! The exact answers, and users' mistakes.

use std::process::ExitCode;

use super::{super::fixture::Folder, command::Explain};
use crate::{
    cli::{arguments::parse, output::Format},
    identity::CallerId,
    policy::{
        Condition, Effect, Glob, Key, Location, Mode, Operator, Policy, Rule, Scope, Test, parse_fact,
        parse_moment,
    },
};

fn policy(callers: &[CallerId], projects: &[Scope]) -> Policy {
    let globs = |text: &str| text.split(',').map(|glob| Glob::parse(glob).unwrap()).collect();
    let rule = |id: &str, effect, line, [caller, job]: [&str; 2]| Rule {
        id: id.into(),
        effect,
        callers: globs(caller),
        actions: globs("mpc:editingTask:*"),
        projects: globs("media-prod"),
        jobs: globs(job),
        condition: Condition::default(),
        expires: None,
        mode: Mode::Enforce,
        location: Location { file: "policy.yaml".into(), line },
        reason: (effect == Effect::Deny).then(|| "ticket \"1411\"".into()),
    };
    let when = |operator, key, value| {
        let (operator, key) = (Operator::parse(operator).unwrap(), Key::parse(key).unwrap());
        Condition::new(vec![Test::new(operator, key, &[value]).unwrap()])
    };
    let rules = vec![
        rule("contractor", Effect::Allow, 9, ["batch-cleaner", "tmp-*,old-*"]),
        rule("keep", Effect::Deny, 17, ["*", "keep-*"]),
        Rule {
            condition: when("IpAddress", "g:SourceIp", "10.2.0.0/16"),
            expires: Some(parse_moment("2027-01-31").unwrap()),
            ..rule("office", Effect::Allow, 25, ["oncall", "*"])
        },
        Rule { mode: Mode::Observe, ..rule("wider", Effect::Allow, 33, ["intern", "obs-*"]) },
        Rule {
            condition: when("StringMatch", "mpc:UserData", "${proxy:Caller}/*"),
            ..rule("own", Effect::Allow, 41, ["owner", "*"])
        },
        Rule {
            condition: when("ForAnyValue:StringEquals", "mpc:OutputBucket", "masters"),
            ..rule("masters", Effect::Deny, 49, ["owner", "*"])
        },
    ];
    Policy::new(rules, callers, projects, "0123abcd")
}

fn explain(config: &str, arguments: &str) -> Explain {
    let names = ["--caller", "--project", "--job", "--action", "--at", "--source-ip"];
    let (values, more) = arguments
        .split_once(" --")
        .map_or((arguments, String::new()), |(values, more)| (values, format!("--{more}")));
    let pairs = names.into_iter().zip(values.split(' ')).filter(|(_, value)| *value != "-");
    let pairs = pairs.flat_map(|(name, value)| [name, value]);
    let words = ["--config", config].into_iter().chain(pairs).chain(more.split_whitespace());
    parse(&words.collect::<Vec<_>>()).unwrap()
}

/// The answer to `--caller CALLER --project PROJECT --job JOB` and perhaps more.
fn asked(format: Format, arguments: &str) -> Result<String, String> {
    let callers = ["batch-cleaner", "editor-api", "oncall", "intern", "owner"]
        .map(|name| CallerId::parse(name).unwrap());
    let projects = [Scope { name: "media-prod".into(), id: "0a1b".into() }];
    let explain = Explain { format, ..explain("proxy.yaml", arguments) };
    let answer = explain.facts(arguments.contains("stamped")).and_then(|facts| {
        Ok(explain.question(&facts).ask(&policy(&callers, &projects), &callers, &projects)?)
    });
    let mut out = Vec::new();
    let written = answer.and_then(|answer| format.write(&answer, &mut out));
    written.map(|()| String::from_utf8(out).unwrap()).map_err(|e| format!("{e:#}"))
}

#[test]
fn the_text_says_what_is_decided_and_why() {
    for (arguments, expected) in [
        ("batch-cleaner media-prod tmp-1", "allow: rule `contractor` at policy.yaml:9\n"),
        ("batch-cleaner 0a1b tmp-1", "allow: rule `contractor` at policy.yaml:9\n"),
        (
            "editor-api media-prod keep-1 mpc:editingTask:delete",
            "deny: rule `keep` at policy.yaml:17\nreason: ticket \"1411\"\n",
        ),
        (
            "batch-cleaner media-prod 7",
            "deny: no rule allows it\nnearest miss: rule `contractor` at policy.yaml:9\n  \
             its `jobs` are tmp-*, old-*; the call has 7\n",
        ),
        (
            "oncall media-prod 7 mpc:editingTask:delete 2027-01-30T12:00:00Z 10.2.3.4",
            "allow: rule `office` at policy.yaml:25\n",
        ),
        (
            "oncall media-prod 7 mpc:editingTask:delete 2027-01-30T12:00:00Z 10.3.3.4",
            "deny: no rule allows it\nnearest miss: rule `office` at policy.yaml:25\n  \
             its `IpAddress` wants `g:SourceIp` 10.2.0.0/16; the call has 10.3.3.4\n",
        ),
        (
            "oncall media-prod 7 mpc:editingTask:delete 2027-01-30",
            "deny: no rule allows it\nnearest miss: rule `office` at policy.yaml:25\n  \
             its `IpAddress` wants `g:SourceIp` 10.2.0.0/16; the call has nothing\n",
        ),
        (
            "oncall media-prod 7 mpc:editingTask:delete 2027-01-31 10.2.3.4",
            "deny: no rule allows it\nnearest miss: rule `office` at policy.yaml:25\n  \
             it ended at 2027-01-31; the call is at 2027-01-31\n",
        ),
        (
            "intern media-prod obs-1",
            "deny: no rule allows it\nwould_allow: rule `wider` at policy.yaml:33, in observe mode\n\
             nearest miss: rule `wider` at policy.yaml:33\n  it is in observe mode: `mode` is observe\n",
        ),
    ] {
        assert_eq!(asked(Format::Text, arguments), Ok(expected.to_owned()), "{arguments}");
    }
}

#[test]
fn facts_decide_where_they_are_told_and_else_it_is_said_which_would() {
    const CREATE: &str = "owner media-prod - mpc:editingTask:create";
    let told = |call: &str, facts: &str| {
        let facts = facts.split_whitespace().map(|fact| format!(" --fact {fact}"));
        asked(Format::Text, &format!("{call}{}", facts.collect::<String>()))
    };
    for (call, facts, expected) in [
        (
            "owner media-prod 7",
            "mpc:UserData=owner/1 mpc:OutputBucket=out",
            "allow: rule `own` at policy.yaml:41\n",
        ),
        (
            "owner media-prod 7",
            "mpc:UserData=owner/1",
            "undetermined: depends on mpc:OutputBucket\n\
             may deny: rule `masters` at policy.yaml:49, by mpc:OutputBucket\n",
        ),
        (
            "owner media-prod 7",
            "",
            "undetermined: depends on mpc:UserData, mpc:OutputBucket\n\
             may allow: rule `own` at policy.yaml:41, by mpc:UserData\n\
             may deny: rule `masters` at policy.yaml:49, by mpc:OutputBucket\n",
        ),
        (
            "owner media-prod 7",
            "mpc:UserData=oncall/1",
            "deny: no rule allows it\nnearest miss: rule `own` at policy.yaml:41\n  \
             its `StringMatch` wants `mpc:UserData` ${proxy:Caller}/*; the job has oncall/1\n",
        ),
        (
            "owner media-prod 7",
            "mpc:UserData",
            "deny: no rule allows it\nnearest miss: rule `own` at policy.yaml:41\n  \
             its `StringMatch` wants `mpc:UserData` ${proxy:Caller}/*; the job has nothing\n",
        ),
        (
            CREATE,
            "mpc:UserData=owner/1 mpc:Output=a/x mpc:Output=masters/x",
            "deny: rule `masters` at policy.yaml:49\nreason: ticket \"1411\"\n",
        ),
        (CREATE, "mpc:UserData=owner/1 mpc:Output", "allow: rule `own` at policy.yaml:41\n"),
    ] {
        assert_eq!(told(call, facts), Ok(expected.to_owned()), "{call} {facts}");
    }
    for (call, facts, expected) in [
        ("owner media-prod 7", "mpc:JobStatus=SUCCEED", "unknown job status `SUCCEED`: use one of "),
        ("owner media-prod 7", "mpc:UserData=a mpc:UserData=b", "`mpc:UserData` has at most one value"),
        (CREATE, "mpc:JobStatus=INIT", "a create has no `mpc:JobStatus`"),
        ("owner media-prod -", "", "a job is required, except for mpc:editingTask:create"),
        ("owner media-prod 7 mpc:editingTask:create", "", "a create has no job id: remove the job"),
    ] {
        let error = told(call, facts).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(
        parse_fact("mpc:Userdata=1").unwrap_err().to_string(),
        "unknown fact `mpc:Userdata`; did you mean `mpc:UserData`?"
    );
    let json = asked(Format::Json, "owner media-prod 7 --fact mpc:UserData=owner/1").unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["effect"], &json["needs"]),
        (&"undetermined".into(), &serde_json::json!(["mpc:OutputBucket"]))
    );
    assert_eq!(
        (&json["waiting"][0]["rule"], &json["waiting"][0]["effect"]),
        (&"masters".into(), &"deny".into())
    );
}

#[test]
fn the_json_has_the_same_keys_whatever_is_decided() {
    let json = |arguments| -> serde_json::Value {
        serde_json::from_str(&asked(Format::Json, arguments).unwrap()).unwrap()
    };
    assert_eq!(
        json("editor-api media-prod keep-1"),
        serde_json::json!({
            "effect": "deny", "rule": "keep", "location": "policy.yaml:17", "mode": "enforce",
            "observed": null, "nearest_miss": null, "reason": "ticket \"1411\"", "needs": [], "waiting": [],
        })
    );
    assert_eq!(
        json("editor-api media-prod tmp-1"),
        serde_json::json!({
            "effect": "deny", "rule": null, "location": null, "reason": null, "mode": "enforce",
            "observed": null, "needs": [], "waiting": [],
            "nearest_miss": {
                "rule": "contractor", "location": "policy.yaml:9",
                "field": "callers", "operator": null, "key": null,
                "wanted": "batch-cleaner", "got": "editor-api",
            },
        })
    );
    let elsewhere = "oncall media-prod 7 mpc:editingTask:delete 2027-01-01 ::ffff:10.3.3.4";
    assert_eq!(
        json(elsewhere)["nearest_miss"],
        serde_json::json!({
            "rule": "office", "location": "policy.yaml:25", "field": "condition",
            "operator": "IpAddress", "key": "g:SourceIp", "wanted": "10.2.0.0/16", "got": "10.3.3.4",
        })
    );
    assert_eq!(
        json("intern media-prod obs-1")["observed"],
        serde_json::json!({ "effect": "would_allow", "rule": "wider", "location": "policy.yaml:33" })
    );
}

#[test]
fn a_name_that_nothing_has_is_an_error_with_the_closest_one() {
    for (arguments, expected) in [
        ("editr-api media-prod 7", "unknown caller `editr-api`; did you mean `editor-api`?"),
        ("stranger media-prod 7", "unknown caller `stranger`"),
        ("editor-api media-prd 7", "unknown project `media-prd`; did you mean `media-prod`?"),
        (
            "editor-api media-prod 7 mpc:editingtask:delete",
            "unknown action `mpc:editingtask:delete`; did you mean `mpc:editingTask:delete`?",
        ),
        ("editor-api media-prod a/b", "a job id is 1 to 64 characters of A-Z a-z 0-9 _ -"),
    ] {
        assert_eq!(asked(Format::Text, arguments), Err(expected.to_owned()), "{arguments}");
    }
}

#[test]
fn the_policy_of_a_configuration_is_asked() {
    let folder = Folder::with(&[("proxy.yaml", PROXY), ("policy.yaml", POLICY)]);
    let run = |file: &str, arguments: &str| {
        let explain = explain(folder.path(file).to_str().unwrap(), arguments);
        folder.printed(|out, err| explain.run(out, err)).unwrap()
    };
    let (code, out, err) = run("proxy.yaml", "editor-api media-prod 100211");
    assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
    assert_eq!(out, "allow: rule `editor-cancels` at policy.yaml:5\n");
    let (code, out, _) = run("proxy.yaml", "editor-api media-prod keep-1");
    assert!(code == ExitCode::SUCCESS && out.starts_with("deny: "), "{out}");
    let (code, out, err) = run("nowhere.yaml", "editor-api media-prod 100211");
    assert_eq!((code, out.as_str()), (ExitCode::from(78), ""));
    assert!(err.contains("nowhere.yaml"), "{err}");
}

const PROXY: &str = "version: 1
policy: policy.yaml
listeners: [{ name: app, bind: 127.0.0.1:8080 }]
projects: [{ name: media-prod, id: 0a1b2c3d, endpoint: 'https://mpc.example', credential: prod }]
credentials: { prod: { environment: {} } }
";

const POLICY: &str = "version: 1
callers:
  editor-api: { identify: [{ listener: app }] }
rules:
  - { id: editor-cancels, effect: allow, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['*'] }
  - { id: keep, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['keep-*'] }
";

#[test]
fn a_body_is_judged_and_what_it_asks_for_decides() {
    let own = r#"{"inputs":[{"input":{"bucket":"in","object":"a"}}],"output":{"bucket":"out","object":"b"},"user_data":"owner/1"}"#;
    let folder = Folder::with(&[
        ("own.json", own),
        ("stamped.json", r#"{"inputs":[{"input":{"bucket":"in","object":"a"}}],"user_data":"1"}"#),
        ("twice.json", r#"{"user_data":"owner/1","user_data":"x"}"#),
        // To version 1, an object at a place of version 2 may be either.
        ("masters.json", r#"{"user_data":"owner/1","inputs":[{"input":{"bucket":"masters","object":"a"}}]}"#),
    ]);
    let [own, unnamed, twice, masters] = ["own.json", "stamped.json", "twice.json", "masters.json"]
        .map(|name| folder.path(name).display().to_string());
    let asked = |arguments: &str| asked(Format::Text, &format!("owner media-prod --body {arguments}"));
    for (arguments, expected) in [
        (own.clone(), Ok("allow: rule `own` at policy.yaml:41\n")),
        (format!("{own} --action mpc:editingTask:create"), Ok("allow: rule `own` at policy.yaml:41\n")),
        (unnamed, Ok("allow: rule `own` at policy.yaml:41\n")),
        (masters.clone(), Ok("deny: rule `masters` at policy.yaml:49\nreason: ticket \"1411\"\n")),
        (format!("{masters} --api v2"), Ok("allow: rule `own` at policy.yaml:41\n")),
        (
            twice.clone(),
            Err(format!("{twice}: invalid request body at byte 23: duplicate name in one object")),
        ),
        (
            format!("{own} --action mpc:editingTask:view"),
            Err("only mpc:editingTask:create has a body: remove --action".into()),
        ),
    ] {
        assert_eq!(asked(&arguments), expected.map(str::to_owned), "{arguments}");
    }
}
