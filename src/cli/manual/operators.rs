//! The manuals of the operators' commands.

use super::{
    entry::Manual,
    proxy::{ADMIN_IS_READ, CANNOT_BE_ASKED, PROXY_YAML},
};

pub(super) const FREEZE: Manual = Manual {
    about: "\
Refuses every call, or every call of the named callers, with 503 PROXY.Frozen until `unfreeze`. \
Views pass. The freeze is in force when this command returns, whatever the disk and the audit sink do.

It survives a restart if `freeze_file` is configured; otherwise the answer says that it does not. \
Who asked, and the reason, are shown by `status` and written to the audit records.",
    files: &[(PROXY_YAML, ADMIN_IS_READ), ("freeze_file", "The running proxy keeps the freeze there.")],
    exits: &[(0, "The freeze is in force."), (1, "The proxy cannot be reached, or a caller is unknown.")],
    examples: "\
Refuse all calls
$ mpc-auth-proxy freeze --config proxy.yaml --reason 'ticket MEDIA-1411'
Refuse the calls of one caller
$ mpc-auth-proxy freeze --config proxy.yaml --caller editor-api",
};

pub(super) const UNFREEZE: Manual = Manual {
    about: "\
Lifts operators' freezes, for everybody or for the named callers. A freeze that something else wrote \
into `freeze_file` stays, and is named: remove that file. Single callers cannot be taken out of a \
freeze of everybody.",
    files: &[(PROXY_YAML, ADMIN_IS_READ), ("freeze_file", "The running proxy removes what it wrote there.")],
    exits: &[
        (0, "None of those callers is frozen any more."),
        (1, "One of them is still frozen, or the proxy cannot be reached."),
    ],
    examples: "\
Lift a freeze of everybody
$ mpc-auth-proxy unfreeze --config proxy.yaml
Lift the freeze of one caller
$ mpc-auth-proxy unfreeze --config proxy.yaml --caller editor-api",
};

pub(super) const RELOAD: Manual = Manual {
    about: "\
The running proxy reads its configuration, its policy and the files that they name, and applies all \
of it or nothing. The command waits for that, and prints the hash of the policy in force or \
every reason why nothing has changed. Changed files are also picked up without it.",
    files: &[(PROXY_YAML, "Only `admin` is read here. The running proxy reads all of it.")],
    exits: &[
        (0, "The files' content is in force."),
        (1, "It was refused, a file is still being written, or the proxy cannot be reached."),
    ],
    examples: "\
Apply a changed policy
$ mpc-auth-proxy reload --config proxy.yaml",
};

pub(super) const STATUS: Manual = Manual {
    about: "\
Prints whether the proxy is ready, and if not, why: credentials, circuit breakers, freezes, the \
audit sink, a reload that is pending or was refused; and the latest decisions. Problems are in \
capitals.",
    files: &[(PROXY_YAML, ADMIN_IS_READ)],
    exits: &[(0, "The proxy answered, ready or not."), (1, CANNOT_BE_ASKED)],
    examples: "\
Show the proxy's state
$ mpc-auth-proxy status --config proxy.yaml
Print the full state as JSON
$ mpc-auth-proxy status --config proxy.yaml --format json",
};
