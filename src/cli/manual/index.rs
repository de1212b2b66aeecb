//! The manual of each command, by its path.

use super::{configuration, entry::Manual, generated, operators, policy, proxy, trying};

/// What a command with this path says, such as `policy explain`.
pub(super) fn manual(path: &str) -> Option<&'static Manual> {
    Some(match path {
        "" => &proxy::OVERVIEW,
        "run" => &proxy::RUN,
        "wait" => &proxy::WAIT,
        "shutdown" => &proxy::SHUTDOWN,
        "demo" => &trying::DEMO,
        "testserver" => &trying::TESTSERVER,
        "sign" => &trying::SIGN,
        "check" => &configuration::CHECK,
        "doctor" => &configuration::DOCTOR,
        "config" => &configuration::CONFIG,
        "config schema" => &configuration::SCHEMA,
        "policy" => &policy::POLICY,
        "policy explain" => &policy::EXPLAIN,
        "policy test" => &policy::TEST,
        "policy replay" => &policy::REPLAY,
        "policy suggest" => &policy::SUGGEST,
        "freeze" => &operators::FREEZE,
        "unfreeze" => &operators::UNFREEZE,
        "reload" => &operators::RELOAD,
        "status" => &operators::STATUS,
        "completions" => &generated::COMPLETIONS,
        "man" => &generated::MAN,
        _ => return None,
    })
}
