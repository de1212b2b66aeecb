//! Condition keys of calls and jobs, named as in Huawei's IAM if IAM has them.

use std::borrow::Cow;

use super::super::facts::{Facts, Part, Side, Values};
use super::super::{Call, Fact, UnknownReason, moment::spell_moment};

/// Declares each key once: its variant, its name in policies, and its subject.
macro_rules! keys {
    ($($(#[doc = $about:literal])+ $Key:ident = $name:literal, $subject:expr;)*) => {
        /// A condition key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Key {
            $(#[doc = concat!("`", $name, "`:")] $(#[doc = $about])+ $Key,)*
        }

        impl Key {
            /// All keys.
            pub const ALL: [Self; [$(stringify!($Key)),*].len()] = [$(Self::$Key,)*];

            /// Returns its name in policies.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Key => $name,)*
                }
            }

            fn subject(self) -> Subject {
                match self {
                    $(Self::$Key => $subject,)*
                }
            }
        }
    };
}

keys! {
    /// When the call arrived.
    CurrentTime = "g:CurrentTime", Subject::Time;
    /// The source address. A call on a Unix socket has none.
    SourceIp = "g:SourceIp", Subject::Address;
    /// The project's id, never its name.
    ProjectId = "mpc:ProjectId", Subject::Text(|_, project_id| Some(project_id));
    /// The job's id. A create has none.
    JobId = "mpc:JobId", Subject::Text(|call, _| call.job);
    /// The caller.
    Caller = "proxy:Caller", Subject::Text(|call, _| Some(call.caller.as_str()));
    /// The listener.
    Listener = "proxy:Listener", Subject::Text(|call, _| call.listener);
    /// The kind of credential that identified the caller.
    IdentifiedBy = "proxy:IdentifiedBy", Subject::Text(|call, _| call.identified_by);
    /// The `user_data` that the job was created with.
    UserData = "mpc:UserData", Subject::Fact(Facts::user_data);
    /// The status of the job.
    JobStatus = "mpc:JobStatus", Subject::Fact(Facts::status);
    /// The job's kinds of edit.
    EditType = "mpc:EditType", Subject::Facts(Facts::edit_type);
    /// The objects it reads, as `BUCKET/OBJECT`.
    Input = "mpc:Input", Subject::Objects(Side::Input, Part::Path);
    /// The buckets it reads from.
    InputBucket = "mpc:InputBucket", Subject::Objects(Side::Input, Part::Bucket);
    /// The objects it reads, without their buckets.
    InputObject = "mpc:InputObject", Subject::Objects(Side::Input, Part::Object);
    /// The objects it writes, as `BUCKET/OBJECT`.
    Output = "mpc:Output", Subject::Objects(Side::Output, Part::Path);
    /// The buckets it writes to.
    OutputBucket = "mpc:OutputBucket", Subject::Objects(Side::Output, Part::Bucket);
    /// The objects it writes, without their buckets.
    OutputObject = "mpc:OutputObject", Subject::Objects(Side::Output, Part::Object);
}

/// Where a key gets its values.
enum Subject {
    /// The call's time.
    Time,
    /// The call's source address.
    Address,
    /// A text of the call or of its project.
    Text(for<'c> fn(&Call<'c>, &'c str) -> Option<&'c str>),
    /// A fact of the job with at most one value.
    Fact(for<'f> fn(&'f Facts) -> Fact<&'f str>),
    /// A fact of the job that may have several values.
    Facts(for<'f> fn(&'f Facts) -> Fact<Values<'f>>),
    /// Objects that the job reads or writes.
    Objects(Side, Part),
}

/// A set of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys(u32);

/// The kind of a key's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Time,
    Address,
}

