//! Condition keys. Its keys, named as in Huawei's IAM where IAM has them, and the facts of its job.

use std::borrow::Cow;

use super::super::facts::{Facts, Part, Side, Values};
use super::super::{Call, Fact, UnknownReason, moment::spell_moment};

/// Declares each key once: its variant, its name in policies, and where its values are.
macro_rules! keys {
    ($($(#[doc = $about:literal])+ $Key:ident = $name:literal, $subject:expr;)*) => {
        /// What is compared.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Key {
            $(#[doc = concat!("`", $name, "`:")] $(#[doc = $about])+ $Key,)*
        }

        impl Key {
            /// Every key there is.
            pub const ALL: [Self; [$(stringify!($Key)),*].len()] = [$(Self::$Key,)*];

            /// As in policies.
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
    /// When the call came in.
    CurrentTime = "g:CurrentTime", Subject::Time;
    /// The address it came from. A call on a Unix socket has none.
    SourceIp = "g:SourceIp", Subject::Address;
    /// The project's id, never its name.
    ProjectId = "mpc:ProjectId", Subject::Text(|_, project_id| Some(project_id));
    /// The job's id. A job that is about to be created has none.
    JobId = "mpc:JobId", Subject::Text(|call, _| call.job);
    /// Who calls.
    Caller = "proxy:Caller", Subject::Text(|call, _| Some(call.caller.as_str()));
    /// The listener it came in on.
    Listener = "proxy:Listener", Subject::Text(|call, _| call.listener);
    /// The kind of proof that identified the caller.
    IdentifiedBy = "proxy:IdentifiedBy", Subject::Text(|call, _| call.identified_by);
    /// The word that whoever created the job left on it.
    UserData = "mpc:UserData", Subject::Fact(Facts::user_data);
    /// How far the job is.
    JobStatus = "mpc:JobStatus", Subject::Fact(Facts::status);
    /// The kinds of edit it is.
    EditType = "mpc:EditType", Subject::Facts(Facts::edit_type);
    /// What it reads, as `BUCKET/OBJECT`.
    Input = "mpc:Input", Subject::Objects(Side::Input, Part::Path);
    /// The buckets of that.
    InputBucket = "mpc:InputBucket", Subject::Objects(Side::Input, Part::Bucket);
    /// The objects of that, without their buckets.
    InputObject = "mpc:InputObject", Subject::Objects(Side::Input, Part::Object);
    /// What it writes, as `BUCKET/OBJECT`.
    Output = "mpc:Output", Subject::Objects(Side::Output, Part::Path);
    /// The buckets of that.
    OutputBucket = "mpc:OutputBucket", Subject::Objects(Side::Output, Part::Bucket);
    /// The objects of that, without their buckets.
    OutputObject = "mpc:OutputObject", Subject::Objects(Side::Output, Part::Object);
}

/// Where the values of a key are.
enum Subject {
    /// The call's time.
    Time,
    /// The call's source address.
    Address,
    /// A text of the call, whose project has this id.
    Text(for<'c> fn(&Call<'c>, &'c str) -> Option<&'c str>),
    /// A fact of the job with one value at most.
    Fact(for<'f> fn(&'f Facts) -> Fact<&'f str>),
    /// A fact of the job that may have several values.
    Facts(for<'f> fn(&'f Facts) -> Fact<Values<'f>>),
    /// Objects that the job reads or writes.
    Objects(Side, Part),
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
    /// The key of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == text)
    }

    /// Whether it is a fact of the job, and no part of the call.
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
        if let Subject::Text(of) = self.subject() { of(call, project_id) } else { None }
    }

    /// What is known of the job for it. `None` where it is no fact of the job.
    pub(super) fn found(self, facts: &Facts) -> Option<Found<'_>> {
        match self.subject() {
            Subject::Time | Subject::Address | Subject::Text(_) => None,
            Subject::Fact(of) => Some(Found::One(of(facts))),
            Subject::Facts(of) => Some(Found::Several(of(facts))),
            Subject::Objects(side, part) => Some(Found::Several(facts.objects(side, part))),
        }
    }

    /// Which objects of a job it is about, and what of them. `None` where it is about none.
    pub(in crate::policy) fn objects(self) -> Option<(Side, Part)> {
        if let Subject::Objects(side, part) = self.subject() { Some((side, part)) } else { None }
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
        match self.subject() {
            Subject::Time => Kind::Time,
            Subject::Address => Kind::Address,
            Subject::Text(_) | Subject::Fact(_) | Subject::Facts(_) | Subject::Objects(..) => Kind::Text,
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
