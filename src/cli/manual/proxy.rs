//! The program as a whole, with what is generated from all of it, and the commands that start the proxy, wait for it and
//! stop it.

use super::entry::Manual;
use crate::cli::exit;

pub(super) const OVERVIEW: Manual = Manual {
    about: "\
Callers send unsigned HTTP. The proxy authenticates them, applies a local policy, builds a new request \
and signs it with the company's key, and writes one audit record for each request.

Start with `mpc-auth-proxy demo`, which needs no account. Each command has a manual: \
`mpc-auth-proxy COMMAND --help`, or the page `mpc-auth-proxy-COMMAND(1)`.

Options that take their value from an environment variable name it; the command line wins over the \
environment, and the environment over proxy.yaml. An empty variable counts as unset.",
    files: &[
        (PROXY_YAML, "The configuration. `--config` or MPC_AUTH_PROXY_CONFIG names it; there is no default."),
        (POLICY_YAML, "The callers and the rules. proxy.yaml names it."),
    ],
    exits: &exit::ALL,
    examples: "\
See a complete demo on this machine
$ mpc-auth-proxy demo --once
Check a configuration, and show what would run
$ mpc-auth-proxy check --config proxy.yaml
Read the manual of a command
$ mpc-auth-proxy policy explain --help",
};

pub(super) const RUN: Manual = Manual {
    about: "\
Reads the configuration, restricts itself to the files that it names, binds the listeners and serves \
until it is asked to stop. Audit records go to standard output or to the file that `audit.sink` \
names; the log goes to standard error.

SIGTERM and SIGINT stop it: it finishes what it has accepted, within `drain.timeout`. A second one, \
half a second later or more, ends it at once. SIGHUP makes it read its configuration again and reopen \
the audit file. Changed files are also picked up without a signal.",
    files: &[
        (PROXY_YAML, "The configuration. Changing most sections requires a restart."),
        (POLICY_YAML, "The policy, and the secret and key files that it names: reloaded when they change."),
        ("audit.sink", "The audit file, locked by this process while it runs."),
        ("freeze_file", "Keeps an operator's freeze across restarts."),
        ("admin.bind", "The Unix socket for `freeze`, `unfreeze`, `reload`, `status` and `shutdown`."),
    ],
    exits: &[
        (0, "It was stopped, after answering and recording everything that it had accepted."),
        (1, "A runtime failure, or too few threads or descriptors."),
        (3, "It stopped before everything was answered and recorded."),
        (4, "An address cannot be bound."),
        (5, "A credential is missing, and --require-credentials was given."),
        (
            78,
            "The configuration or policy is invalid, another process holds the audit file, or standard output is closed.",
        ),
    ],
    examples: "\
Serve until SIGTERM
$ mpc-auth-proxy run --config proxy.yaml
Do not start without credentials, and log as JSON
$ mpc-auth-proxy run --config proxy.yaml --require-credentials --log-format json
Set the options in the environment, as containers do
$ MPC_AUTH_PROXY_CONFIG=proxy.yaml MPC_AUTH_PROXY_LOG_LEVEL=warn mpc-auth-proxy run",
};

pub(super) const WAIT: Manual = Manual {
    about: "\
Asks `/readyz` at the address of `ops` ten times a second, and returns when the proxy is ready. For \
containers that have no shell and no curl.",
    files: &[(PROXY_YAML, "Only `ops` is read; the rest need not be valid.")],
    exits: &[(0, "The proxy is ready."), (1, "It was not ready in time, or the configuration has no `ops`.")],
    examples: "\
Wait for 30 seconds at most
$ mpc-auth-proxy wait --config proxy.yaml --timeout 30",
};

pub(super) const SHUTDOWN: Manual = Manual {
    about: "\
Does what SIGTERM does, over the admin socket, and returns as soon as the proxy has begun to drain. \
For `preStop` hooks of containers that have no shell.",
    files: &[(PROXY_YAML, ADMIN_IS_READ)],
    exits: &[(0, "The proxy is draining."), (1, CANNOT_BE_ASKED)],
    examples: "\
Stop the proxy
$ mpc-auth-proxy shutdown --config proxy.yaml",
};

pub(super) const COMPLETIONS: Manual = Manual {
    about: "Put what it prints where your shell looks for completions.",
    files: &[],
    exits: &[(0, "The completions are printed.")],
    examples: "\
For bash
$ mpc-auth-proxy completions bash > mpc-auth-proxy.bash
For zsh
$ mpc-auth-proxy completions zsh > _mpc-auth-proxy",
};

pub(super) const MAN: Manual = Manual {
    about: "\
Prints the page of the program as a whole. With --out it writes that page and one for each command, \
such as mpc-auth-proxy-policy-explain.1, into a folder.",
    files: &[("DIR/mpc-auth-proxy*.1", "The pages, with --out.")],
    exits: &[(0, "The pages are written."), (1, "The folder cannot be made, or a page not be written.")],
    examples: "\
Write all pages
$ mpc-auth-proxy man --out man1
Print the page of the program
$ mpc-auth-proxy man > mpc-auth-proxy.1",
};

pub(super) const PROXY_YAML: &str = "proxy.yaml";
pub(super) const POLICY_YAML: &str = "policy.yaml";
pub(super) const ADMIN_IS_READ: &str =
    "Only `admin` is read, which names the socket; the rest need not be valid.";
pub(super) const CANNOT_BE_ASKED: &str =
    "The proxy cannot be reached: it is not running, or has no admin socket.";