/// The fact that a job has for a key.
pub(super) enum Found<'f> {
    One(Fact<&'f str>),
    Several(Fact<Values<'f>>),
}

impl Key {
    /// Parses the name of a key.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text)
    }

    /// Whether it is a fact of the job, not a part of the call.
    pub fn is_fact(self) -> bool {
        match self.subject() {
            Subject::Time | Subject::Address | Subject::Text(_) => false,
            Subject::Fact(_) | Subject::Facts(_) | Subject::Objects(..) => true,
        }
    }

    /// Whether it may have several values.
    pub fn has_several(self) -> bool {
        matches!(self.subject(), Subject::Facts(_) | Subject::Objects(..))
    }

    /// Whether the v2 answer of a view has it. The v1 answer has every fact.
    pub fn is_in_v2(self) -> bool {
        !self.has_several()
    }

    /// Formats the call's value for people, with `, ` between several. `None` if it is absent or unknown.
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

    /// Returns a job's values for it, empty if the fact is absent. `None` if it is unknown, or the key is not a fact.
    pub fn known_values(self, facts: &Facts) -> Option<Vec<&str>> {
        match self.found(facts)? {
            Found::One(Fact::Known(text)) => Some(vec![text]),
            Found::Several(Fact::Known(texts)) => Some(texts.collect()),
            Found::One(Fact::Absent) | Found::Several(Fact::Absent) => Some(Vec::new()),
            Found::One(Fact::Unknown(_)) | Found::Several(Fact::Unknown(_)) => None,
        }
    }

    /// Returns why it is unknown. `None` if it is known, or the key is not a fact.
    pub fn why_unknown(self, facts: &Facts) -> Option<UnknownReason> {
        match self.found(facts)? {
            Found::One(Fact::Unknown(why)) | Found::Several(Fact::Unknown(why)) => Some(why),
            Found::One(_) | Found::Several(_) => None,
        }
    }

    /// Returns the call's text for it. `None` if absent, or if the key is not a text of the call.
    pub(super) fn text<'c>(self, call: &Call<'c>, project_id: &'c str) -> Option<&'c str> {
        if let Subject::Text(of) = self.subject() { of(call, project_id) } else { None }
    }

    /// Returns the job's fact for it. `None` if the key is not a fact.
    pub(super) fn found(self, facts: &Facts) -> Option<Found<'_>> {
        match self.subject() {
            Subject::Time | Subject::Address | Subject::Text(_) => None,
            Subject::Fact(of) => Some(Found::One(of(facts))),
            Subject::Facts(of) => Some(Found::Several(of(facts))),
            Subject::Objects(side, part) => Some(Found::Several(facts.objects(side, part))),
        }
    }

    /// Returns the side and part if it concerns the objects of a job.
    pub(in crate::policy) fn objects(self) -> Option<(Side, Part)> {
        if let Subject::Objects(side, part) = self.subject() { Some((side, part)) } else { None }
    }

    /// Whether the call has it. For keys that are not facts.
    pub(super) fn is_present(self, call: &Call<'_>) -> bool {
        match self.kind() {
            Kind::Time => true,
            Kind::Address => call.source_ip.is_some(),
            Kind::Text => self.text(call, "").is_some(),
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self.subject() {
            Subject::Time => Kind::Time,
            Subject::Address => Kind::Address,
            Subject::Text(_) | Subject::Fact(_) | Subject::Facts(_) | Subject::Objects(..) => Kind::Text,
        }
    }
}

impl Found<'_> {
    /// Whether the job has it. `None` if unknown.
    pub(super) fn is_present(&self) -> Option<bool> {
        match self {
            Self::One(Fact::Known(_)) | Self::Several(Fact::Known(_)) => Some(true),
            Self::One(Fact::Absent) | Self::Several(Fact::Absent) => Some(false),
            Self::One(Fact::Unknown(_)) | Self::Several(Fact::Unknown(_)) => None,
        }
    }
}

impl Keys {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether the set contains this key.
    pub fn contains(self, key: Key) -> bool {
        self.0 & Self::from(key).0 != 0
    }

    /// Returns the union.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns the keys in the order of [`Key::ALL`].
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
