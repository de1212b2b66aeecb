//! `policy test`: checks a policy against test cases.

use std::{io::Write, path::PathBuf, process::ExitCode};

use super::{junit, results::Results};
use crate::{cli::exit, clock, config};

#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// Files of test cases, each of which names its policy
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
}

impl Test {
    /// Runs the cases. Exits with 1 if one fails, with 78 if a file is invalid.
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<ExitCode> {
        let (mut results, mut valid) = (Results::default(), true);
        for path in &self.files {
            match config::cases(path) {
                Ok(file) => results.add(path, &file, clock::now()),
                Err(report) => {
                    write!(err, "{report}")?;
                    valid = false;
                }
            }
        }
        match self.format {
            Format::Text if !valid && results.cases.is_empty() => {}
            Format::Text => results.text(out)?,
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&results)?)?,
            Format::Junit => write!(out, "{}", junit::document(&results))?,
        }
        Ok(match (valid, results.failed) {
            (false, _) => ExitCode::from(exit::CONFIG),
            (true, 0) => ExitCode::SUCCESS,
            (true, _) => ExitCode::FAILURE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::Folder, *};

    const POLICY: &str = "version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
  contractor: { identify: [ { bearer: { sha256_file: /nowhere } } ] }
  owner: { identify: [ { bearer: { sha256_file: /nowhere } } ] }
rules:
  - { id: editor, effect: allow, callers: [editor-api], actions: ['*'], projects: [media-prod], jobs: ['*'] }
  - id: contractor
    effect: allow
    callers: [contractor]
    actions: ['*']
    projects: [0a1b]
    jobs: [tmp-*]
    condition: { IpAddress: { g:SourceIp: 10.2.0.0/16 }, StringEquals: { proxy:Listener: mesh } }
    expires: 2027-01-31
  - { id: keep, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: [keep-*], mode: observe }
  - id: own
    effect: allow
    callers: [owner]
    actions: [mpc:editingTask:delete]
    projects: ['*']
    jobs: ['*']
    condition: { StringMatch: { mpc:UserData: ['${proxy:Caller}/*'] } }
  - id: create
    effect: allow
    callers: [owner]
    actions: [mpc:editingTask:create]
    projects: ['*']
    jobs: ['*']
    condition: { 'ForAllValues:StringMatch': { mpc:Input: [in/*], mpc:Output: ['out/${proxy:Caller}/*'] } }
";
    const PROXY: &str = "projects: [ { name: media-prod, id: 0a1b, credential: elsewhere } ]";

    /// Runs `policy test` on these cases. Returns the exit code, the output and the errors.
    fn run(cases: &str, format: Format) -> (ExitCode, String, String) {
        let cases = format!("version: 1\npolicy: policy.yaml\ncases:\n{cases}");
        run_file(&cases, format)
    }

    fn run_file(text: &str, format: Format) -> (ExitCode, String, String) {
        let folder =
            Folder::with(&[("policy.yaml", POLICY), ("proxy.yaml", PROXY), ("policy.test.yaml", text)]);
        let test = Test { files: vec![folder.path("policy.test.yaml")], format };
        folder.printed(|out, err| test.run(out, err)).unwrap()
    }

    #[test]
    fn cases_that_hold_pass() {
        let (code, out, err) = run(
            "  - { name: by name, caller: editor-api, project: media-prod, job: '1', expect: allow }
  - { name: by id, caller: editor-api, project: 0a1b, job: '1', expect: { effect: allow, rule: editor } }
  - name: every fact
    caller: contractor
    action: mpc:editingTask:delete
    project: media-prod
    job: tmp-1
    time: 2027-01-30T12:00:00+08:00
    source_ip: ::ffff:10.2.3.4
    listener: mesh
    identified_by: bearer
    expect: { effect: allow, rule: contractor, observed: _default }
  - name: after the end
    caller: contractor
    project: media-prod
    job: tmp-1
    time: 2027-01-31
    source_ip: 10.2.3.4
    listener: mesh
    expect: { effect: deny, rule: _default }
  - { name: observed, caller: editor-api, project: 0a1b, job: keep-1, expect: { effect: allow, observed: keep } }
  - { name: its own, caller: owner, project: 0a1b, job: '1', facts: { mpc:UserData: owner/x }, expect: allow }
  - { name: nobody's, caller: owner, project: 0a1b, job: '1', facts: { mpc:UserData: [] }, expect: deny }
  - { name: not looked up, caller: owner, project: 0a1b, job: '1', expect: undetermined }
  - name: a new one
    caller: owner
    action: mpc:editingTask:create
    project: media-prod
    facts: { mpc:UserData: owner/x, mpc:Input: in/a, mpc:Output: [out/owner/a, out/owner/b] }
    expect: { effect: allow, rule: create }
  - name: a new one that writes to another's place
    caller: owner
    action: mpc:editingTask:create
    project: media-prod
    facts: { mpc:UserData: owner/x, mpc:Input: in/a, mpc:Output: [out/owner/a, out/x/b] }
    expect: { effect: deny, rule: _default }
",
            Format::Text,
        );
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        assert_eq!(
            out,
            "ok    by name\nok    by id\nok    every fact\nok    after the end\nok    observed\nok    its own\n\
             ok    nobody's\nok    not looked up\nok    a new one\nok    a new one that writes to another's place\n\n\
             10 cases: 10 passed, 0 failed\n"
        );
    }

    const FAILING: &str =
        "  - { name: fine, caller: editor-api, project: media-prod, job: '1', expect: allow }
  - name: \"<a> & 'b'\"
    caller: contractor
    project: media-prod
    job: tmp-1
    time: 2027-01-01
    source_ip: 10.3.0.1
    expect: { effect: allow, rule: contractor }
";

    #[test]
    fn a_case_that_does_not_hold_is_told_with_its_place_and_the_nearest_miss() {
        let (code, out, err) = run(FAILING, Format::Text);
        assert_eq!((code, err.as_str()), (ExitCode::FAILURE, ""));
        let expected = "ok    fine
FAIL  <a> & 'b' (policy.test.yaml:5)
      expected allow by `contractor`, got
      deny: no rule allows it
      nearest miss: rule `contractor` at policy.yaml:8
        its `IpAddress` wants `g:SourceIp` 10.2.0.0/16; the call has 10.3.0.1

2 cases: 1 passed, 1 failed
";
        assert_eq!(out, expected);
    }

    #[test]
    fn results_are_json_for_programs() {
        let (code, out, _) = run(FAILING, Format::Json);
        assert_eq!(code, ExitCode::FAILURE);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((json["passed"].as_u64(), json["failed"].as_u64()), (Some(1), Some(1)));
        let case = &json["cases"][1];
        assert_eq!((case["name"].as_str(), case["passed"].as_bool()), (Some("<a> & 'b'"), Some(false)));
        assert_eq!(case["line"], 5);
        assert_eq!(case["expected"], "allow by `contractor`");
        assert_eq!(case["decided"]["nearest_miss"]["key"], "g:SourceIp");
    }

    #[test]
    fn results_are_junit_for_build_servers() {
        let (code, out, _) = run(FAILING, Format::Junit);
        assert_eq!(code, ExitCode::FAILURE);
        let file = "policy.test.yaml";
        let expected = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"mpc-auth-proxy policy test\" tests=\"2\" failures=\"1\">
  <testsuite name=\"{file}\" tests=\"2\" failures=\"1\">
    <testcase name=\"fine\" classname=\"{file}\" file=\"{file}\" line=\"4\"/>
    <testcase name=\"&lt;a&gt; &amp; 'b'\" classname=\"{file}\" file=\"{file}\" line=\"5\">
      <failure message=\"expected allow by `contractor`, got deny\">deny: no rule allows it
nearest miss: rule `contractor` at policy.yaml:8
  its `IpAddress` wants `g:SourceIp` 10.2.0.0/16; the call has 10.3.0.1
</failure>
    </testcase>
  </testsuite>
</testsuites>
"
        );
        assert_eq!(out, expected);
    }

    #[test]
    fn a_case_file_that_is_not_valid_is_told_with_places() {
        let case = |change: &str| {
            let (key, _) = change.split_once(':').unwrap();
            let whole = ["name: a", "caller: editor-api", "project: media-prod", "job: '1'", "expect: allow"];
            let kept = whole.iter().filter(|line| !line.starts_with(&format!("{key}:")));
            format!("  - {{ {} }}\n", kept.copied().chain([change]).collect::<Vec<_>>().join(", "))
        };
        for (change, message, hint) in [
            ("caller: editor-ap", "unknown caller `editor-ap`", "did you mean `editor-api`?"),
            ("project: media-prd", "unknown project `media-prd`", "did you mean `media-prod`?"),
            ("action: mpc:editingTask:delet", "unknown action", "did you mean `mpc:editingTask:delete`?"),
            ("expect: alow", "`alow` is not one of allow, deny", "did you mean `allow`?"),
            ("expect: { effect: allow, rule: editr }", "unknown rule `editr`", "did you mean `editor`?"),
            ("expect: { effect: allow, rul: editor }", "unknown key `rul`", "did you mean `rule`?"),
            ("job: tmp/1", "invalid name `tmp/1`", "1 to 64 characters"),
            (
                "facts: { mpc:Userdata: a }",
                "`mpc:Userdata` is not a job fact",
                "did you mean `mpc:UserData`?",
            ),
            ("facts: { mpc:JobId: '1' }", "`mpc:JobId` is not a job fact", "known: `mpc:UserData`, "),
            ("facts: { mpc:UserData: [a, b] }", "`mpc:UserData` has at most one value", "such a job"),
            ("facts: { mpc:Input: null }", "a value, a list of values, or [] for", ""),
            ("action: mpc:editingTask:create", "a create has no job id", "remove `job`"),
            ("job: 1.5", "invalid name `1.5`", "1 to 64 characters"),
            ("source_ip: 10.2.0.0/16", "`10.2.0.0/16` is not an IP address", "10.2.3.4"),
            ("time: noon", "`noon` is not a time", "2027-01-31"),
            ("source: 10.2.3.4", "unknown key `source`", "source_ip"),
        ] {
            let (code, _, err) = run(&case(change), Format::Text);
            assert_eq!(code, ExitCode::from(78), "{change}");
            assert!(err.starts_with("policy.test.yaml:4:"), "{change}: {err}");
            assert!(err.contains(message) && err.contains(hint), "{change}: {err}");
        }
    }

    #[test]
    fn a_policy_that_is_not_valid_is_told_and_nothing_is_tested() {
        let cases = "version: 1\npolicy: polic.yaml\ncases: [ { name: a } ]\n";
        let (code, _, err) = run_file(cases, Format::Text);
        assert_eq!(code, ExitCode::from(78));
        assert!(err.contains("polic.yaml: error: cannot read file: no such file"), "{err}");
        assert!(err.contains("a test case needs `caller`"), "{err}");
    }
}
