//! Parses facts that people or records give as texts, key by key.
//!
//! The policy tools use it to evaluate calls that nobody makes now. Facts that are not given are unknown.

use super::{
    Fact, Facts, JobStatus, Key, Object, UnknownReason,
    facts::{Part, Side},
};

/// Why texts are not valid facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactError {
    /// The key is not a fact.
    #[error("`{}` is not a job fact", .0.as_str())]
    NoFact(Key),
    /// The key has at most one value.
    #[error("`{}` has at most one value", .0.as_str())]
    One(Key),
    /// This is not a job status.
    #[error("unknown job status `{0}`: use one of INIT, WAITING, PROCESSING, SUCCEEDED, FAILED, CANCELED")]
    Status(String),
    /// This is not an object in a bucket.
    #[error("`{}` is BUCKET/OBJECT, and not `{}`", .0.as_str(), .1)]
    Path(Key, String),
    /// A create does not have it yet.
    #[error("a create has no `{}`", .0.as_str())]
    NotYet(Key),
    /// The key's values contradict those of another key.
    #[error("`{}` contradicts `{}`", .0.as_str(), .1.as_str())]
    Contradicts(Key, Key),
}

impl Facts {
    /// Creates facts from values, each key once; a key without a value is absent. Buckets and objects are derived from whole
    /// inputs and outputs.
    ///
    /// # Errors
    /// See [`FactError`].
    pub fn given(told: &[(Key, Vec<String>)]) -> Result<Self, FactError> {
        let is_part = |key: Key| key.objects().is_some_and(|(_, part)| part != Part::Path);
        let (parts, others): (Vec<_>, Vec<_>) = told.iter().partition(|(key, _)| is_part(*key));
        let facts = others.into_iter().try_fold(Self::unknown(UnknownReason::NotLookedUp), Self::with_one)?;
        parts.into_iter().try_fold(facts, Self::with_one)
    }

    /// Creates the facts of a create.
    ///
    /// # Errors
    /// See [`FactError`].
    pub fn given_to_create(told: &[(Key, Vec<String>)]) -> Result<Self, FactError> {
        match told.iter().any(|(key, _)| *key == Key::JobStatus) {
            true => Err(FactError::NotYet(Key::JobStatus)),
            false => Ok(Self::given(told)?.with_status(Fact::Absent)),
        }
    }

    fn with_one(self, (key, values): &(Key, Vec<String>)) -> Result<Self, FactError> {
        Ok(match (*key, key.objects()) {
            (Key::UserData, _) => self.with_user_data(one(*key, values)?),
            (Key::JobStatus, _) => self.with_status(status(one(*key, values)?)?),
            (Key::EditType, _) => self.with_edit_type(values.clone()),
            (key, Some((side, Part::Path))) => {
                let object = |path: &String| {
                    let object =
                        path.split_once('/').and_then(|(bucket, object)| Object::new(bucket, object));
                    object.ok_or_else(|| FactError::Path(key, path.clone()))
                };
                self.with_side(side, values.iter().map(object).collect::<Result<_, _>>()?)
            }
            (key, Some((side, part))) => {
                let whole = if side == Side::Input { Key::Input } else { Key::Output };
                self.with_part(side, part, values.clone()).ok_or(FactError::Contradicts(key, whole))?
            }
            (key, None) => return Err(FactError::NoFact(key)),
        })
    }
}

fn one(key: Key, values: &[String]) -> Result<Option<&str>, FactError> {
    match values {
        [] => Ok(None),
        [value] => Ok(Some(value)),
        [_, _, ..] => Err(FactError::One(key)),
    }
}

fn status(word: Option<&str>) -> Result<Fact<JobStatus>, FactError> {
    let Some(word) = word else { return Ok(Fact::Absent) };
    JobStatus::parse(word).map(Fact::Known).ok_or_else(|| FactError::Status(word.into()))
}

#[cfg(test)]
mod tests {
    use super::super::facts::Values;
    use super::*;

    fn given(told: &[(Key, &[&str])]) -> Result<Facts, String> {
        let owned = |(key, values): &(Key, &[&str])| (*key, values.iter().map(ToString::to_string).collect());
        Facts::given(&told.iter().map(owned).collect::<Vec<_>>()).map_err(|error| error.to_string())
    }

    fn texts(values: Fact<Values<'_>>) -> Fact<Vec<&str>> {
        values.map(Iterator::collect)
    }

    #[test]
    fn what_is_told_is_known_what_is_told_to_be_nothing_absent_and_the_rest_unknown() {
        let facts = given(&[
            (Key::InputBucket, &["b", "c"]),
            (Key::Input, &["b/x/y", "c//z"]),
            (Key::OutputBucket, &["out"]),
            (Key::UserData, &[]),
            (Key::JobStatus, &["WAITING"]),
        ])
        .unwrap();
        assert_eq!((facts.user_data(), facts.status()), (Fact::Absent, Fact::Known("WAITING")));
        assert_eq!(texts(facts.objects(Side::Input, Part::Object)), Fact::Known(vec!["x/y", "z"]));
        assert_eq!(texts(facts.objects(Side::Output, Part::Bucket)), Fact::Known(vec!["out"]));
        assert_eq!(texts(facts.objects(Side::Output, Part::Path)), Fact::Unknown(UnknownReason::NotLookedUp));
        assert_eq!(texts(facts.edit_type()), Fact::Unknown(UnknownReason::NotLookedUp));
        assert_eq!(given(&[]).unwrap(), *Facts::none_known());
        let created = Facts::given_to_create(&[(Key::UserData, vec!["a".into()])]).unwrap();
        assert_eq!((created.user_data(), created.status()), (Fact::Known("a"), Fact::Absent));
    }

    #[test]
    fn what_no_job_has_is_refused() {
        for (told, expected) in [
            (&[(Key::JobId, &["1"][..])][..], "`mpc:JobId` is not a job fact"),
            (&[(Key::UserData, &["a", "b"])], "`mpc:UserData` has at most one value"),
            (&[(Key::JobStatus, &["SUCCEED"])], "unknown job status `SUCCEED`: use one of INIT, "),
            (&[(Key::Input, &["b/x", "b"])], "`mpc:Input` is BUCKET/OBJECT, and not `b`"),
            (&[(Key::Output, &["/x"])], "`mpc:Output` is BUCKET/OBJECT, and not `/x`"),
            (
                &[(Key::OutputObject, &["x"]), (Key::Output, &["b/y"])],
                "`mpc:OutputObject` contradicts `mpc:Output`",
            ),
        ] {
            let error = given(told).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let waiting = [(Key::JobStatus, vec!["WAITING".into()])];
        assert_eq!(Facts::given_to_create(&waiting), Err(FactError::NotYet(Key::JobStatus)));
    }
}
