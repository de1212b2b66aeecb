//! Hints: what to do about each failure of a source or an endpoint.

use std::io;

use crate::{
    credential::ProvideError,
    upstream::{DialError, InvalidAnswer, ProxyError, SendError},
};

/// Returns the hint for a source that failed.
pub(super) fn of_source(kind: &'static str, error: &ProvideError) -> String {
    match error {
        ProvideError::Unset(name) => {
            format!("set {name} for the proxy; this command sees only its own environment")
        }
        ProvideError::Variable(name, _) => format!("correct {name}; this command sees only its own environment"),
        ProvideError::Unreadable { path, source } if source.kind() == io::ErrorKind::NotFound => {
            format!("create {}, or correct its path", path.display())
        }
        ProvideError::Unreadable { path, .. } => {
            format!("make {} readable by the proxy's user, and run this as that user", path.display())
        }
        ProvideError::Empty(path) => format!("write the value into {}", path.display()),
        ProvideError::ProviderId => "correct `idp_id`: it is one line of ASCII".into(),
        ProvideError::File { path, .. } => {
            format!("correct {}: docs/CREDENTIALS.md describes its content", path.display())
        }
        ProvideError::Unsettled(_) => "run this command again when its writer has finished".into(),
        ProvideError::Key { .. } => "copy the access key and secret key again, without quotes or spaces".into(),
        ProvideError::Unanswered { source, .. } => of_sending(source),
        ProvideError::Refused { status, .. } => of_refusal(kind, *status),
        ProvideError::WrongPassword(_) => {
            "correct `domain`, `user` or the password file before the next attempt: five wrong ones lock the \
             user for 15 minutes, and each run of this command is one of them"
                .into()
        }
        ProvideError::Unusable { endpoint, .. } => {
            format!("find out what answers at {endpoint}: it is not the expected service")
        }
        ProvideError::Expired => "set this machine's clock; if it is right, ask the source's operator".into(),
        ProvideError::NoAgency => {
            "create an agency for ECS that may do `mpc:editingTask:delete`, and choose it in the instance's settings"
                .into()
        }
        ProvideError::Base(base) => format!("check the credential {base}: it must be a working access key"),
        ProvideError::Dialer(_) => "correct the endpoint, or the egress proxy's variable".into(),
        ProvideError::Nowhere(_) => {
            "make one of these sources available, or replace `auto` with the right one".into()
        }
    }
}

/// Returns the hint for an endpoint that refused to issue a credential.
fn of_refusal(kind: &'static str, status: u16) -> String {
    let hint = match (status, kind) {
        (404 | 405, _) => "correct the endpoint: it has no such API",
        (429 | 500..=599, _) => "server-side problem: try again later",
        (_, "oidc" | "profile") => {
            "check that the identity token is fresh, and has the issuer and audience that IAM's provider expects"
        }
        (_, "oidc_sts") => {
            "check that the identity token is fresh, both URNs are right, and the agency trusts this provider"
        }
        (_, "agency") => {
            "check that the base credential's key is right and allows `sts:agencies:assume`, and that the agency trusts its account"
        }
        (_, "pod_identity") => "associate the pod's service account with an agency in CCE",
        (_, "metadata") => "set an agency for this ECS instance",
        _ => "look up its code in Huawei's IAM and STS documentation",
    };
    hint.into()
}

/// Returns the hint for an endpoint that could not be asked.
pub(super) fn of_sending(error: &SendError) -> String {
    let hint = match error {
        SendError::Dial(error) => return of_dialling(error),
        SendError::Unsent | SendError::Stale | SendError::Closed => {
            "find out what closes the connection: the endpoint, or a firewall on the path"
        }
        SendError::Timeout => "try again; if it stays silent, something on the path drops requests",
        SendError::Invalid(InvalidAnswer::Malformed) => "correct the endpoint: it does not speak HTTP/1.1",
        SendError::Invalid(InvalidAnswer::Status) => "correct the endpoint: it redirects",
        SendError::Invalid(InvalidAnswer::Cut | InvalidAnswer::TooLarge | InvalidAnswer::Encoded) => {
            "find out what answers there: it is not a Huawei API"
        }
    };
    hint.into()
}

/// Returns the hint for an endpoint that cannot be connected to.
pub(super) fn of_dialling(error: &DialError) -> String {
    let hint = match error {
        DialError::Dns(_) => CHECK_NAME,
        DialError::Connect(_) | DialError::Timeout => {
            "allow it in the firewall, security group or network policy, or set `upstream.proxy`"
        }
        DialError::Proxy(error) => return of_proxy(error),
        DialError::Tls(_) => {
            "see this endpoint's `tls` check, or compare the certificate with the endpoint's name"
        }
        DialError::Useless => "find out what listens there: it closes connections, or sends data first",
    };
    hint.into()
}

fn of_proxy(error: &ProxyError) -> String {
    let hint = match error {
        ProxyError::Unreachable(error) => return format!("of the egress proxy: {}", of_dialling(error)),
        ProxyError::Credentials => "set its user and password in HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT",
        ProxyError::Refused(_) => "allow `CONNECT` to this host and port, or exempt the host with NO_PROXY",
        ProxyError::Closed | ProxyError::Malformed | ProxyError::Timeout => {
            "check that this is an HTTP proxy that supports `CONNECT`, on the right port"
        }
    };
    hint.into()
}

/// The hint for a host name that does not resolve.
pub(super) const CHECK_NAME: &str = "check the name, and that this machine's DNS resolves external names";
