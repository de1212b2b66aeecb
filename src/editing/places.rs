//! The places in a body whose objects are read or written.
//!
//! They are those of Huawei's models, each a path of names with [`ITEM`] for an item of a list. An object at any other place
//! counts as both.

use crate::operation::Version;

/// Whether an object is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Read,
    Written,
    /// Unknown, so it counts as both.
    Both,
}

/// The places of an API version.
#[derive(Clone, Copy)]
pub(super) struct Places {
    read: &'static [&'static [MemberPath]],
    written: &'static [&'static [MemberPath]],
}

type MemberPath = &'static [&'static str];

/// Stands for an item of a list. It is not a valid name.
pub(super) const ITEM: &str = "[]";

impl Places {
    /// Returns the places of this version.
    pub(super) fn of(version: Version) -> Self {
        match version {
            Version::V1 => Self { read: &[READ_V1], written: &[WRITTEN_V1] },
            Version::V2 => Self { read: &[READ_V2], written: &[WRITTEN_V2] },
        }
    }

    /// Returns the places of all versions, for a body that the cloud has accepted.
    pub(super) fn of_either() -> Self {
        Self { read: &[READ_V1, READ_V2], written: &[WRITTEN_V1, WRITTEN_V2] }
    }

    /// Returns the role of an object at this place.
    pub(super) fn role(self, way: &[&str]) -> Role {
        let has = |lists: &[&[MemberPath]]| lists.iter().any(|list| list.contains(&way));
        if has(self.read) {
            Role::Read
        } else if has(self.written) {
            Role::Written
        } else {
            Role::Both
        }
    }
}

const READ_V1: &[MemberPath] = &[
    &["input"],
    &["clips", ITEM, "input"],
    &["concat", "inputs", ITEM],
    &["concats", ITEM, "inputs", ITEM],
    &["mix", "inputs", ITEM, "input"],
    &["edit_settings", ITEM, "heads", ITEM],
    &["edit_settings", ITEM, "tails", ITEM],
    &["image_watermark_settings", ITEM, "input"],
    &["concats", ITEM, "image_watermark_settings", ITEM, "input"],
    &["edit_settings", ITEM, "image_watermarks", ITEM, "input"],
];
const WRITTEN_V1: &[MemberPath] = &[
    &["output_setting", "output"],
    &["concats", ITEM, "output"],
    &["edit_settings", ITEM, "output"],
    &["concats", ITEM, "av_parameters", ITEM, "output"],
    &["edit_settings", ITEM, "av_parameter", "output"],
];
const READ_V2: &[MemberPath] = &[&["inputs", ITEM, "input"]];
const WRITTEN_V2: &[MemberPath] = &[&["output"]];
