//! What of a call can a condition compare? Its keys, named as in Huawei's IAM where IAM has them.

use std::borrow::Cow;

use super::super::{Call, moment::spell_moment};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `g:CurrentTime`: when the call came in.
    CurrentTime,
    /// `g:SourceIp`: the address it came from. A call on a Unix socket has none.
    SourceIp,
    /// `mpc:ProjectId`: the project's id, never its name.
    ProjectId,
    /// `mpc:JobId`: the job's id.
    JobId,
    /// `proxy:Listener`: the listener it came in on.
    Listener,
    /// `proxy:IdentifiedBy`: the kind of proof that identified the caller.
    IdentifiedBy,
}

/// What kind of value a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Time,
    Address,
}

impl Key {
    /// Every key there is.
    pub const ALL: [Self; 6] =
        [Self::CurrentTime, Self::SourceIp, Self::ProjectId, Self::JobId, Self::Listener, Self::IdentifiedBy];

    /// The key of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text)
    }

    /// As in policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CurrentTime => "g:CurrentTime",
            Self::SourceIp => "g:SourceIp",
            Self::ProjectId => "mpc:ProjectId",
            Self::JobId => "mpc:JobId",
            Self::Listener => "proxy:Listener",
            Self::IdentifiedBy => "proxy:IdentifiedBy",
        }
    }

    /// What the call has for it, as text to show. `None` where it has none.
    pub fn shown<'c>(self, call: &Call<'c>, project_id: &'c str) -> Option<Cow<'c, str>> {
        match self.kind() {
            Kind::Text => self.text(call, project_id).map(Cow::Borrowed),
            Kind::Time => Some(spell_moment(call.at).into()),
            Kind::Address => call.source_ip.map(|address| address.to_canonical().to_string().into()),
        }
    }

    /// The call's text for it. `None` where it has none, and for a key that is not text.
    pub(super) fn text<'c>(self, call: &Call<'c>, project_id: &'c str) -> Option<&'c str> {
        match self {
            Self::ProjectId => Some(project_id),
            Self::JobId => Some(call.job),
            Self::Listener => call.listener,
            Self::IdentifiedBy => call.identified_by,
            Self::CurrentTime | Self::SourceIp => None,
        }
    }

    pub(super) fn is_present(self, call: &Call<'_>) -> bool {
        match self {
            Self::SourceIp => call.source_ip.is_some(),
            Self::Listener => call.listener.is_some(),
            Self::IdentifiedBy => call.identified_by.is_some(),
            Self::CurrentTime | Self::ProjectId | Self::JobId => true,
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::CurrentTime => Kind::Time,
            Self::SourceIp => Kind::Address,
            Self::ProjectId | Self::JobId | Self::Listener | Self::IdentifiedBy => Kind::Text,
        }
    }
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Time => "a time",
            Self::Address => "an address",
        }
    }
}
