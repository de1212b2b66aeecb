//! The manuals of `policy` and its subcommands.

use super::{
    entry::Manual,
    proxy::{POLICY_YAML, PROXY_YAML},
};

pub(super) const POLICY: Manual = Manual {
    about: "\
Explains, tests, replays and suggests policies. None of these needs a running proxy.",
    files: &[],
    exits: &[
        (0, "Done."),
        (1, "A case fails, an allowed call would be denied, or a file cannot be read."),
        (78, "The configuration or the policy is not valid."),
    ],
    examples: "\
Ask about one call
$ mpc-auth-proxy policy explain --config proxy.yaml --caller editor-api --project media-prod --job 100211
Run the cases of a policy
$ mpc-auth-proxy policy test policy.test.yaml",
};

pub(super) const EXPLAIN: Manual = Manual {
    about: "\
Prints the decision, and the rule that makes it with its place. If no rule allows the call, prints the \
one that comes closest and the part of it that fails. A denial is an answer, and exits with 0.

Job facts come from --fact or a body. A fact that is not given is unknown: if the decision \
depends on it, the answer is `undetermined` and names the facts that it needs.

With --audit and --request-id it decides a recorded call again, and prints what differs today.",
    files: &[
        (PROXY_YAML, "The configuration, which names the policy. All of it must be valid."),
        ("AUDIT", "Audit records, as `policy replay` reads them."),
    ],
    exits: &[
        (0, "The answer is printed, whatever it is."),
        (1, "Unknown caller, project or record, or a file cannot be read."),
        (78, "The configuration or the policy is not valid."),
    ],
    examples: "\
Ask whether a caller may cancel a job
$ mpc-auth-proxy policy explain --config proxy.yaml --caller editor-api --project media-prod --job 100211
Ask about a job that belongs to it, next year, as JSON
$ mpc-auth-proxy policy explain --config proxy.yaml --caller editor-api --project media-prod --job 100211 --fact mpc:UserData=editor-api/7 --at 2027-01-31 --format json
Ask about a job that is to be created
$ mpc-auth-proxy policy explain --config proxy.yaml --caller editor-api --project media-prod --body create.json
Find out why a call was refused, by `request_id` of its answer
$ mpc-auth-proxy policy explain --config proxy.yaml --audit audit.log --request-id \"$ID\"",
};

pub(super) const TEST: Manual = Manual {
    about: "\
A case is a call with its expected effect and, optionally, its rule. docs/POLICY.md shows how \
cases are written. Neither the proxy nor a secret is needed, so this runs in any pipeline.",
    files: &[
        (
            "FILE",
            "The cases. `policy:` in it names the policy, and `config:` the proxy.yaml with the names of projects.",
        ),
        (POLICY_YAML, "The policy that a case file names."),
    ],
    exits: &[(0, "All cases pass."), (1, "A case fails."), (78, "A file is invalid.")],
    examples: "\
Run the cases
$ mpc-auth-proxy policy test policy.test.yaml
Write a report for a build server
$ mpc-auth-proxy policy test policy.test.yaml --format junit > policy-tests.xml",
};

pub(super) const REPLAY: Manual = Manual {
    about: "\
Evaluates every recorded call under --policy, and prints those with another decision, grouped, \
the denials first. Files may be compressed by gzip, come from standard input \
(`-`), and carry what CRI or Docker puts around each line. Lines that are not records are reported and \
skipped.",
    files: &[
        ("AUDIT", "Audit records, the oldest file first."),
        (POLICY_YAML, "The policy to try. It need not be the one in force."),
        (PROXY_YAML, "For project names only; looked for beside the policy."),
    ],
    exits: &[
        (0, "No allowed call would be denied."),
        (1, "One would be, or the records cannot be read."),
        (78, "The policy is not valid."),
    ],
    examples: "\
Try a new policy before applying it
$ mpc-auth-proxy policy replay audit.log --policy next-policy.yaml --config proxy.yaml
Read records from a pipe
$ cat audit.log | mpc-auth-proxy policy replay - --policy policy.yaml",
};

pub(super) const SUGGEST: Manual = Manual {
    about: "\
Prints a whole policy.yaml that allows the calls which were allowed, and nothing else: review it \
before you use it. What records cannot say, such as the digest of a token, is left for you to fill in. Calls \
that the cloud refused do not count.",
    files: &[
        ("AUDIT", "Audit records, as `policy replay` reads them."),
        (PROXY_YAML, "For the names of projects; without it rules name their ids."),
    ],
    exits: &[
        (0, "The policy is printed."),
        (1, "The records have no allowed call, or cannot be read."),
        (78, "The configuration is not valid."),
    ],
    examples: "\
Find the least policy for the recorded calls
$ mpc-auth-proxy policy suggest audit.log --config proxy.yaml > least-policy.yaml
Print the identity policy that the proxy's own key needs too
$ mpc-auth-proxy policy suggest audit.log --format json",
};
