//! Condition keys. Its keys, named as in Huawei's IAM where IAM has them, and the facts of its job.

use std::borrow::Cow;

use super::super::facts::{Facts, Part, Side, Values};
use super::super::{Call, Fact, UnknownReason, moment::spell_moment};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `g:CurrentTime`: when the call came in.
    CurrentTime,
    /// `g:SourceIp`: the address it came from. A call on a Unix socket has none.
    SourceIp,
    /// `mpc:ProjectId`: the project's id, never its name.
    ProjectId,
    /// `mpc:JobId`: the job's id. A job that is about to be created has none.
    JobId,
    /// `proxy:Caller`: who calls.
    Caller,
    /// `proxy:Listener`: the listener it came in on.
    Listener,
    /// `proxy:IdentifiedBy`: the kind of proof that identified the caller.
    IdentifiedBy,
    /// `mpc:UserData`: the word that whoever created the job left on it.
    UserData,
    /// `mpc:JobStatus`: how far the job is.
    JobStatus,
    /// `mpc:EditType`: the kinds of edit it is.
    EditType,
    /// `mpc:Input`: what it reads, as `BUCKET/OBJECT`.
    Input,
    /// `mpc:InputBucket`: the buckets of that.
    InputBucket,
    /// `mpc:InputObject`: the objects of that, without their buckets.
    InputObject,
    /// `mpc:Output`: what it writes, as `BUCKET/OBJECT`.
    Output,
    /// `mpc:OutputBucket`: the buckets of that.
    OutputBucket,
    /// `mpc:OutputObject`: the objects of that, without their buckets.
    OutputObject,
}

/// A few keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys(u32);

/// What kind of value a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Time,
    Address,
}

