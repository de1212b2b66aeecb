//! Hints: what to do about a failure. One answer for each way in which a source or an endpoint fails.

use std::io;

use crate::{
    credential::ProvideError,
    upstream::{DialError, InvalidAnswer, ProxyError, SendError},
};

/// What to do about a source of this kind that gave nothing.
pub(super) fn of_source(kind: &'static str, error: &ProvideError) -> String {
    match error {
        ProvideError::Unset(name) => {
            format!("set {name} where the proxy runs; this command sees its own environment only")
        }
        ProvideError::Variable(name, _) => format!("correct {name}; this command sees its own environment only"),
        ProvideError::Unreadable { path, source } if source.kind() == io::ErrorKind::NotFound => {
            format!("make {}, or correct its path", path.display())
        }
        ProvideError::Unreadable { path, .. } => {
            format!("let the proxy's user read {}, and run this command as that user", path.display())
        }
        ProvideError::Empty { path } => format!("write the value into {}", path.display()),
        ProvideError::ProviderId => "correct `idp_id`: it is one line of ASCII".into(),
        ProvideError::File { path, .. } => {
            format!("correct {}: docs/CREDENTIALS.md says what belongs into it", path.display())
        }
        ProvideError::Unsettled(_) => "run this command again when whoever writes it has finished".into(),
        ProvideError::Key { .. } => "copy the access key and the secret key anew, without quotes or spaces".into(),
        ProvideError::Unanswered { source, .. } => of_sending(source),
        ProvideError::Refused { status, .. } => of_refusal(kind, *status),
        ProvideError::WrongPassword { .. } => {
            "correct `domain`, `user` or the password file before anything else asks: five wrong ones lock the \
             user for 15 minutes, and each run of this command is one of them"
                .into()
        }
        ProvideError::Unusable { endpoint, .. } => {
            format!("find out who answers at {endpoint}: it is not the service that is meant")
        }
        ProvideError::Expired => "set this machine's clock; if it is right, ask whoever runs the source".into(),
        ProvideError::NoAgency => {
            "create an agency for ECS that may do `mpc:editingTask:delete`, and choose it in the instance's settings"
                .into()
        }
        ProvideError::Base(base) => format!("see the credential {base}: it must be an access key that works"),
        ProvideError::Dialer(_) => "correct the endpoint, or the variable that names the egress proxy".into(),
        ProvideError::Nowhere(_) => {
            "make one of these sources available, or name the right one in place of `auto`".into()
        }
    }
}

/// What to do about an endpoint that hands out credentials and refused to.
fn of_refusal(kind: &'static str, status: u16) -> String {
    let hint = match (status, kind) {
        (404 | 405, _) => "correct the endpoint: what answers there has no such API",
        (429 | 500..=599, _) => "it is their trouble: try again later",
        (_, "oidc" | "profile") => {
            "is the identity token fresh, and issued by and for whom the identity provider in IAM expects?"
        }
        (_, "oidc_sts") => {
            "is the identity token fresh, are both URNs right, and does the agency trust this provider?"
        }
        (_, "agency") => {
            "may the base credential do `sts:agencies:assume`, is its key right, and does the agency trust its account?"
        }
        (_, "pod_identity") => "is the pod's service account associated with an agency in CCE?",
        (_, "metadata") => "is there an agency in the settings of this ECS instance?",
        _ => "look its code up in Huawei's documentation of IAM and STS",
    };
    hint.into()
}

/// What to do about an endpoint that could not be talked to.
pub(super) fn of_sending(error: &SendError) -> String {
    let hint = match error {
        SendError::Dial(error) => return of_dialling(error),
        SendError::Unsent | SendError::Stale | SendError::Closed => {
            "find out what closes the connection: the endpoint, or a firewall on the way"
        }
        SendError::Timeout => "try again; if it stays silent, something on the way swallows what is sent",
        SendError::Invalid(InvalidAnswer::Malformed) => {
            "correct the endpoint: what answers there does not speak HTTP/1.1"
        }
        SendError::Invalid(InvalidAnswer::Status) => {
            "correct the endpoint: what answers there sends callers elsewhere"
        }
        SendError::Invalid(InvalidAnswer::Cut | InvalidAnswer::TooLarge | InvalidAnswer::Encoded) => {
            "find out who answers there: it is no API of Huawei's"
        }
    };
    hint.into()
}

/// What to do about an endpoint that no connection leads to.
pub(super) fn of_dialling(error: &DialError) -> String {
    let hint = match error {
        DialError::Dns(_) => CHECK_NAME,
        DialError::Connect(_) | DialError::Timeout => {
            "let it through: firewall, security group or network policy; or name the way out as `upstream.proxy`"
        }
        DialError::Proxy(error) => return of_proxy(error),
        DialError::Tls(_) => {
            "see the check `tls` of this endpoint, or compare the certificate with the endpoint's name"
        }
        DialError::Useless => "find out who listens there: it closes connections, or speaks first",
    };
    hint.into()
}

fn of_proxy(error: &ProxyError) -> String {
    let hint = match error {
        ProxyError::Unreachable(error) => return format!("of the egress proxy: {}", of_dialling(error)),
        ProxyError::Credentials => {
            "put its user and password into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT"
        }
        ProxyError::Refused(_) => "let it `CONNECT` to this host and port, or exempt the host with NO_PROXY",
        ProxyError::Closed | ProxyError::Malformed | ProxyError::Timeout => {
            "is this an HTTP proxy that speaks `CONNECT`, on the right port?"
        }
    };
    hint.into()
}

/// What to do about a host whose name means nothing here.
pub(super) const CHECK_NAME: &str = "is the name right, and can this machine's DNS resolve names outside?";
