//! The manuals of the commands that examine a configuration.

use super::{
    entry::Manual,
    proxy::{POLICY_YAML, PROXY_YAML},
};

pub(super) const CHECK: Manual = Manual {
    about: "\
Reads what `run` would read, in the same way, but binds, writes and sends nothing. Prints all problems \
to standard error, each with its place and what to do. If there is no error, standard output says \
what would run here: listeners and callers, projects and credentials, where it connects \
to, where records and the log go, the limits as this machine allows them, and the sandbox.

A warning marks what works but is probably not intended, or what will fail at run time.",
    files: &[
        (PROXY_YAML, "The configuration."),
        (POLICY_YAML, "The policy, and every file that either one names."),
    ],
    exits: &[
        (0, "The configuration is valid."),
        (1, "With --strict: valid, with warnings."),
        (78, "The configuration, the policy or the environment is not valid."),
    ],
    examples: "\
Check a configuration
$ mpc-auth-proxy check --config proxy.yaml
Fail a pipeline on warnings too
$ mpc-auth-proxy check --config proxy.yaml --strict",
};

pub(super) const DOCTOR: Manual = Manual {
    about: "\
Tests what `check` only reads: the source of each credential, each endpoint, file permissions, the \
clock, and the running proxy. Run it where the proxy runs, as the same user. Each problem comes with \
a remedy.

It makes no call to MPC by default: --try-credentials sends one harmless view for each \
project, and --contract creates, views and cancels three small jobs of your own.",
    files: &[
        (PROXY_YAML, "The configuration, and all files that it names."),
        ("admin.bind", "The address of the running proxy."),
    ],
    exits: &[
        (0, "Calls would work, perhaps with warnings."),
        (1, "A problem would make calls fail."),
        (78, "The configuration or the environment is not valid."),
    ],
    examples: "\
Find out why calls fail
$ mpc-auth-proxy doctor --config proxy.yaml
See whether MPC takes the credential of each project
$ mpc-auth-proxy doctor --config proxy.yaml --try-credentials
Compare MPC with what this program expects
$ mpc-auth-proxy doctor --config proxy.yaml --contract --project media-prod --input media-in/short.mp4 --output media-out/doctor/ --location cn-north-4 --yes",
};

pub(super) const CONFIG: Manual = Manual {
    about: "What the files of the configuration may say. docs/CONFIGURATION.md lists every key.",
    files: &[],
    exits: &[(0, "Done.")],
    examples: "\
Print the schema of proxy.yaml
$ mpc-auth-proxy config schema",
};

pub(super) const SCHEMA: Manual = Manual {
    about: "\
An editor that speaks to yaml-language-server (VS Code, Neovim, Helix, IntelliJ) completes and checks \
a file whose first line names its schema. `check` knows more than any schema can say.",
    files: &[],
    exits: &[(0, "The schema is printed.")],
    examples: "\
Write the schema of proxy.yaml
$ mpc-auth-proxy config schema > proxy.schema.json
Write the schema of policy.yaml
$ mpc-auth-proxy config schema policy > policy.schema.json
Name the schema in a file
$ sed -i '1i # yaml-language-server: $schema=policy.schema.json' policy.yaml",
};
