//! The facts of a job, each known, absent or unknown.
//!
//! They come from the body of a create or the answer to a lookup; conditions compare them without allocation. An unknown
//! fact is never taken for an absent one: a condition on it is undetermined.

use std::slice;

use super::{Fact, JobStatus, UnknownReason};

/// An object that a job reads or writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// `BUCKET/OBJECT`.
    path: Box<str>,
    /// The length of the bucket's name.
    bucket: usize,
}

/// The facts of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    user_data: Fact<Box<str>>,
    status: Fact<JobStatus>,
    edit_type: Fact<Box<[Box<str>]>>,
    inputs: Objects,
    outputs: Objects,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Objects {
    /// Whole objects, as a job names them.
    Whole(Fact<Box<[Object]>>),
    /// Buckets and keys separately, as people and records give them; see [`Facts::given`].
    Apart { buckets: Fact<Box<[Box<str>]>>, keys: Fact<Box<[Box<str>]>> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `BUCKET/OBJECT`.
    Path,
    Bucket,
    Object,
}

/// The values of a fact that may have several; at least one.
#[derive(Clone, Debug)]
pub(super) enum Values<'f> {
    Texts(slice::Iter<'f, Box<str>>),
    Objects(slice::Iter<'f, Object>, Part),
}

impl Facts {
    /// The facts of a job that was not looked up.
    pub fn none_known() -> &'static Self {
        static NONE: Facts = Facts::unknown(UnknownReason::NotLookedUp);
        &NONE
    }

    /// Facts that are all unknown for this reason, to start from when an answer is read.
    pub const fn unknown(why: UnknownReason) -> Self {
        Self {
            user_data: Fact::Unknown(why),
            status: Fact::Unknown(why),
            edit_type: Fact::Unknown(why),
            inputs: Objects::Whole(Fact::Unknown(why)),
            outputs: Objects::Whole(Fact::Unknown(why)),
        }
    }

    /// The facts of a create, which has no status yet.
    pub fn of_create(
        user_data: Option<&str>,
        edit_type: Vec<String>,
        inputs: Vec<Object>,
        outputs: Vec<Object>,
    ) -> Self {
        Self::unknown(UnknownReason::NotInAnswer)
            .with_user_data(user_data)
            .with_status(Fact::Absent)
            .with_edit_type(edit_type)
            .with_objects(inputs, outputs)
    }

    /// Sets `user_data`. `None` means absent.
    #[must_use]
    pub fn with_user_data(self, user_data: Option<&str>) -> Self {
        Self { user_data: user_data.map(Box::from).into(), ..self }
    }

    /// Sets the status, as from [`JobStatus::of_answer`].
    #[must_use]
    pub fn with_status(self, status: Fact<JobStatus>) -> Self {
        Self { status, ..self }
    }

    /// Sets the kinds of edit. An empty list means absent.
    #[must_use]
    pub fn with_edit_type(self, edit_type: Vec<String>) -> Self {
        Self { edit_type: several(edit_type.into_iter().map(String::into_boxed_str).collect()), ..self }
    }

    /// Sets the objects that it reads and writes.
    #[must_use]
    pub fn with_objects(self, inputs: Vec<Object>, outputs: Vec<Object>) -> Self {
        let [inputs, outputs] = [inputs, outputs].map(|all| Objects::Whole(several(all.into())));
        Self { inputs, outputs, ..self }
    }

    #[must_use]
    pub(super) fn with_side(mut self, side: Side, objects: Vec<Object>) -> Self {
        *self.side_mut(side) = Objects::Whole(several(objects.into()));
        self
    }

    /// Sets one part of the objects of one side. `None` if it contradicts objects that are known.
    pub(super) fn with_part(mut self, side: Side, part: Part, texts: Vec<String>) -> Option<Self> {
        const UNKNOWN: Fact<Box<[Box<str>]>> = Fact::Unknown(UnknownReason::NotLookedUp);
        let fact = several(texts.into_iter().map(String::into_boxed_str).collect());
        let follow = self.objects(side, part).map(|values| values.map(Box::from).collect());
        let objects = self.side_mut(side);
        match objects {
            Objects::Whole(Fact::Known(_) | Fact::Absent) if follow != fact => return None,
            Objects::Whole(Fact::Known(_) | Fact::Absent) => {}
            Objects::Whole(Fact::Unknown(_)) if part == Part::Bucket => {
                *objects = Objects::Apart { buckets: fact, keys: UNKNOWN };
            }
            Objects::Whole(Fact::Unknown(_)) => *objects = Objects::Apart { buckets: UNKNOWN, keys: fact },
            Objects::Apart { buckets, .. } if part == Part::Bucket => *buckets = fact,
            Objects::Apart { keys, .. } => *keys = fact,
        }
        Some(self)
    }

    fn side_mut(&mut self, side: Side) -> &mut Objects {
        match side {
            Side::Input => &mut self.inputs,
            Side::Output => &mut self.outputs,
        }
    }

    /// Returns `user_data`.
    pub fn user_data(&self) -> Fact<&str> {
        self.user_data.as_ref().map(|text| &**text)
    }

    pub(super) fn status(&self) -> Fact<&'static str> {
        self.status.as_ref().map(|status| status.as_str())
    }

    pub(super) fn edit_type(&self) -> Fact<Values<'_>> {
        self.edit_type.as_ref().map(|texts| Values::Texts(texts.iter()))
    }

    pub(super) fn objects(&self, side: Side, part: Part) -> Fact<Values<'_>> {
        let objects = match side {
            Side::Input => &self.inputs,
            Side::Output => &self.outputs,
        };
        match objects {
            Objects::Whole(objects) => objects.as_ref().map(|objects| Values::Objects(objects.iter(), part)),
            Objects::Apart { buckets, keys } => {
                let texts = match part {
                    Part::Path => return Fact::Unknown(UnknownReason::NotLookedUp),
                    Part::Bucket => buckets,
                    Part::Object => keys,
                };
                texts.as_ref().map(|texts| Values::Texts(texts.iter()))
            }
        }
    }
}