/// What is known of a job for a key that is a fact of it.
pub(super) enum Found<'f> {
    One(Fact<&'f str>),
    Several(Fact<Values<'f>>),
}

impl Key {
    /// Every key there is.
    pub const ALL: [Self; 16] = [
        Self::CurrentTime,
        Self::SourceIp,
        Self::ProjectId,
        Self::JobId,
        Self::Caller,
        Self::Listener,
        Self::IdentifiedBy,
        Self::UserData,
        Self::JobStatus,
        Self::EditType,
        Self::Input,
        Self::InputBucket,
        Self::InputObject,
        Self::Output,
        Self::OutputBucket,
        Self::OutputObject,
    ];

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
            Self::Caller => "proxy:Caller",
            Self::Listener => "proxy:Listener",
            Self::IdentifiedBy => "proxy:IdentifiedBy",
            Self::UserData => "mpc:UserData",
            Self::JobStatus => "mpc:JobStatus",
            Self::EditType => "mpc:EditType",
            Self::Input => "mpc:Input",
            Self::InputBucket => "mpc:InputBucket",
            Self::InputObject => "mpc:InputObject",
            Self::Output => "mpc:Output",
            Self::OutputBucket => "mpc:OutputBucket",
            Self::OutputObject => "mpc:OutputObject",
        }
    }

    /// Whether it is a fact of the job, and no part of the call.
    pub fn is_fact(self) -> bool {
        match self {
            Self::CurrentTime
            | Self::SourceIp
            | Self::ProjectId
            | Self::JobId
            | Self::Caller
            | Self::Listener
            | Self::IdentifiedBy => false,
            Self::UserData | Self::JobStatus => true,
            Self::EditType
            | Self::Input
            | Self::InputBucket
            | Self::InputObject
            | Self::Output
            | Self::OutputBucket
            | Self::OutputObject => true,
        }
    }

    /// Whether it may have several values.
    pub fn has_several(self) -> bool {
        self.is_fact() && !matches!(self, Self::UserData | Self::JobStatus)
    }

    /// Whether the v2 answer of a view carries it. That of v1 carries every fact.
    pub fn is_in_v2(self) -> bool {
        !self.has_several()
    }

    /// What the call has for it, as text to show, `, ` between several. `None` where it has none, or that is not known.
    pub fn shown<'c>(self, call: &Call<'c>, project_id: &'c str) -> Option<Cow<'c, str>> {
        match (self.found(call.facts), self.kind()) {
            (Some(Found::One(Fact::Known(text))), _) => Some(text.into()),
            (Some(Found::Several(Fact::Known(texts))), _) => {
                Some(texts.collect::<Vec<_>>().join(", ").into())
            }
            (Some(_), _) => None,
            (None, Kind::Text) => self.text(call, project_id).map(Cow::Borrowed),
            (None, Kind::Time) => Some(spell_moment(call.at).into()),
            (None, Kind::Address) => call.source_ip.map(|address| address.to_canonical().to_string().into()),
        }
    }

    /// What a job has for it, value by value: none where the job has none. `None` where that is not known, or it is no
    /// fact of a job.
    pub fn known_values(self, facts: &Facts) -> Option<Vec<&str>> {
        match self.found(facts)? {
            Found::One(Fact::Known(text)) => Some(vec![text]),
            Found::Several(Fact::Known(texts)) => Some(texts.collect()),
            Found::One(Fact::Absent) | Found::Several(Fact::Absent) => Some(Vec::new()),
            Found::One(Fact::Unknown(_)) | Found::Several(Fact::Unknown(_)) => None,
        }
    }

    /// Why it is not known of a job. `None` where it is, or it is no fact of a job.
    pub fn why_unknown(self, facts: &Facts) -> Option<UnknownReason> {
        match self.found(facts)? {
            Found::One(Fact::Unknown(why)) | Found::Several(Fact::Unknown(why)) => Some(why),
            Found::One(_) | Found::Several(_) => None,
        }
    }

    /// The call's text for it. `None` where it has none, and for a key that is not text or not the call's.
    pub(super) fn text<'c>(self, call: &Call<'c>, project_id: &'c str) -> Option<&'c str> {
        match self {
            Self::ProjectId => Some(project_id),
            Self::JobId => call.job,
            Self::Caller => Some(call.caller.as_str()),
            Self::Listener => call.listener,
            Self::IdentifiedBy => call.identified_by,
            Self::CurrentTime
            | Self::SourceIp
            | Self::UserData
            | Self::JobStatus
            | Self::EditType
            | Self::Input
            | Self::InputBucket
            | Self::InputObject
            | Self::Output
            | Self::OutputBucket
            | Self::OutputObject => None,
        }
    }

    /// What is known of the job for it. `None` where it is no fact of the job.
    pub(super) fn found(self, facts: &Facts) -> Option<Found<'_>> {
        match self {
            Self::UserData => Some(Found::One(facts.user_data())),
            Self::JobStatus => Some(Found::One(facts.status())),
            Self::EditType => Some(Found::Several(facts.edit_type())),
            Self::CurrentTime
            | Self::SourceIp
            | Self::ProjectId
            | Self::JobId
            | Self::Caller
            | Self::Listener
            | Self::IdentifiedBy
            | Self::Input
            | Self::InputBucket
            | Self::InputObject
            | Self::Output
            | Self::OutputBucket
            | Self::OutputObject => {
                self.objects().map(|(side, part)| Found::Several(facts.objects(side, part)))
            }
        }
    }

    /// Which objects of a job it is about, and what of them. `None` where it is about none.
    pub(in crate::policy) fn objects(self) -> Option<(Side, Part)> {
        match self {
            Self::Input => Some((Side::Input, Part::Path)),
            Self::InputBucket => Some((Side::Input, Part::Bucket)),
            Self::InputObject => Some((Side::Input, Part::Object)),
            Self::Output => Some((Side::Output, Part::Path)),
            Self::OutputBucket => Some((Side::Output, Part::Bucket)),
            Self::OutputObject => Some((Side::Output, Part::Object)),
            Self::CurrentTime
            | Self::SourceIp
            | Self::ProjectId
            | Self::JobId
            | Self::Caller
            | Self::Listener
            | Self::IdentifiedBy
            | Self::UserData
            | Self::JobStatus
            | Self::EditType => None,
        }
    }

    /// Whether the call has it. Asked of what is no fact of the job.
    pub(super) fn is_present(self, call: &Call<'_>) -> bool {
        match self.kind() {
            Kind::Time => true,
            Kind::Address => call.source_ip.is_some(),
            Kind::Text => self.text(call, "").is_some(),
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::CurrentTime => Kind::Time,
            Self::SourceIp => Kind::Address,
            Self::ProjectId
            | Self::JobId
            | Self::Caller
            | Self::Listener
            | Self::IdentifiedBy
            | Self::UserData
            | Self::JobStatus
            | Self::EditType
            | Self::Input
            | Self::InputBucket
            | Self::InputObject
            | Self::Output
            | Self::OutputBucket
            | Self::OutputObject => Kind::Text,
        }
    }
}

impl Found<'_> {
    /// Whether the job has it. `None`: nobody knows.
    pub(super) fn is_present(&self) -> Option<bool> {
        match self {
            Self::One(Fact::Known(_)) | Self::Several(Fact::Known(_)) => Some(true),
            Self::One(Fact::Absent) | Self::Several(Fact::Absent) => Some(false),
            Self::One(Fact::Unknown(_)) | Self::Several(Fact::Unknown(_)) => None,
        }
    }
}

impl Keys {
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether this is one of them.
    pub fn contains(self, key: Key) -> bool {
        self.0 & Self::from(key).0 != 0
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Each of them, in the order of [`Key::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Key> {
        Key::ALL.into_iter().filter(move |key| self.contains(*key))
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        Self(1 << key as u32)
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        keys.into_iter().map(Self::from).fold(Self::NONE, Self::and)
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
