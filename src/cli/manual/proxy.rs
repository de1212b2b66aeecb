//! The program as a whole, and its commands that start the proxy, wait for it and stop it.

use super::entry::{Manual, example};
use crate::cli::exit;

pub(super) const OVERVIEW: Manual = Manual {
    about: "\
Callers send unsigned HTTP. The proxy proves who they are, asks a local policy, builds a new request \
and signs it with the company's key, and writes one audit record for each request.

Start with `mpc-auth-proxy demo`, which needs no account. Each command has a manual: \
`mpc-auth-proxy COMMAND --help`, or the page `mpc-auth-proxy-COMMAND(1)`.

Options that take their value from an environment variable name it; the command line wins over the \
environment, and the environment over proxy.yaml. A variable that is set to nothing counts as not set.",
    files: &[
        (PROXY_YAML, "The configuration. `--config` or MPC_AUTH_PROXY_CONFIG names it; there is no default."),
        (POLICY_YAML, "The callers and the rules. proxy.yaml names it."),
    ],
    exits: &exit::ALL,
    examples: &[
        example("Watch everything at work on this machine", "mpc-auth-proxy demo --once"),
        example(
            "See whether a configuration is valid, and what would run",
            "mpc-auth-proxy check --config proxy.yaml",
        ),
        example("Read the manual of a command", "mpc-auth-proxy policy explain --help"),
    ],
};

pub(super) const RUN: Manual = Manual {
    about: "\
Reads the configuration, confines itself to the files that it names, binds the listeners and serves \
until it is asked to stop. Audit records go to standard output or to the file that `audit.sink` \
names; the log goes to standard error.

SIGTERM and SIGINT stop it: it finishes what it has accepted, within `drain.timeout`. A second one, \
half a second later or more, ends it at once. SIGHUP makes it read its configuration again and reopen \
the audit file. Changed files are also picked up without a signal.",
    files: &[
        (PROXY_YAML, "The configuration. A change of most sections takes a restart."),
        (
            POLICY_YAML,
            "The policy, and the files of secrets and keys that it names: taken as soon as they change.",
        ),
        ("audit.sink", "The audit file, locked by this process while it runs."),
        ("freeze_file", "Where an operator's freeze is kept, so that it survives a restart."),
        ("admin.bind", "The Unix socket for `freeze`, `unfreeze`, `reload`, `status` and `shutdown`."),
    ],
    exits: &[
        (0, "It was asked to stop, and answered and recorded everything that it had accepted."),
        (1, "It failed while it ran, or the system gave it too few threads or descriptors."),
        (2, "The command line is wrong."),
        (3, "It ended before everything was answered and recorded."),
        (4, "An address cannot be bound."),
        (5, "A credential is missing, and --require-credentials was given."),
        (
            78,
            "The configuration or the policy is not valid, another process holds the audit file, or standard output is closed.",
        ),
    ],
    examples: &[
        example("Serve until SIGTERM", "mpc-auth-proxy run --config proxy.yaml"),
        example(
            "Do not start without credentials, and log as JSON",
            "mpc-auth-proxy run --config proxy.yaml --require-credentials --log-format json",
        ),
        example(
            "Take the options from the environment, as containers do",
            "MPC_AUTH_PROXY_CONFIG=proxy.yaml MPC_AUTH_PROXY_LOG_LEVEL=warn mpc-auth-proxy run",
        ),
    ],
};

pub(super) const WAIT: Manual = Manual {
    about: "\
Asks `/readyz` at the address of `ops` ten times a second, and returns when the proxy is ready. For \
containers that have no shell and no curl.",
    files: &[(PROXY_YAML, "Only `ops` is read; the rest need not be valid.")],
    exits: &[
        (0, "The proxy is ready."),
        (1, "It was not ready in time, or the configuration has no `ops`."),
        (2, "The command line is wrong."),
    ],
    examples: &[example(
        "Wait for 30 seconds at most",
        "mpc-auth-proxy wait --config proxy.yaml --timeout 30",
    )],
};

pub(super) const SHUTDOWN: Manual = Manual {
    about: "\
Does what SIGTERM does, over the admin socket, and returns as soon as the proxy has begun to drain. \
For `preStop` hooks of containers that have no shell.",
    files: &[(PROXY_YAML, ADMIN_IS_READ)],
    exits: &[(0, "The proxy is draining."), (1, CANNOT_BE_ASKED), (2, "The command line is wrong.")],
    examples: &[example("Stop the proxy", "mpc-auth-proxy shutdown --config proxy.yaml")],
};

pub(super) const PROXY_YAML: &str = "proxy.yaml";
pub(super) const POLICY_YAML: &str = "policy.yaml";
pub(super) const ADMIN_IS_READ: &str =
    "Only `admin` is read, which names the socket; the rest need not be valid.";
pub(super) const CANNOT_BE_ASKED: &str =
    "The proxy cannot be asked: it does not run, or there is no admin socket.";