impl Object {
    /// Creates an object from its full key, without one leading `/`. `None` if the bucket's name is invalid.
    pub fn new(bucket: &str, key: &str) -> Option<Self> {
        let is_bucket = !bucket.is_empty() && !bucket.contains('/');
        let key = key.strip_prefix('/').unwrap_or(key);
        is_bucket.then(|| Self { path: [bucket, "/", key].concat().into(), bucket: bucket.len() })
    }

    /// Creates an object from a folder and a file name, as outputs have them.
    pub fn joined(bucket: &str, object: &str, file_name: &str) -> Option<Self> {
        let between = if object.is_empty() || object.ends_with('/') { "" } else { "/" };
        Self::new(bucket, &[object, between, file_name].concat())
    }

    fn part(&self, part: Part) -> &str {
        let split = self.path.split_at_checked(self.bucket);
        match part {
            Part::Path => &self.path,
            Part::Bucket => split.map_or("", |(bucket, _)| bucket),
            Part::Object => split.and_then(|(_, rest)| rest.strip_prefix('/')).unwrap_or_default(),
        }
    }
}

impl<'f> Iterator for Values<'f> {
    type Item = &'f str;

    fn next(&mut self) -> Option<&'f str> {
        match self {
            Self::Texts(texts) => texts.next().map(|text| &**text),
            Self::Objects(objects, part) => objects.next().map(|object| object.part(*part)),
        }
    }
}

/// Returns a fact, absent if there are no values.
fn several<T>(values: Box<[T]>) -> Fact<Box<[T]>> {
    if values.is_empty() { Fact::Absent } else { Fact::Known(values) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: Fact<Values<'_>>) -> Fact<Vec<&str>> {
        values.map(Iterator::collect)
    }

    #[test]
    fn an_object_is_its_bucket_and_its_key_without_one_leading_slash() {
        for (object, expected) in [
            (Object::new("b", "a/c.mp4"), Some(["b/a/c.mp4", "b", "a/c.mp4"])),
            (Object::new("b", "/a/c.mp4"), Some(["b/a/c.mp4", "b", "a/c.mp4"])),
            (Object::new("b", "//a"), Some(["b//a", "b", "/a"])),
            (Object::new("b", ""), Some(["b/", "b", ""])),
            (Object::new("", "a"), None),
            (Object::new("b/a", "c"), None),
            (Object::joined("b", "out", "c.mp4"), Some(["b/out/c.mp4", "b", "out/c.mp4"])),
            (Object::joined("b", "/out/", "c.mp4"), Some(["b/out/c.mp4", "b", "out/c.mp4"])),
            (Object::joined("b", "", "c.mp4"), Some(["b/c.mp4", "b", "c.mp4"])),
        ] {
            let parts =
                object.as_ref().map(|o| [Part::Path, Part::Bucket, Part::Object].map(|part| o.part(part)));
            assert_eq!(parts, expected);
        }
    }

    #[test]
    fn what_an_answer_does_not_carry_stays_unknown_and_what_it_leaves_empty_is_absent() {
        let v2 = Facts::unknown(UnknownReason::NotInAnswer).with_user_data(None).with_status(Fact::Absent);
        assert_eq!((v2.user_data(), v2.status()), (Fact::Absent, Fact::Absent));
        assert_eq!(texts(v2.edit_type()), Fact::Unknown(UnknownReason::NotInAnswer));
        assert_eq!(texts(v2.objects(Side::Output, Part::Bucket)), Fact::Unknown(UnknownReason::NotInAnswer));
        let object = Object::new("in", "a").unwrap();
        let create = Facts::of_create(Some("a/b"), vec![], vec![object.clone(), object], vec![]);
        assert_eq!((create.user_data(), create.status()), (Fact::Known("a/b"), Fact::Absent));
        assert_eq!(texts(create.edit_type()), Fact::Absent);
        assert_eq!(texts(create.objects(Side::Input, Part::Path)), Fact::Known(vec!["in/a", "in/a"]));
        assert_eq!(texts(create.objects(Side::Output, Part::Path)), Fact::Absent);
        assert_eq!(Facts::none_known().user_data(), Fact::Unknown(UnknownReason::NotLookedUp));
    }
}
