//! Inspects a body: every object that it names anywhere, and the deciding members.
//!
//! It walks the whole tree and trusts no structure: any JSON object with a `bucket` counts as read or written.

use super::{
    fault::{BodyFault, Problem},
    json::{Member, Node, Value},
    places::{ITEM, Places, Role},
};
use crate::policy::{Facts, Object};

/// The parts of a job that decide.
#[derive(Debug, Default, PartialEq)]
pub(super) struct InspectedJob {
    pub(super) user_data: Option<String>,
    pub(super) edit_type: Vec<String>,
    pub(super) inputs: Vec<Object>,
    pub(super) outputs: Vec<Object>,
}

/// How strictly a body is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// A caller sent it: everything that another parser could understand differently is rejected.
    Caller,
    /// The cloud has accepted it before: it is taken as it is.
    Cloud,
}

impl InspectedJob {
    /// Judges a body.
    pub(super) fn of(body: &Node<'_>, places: Places, source: Strictness) -> Result<Self, BodyFault> {
        let Value::Object(members) = &body.value else {
            return Err(BodyFault { at: body.at, problem: Problem::NoObject });
        };
        let mut judged = Self::default();
        let mut walk = Walk { places, source, way: Vec::new(), judged: &mut judged };
        walk.value(body, "")?;
        for Member { name, node, .. } in members {
            match (&**name, &node.value) {
                ("user_data", Value::Text(text)) => judged.user_data = Some(text.to_string()),
                ("edit_type", Value::List(kinds)) => {
                    judged.edit_type = kinds.iter().filter_map(Node::text).map(str::to_owned).collect();
                }
                _ => {}
            }
        }
        Ok(judged)
    }

    /// Converts it into the facts that the policy evaluates.
    pub(super) fn into_facts(self) -> Facts {
        let Self { user_data, edit_type, inputs, outputs } = self;
        Facts::of_create(user_data.as_deref(), edit_type, inputs, outputs)
    }

    /// Notes an object with its role. Returns `false` if its bucket is invalid.
    pub(super) fn note(&mut self, role: Role, named: NamedObject<'_>) -> bool {
        let inputs = if role == Role::Written { Some(vec![]) } else { named.as_input() };
        let outputs = if role == Role::Read { Some(vec![]) } else { named.as_output() };
        let (Some(inputs), Some(outputs)) = (inputs, outputs) else { return false };
        self.inputs.extend(inputs);
        self.outputs.extend(outputs);
        true
    }
}

/// An object as named in a body.
#[derive(Clone, Copy)]
pub(super) struct NamedObject<'n> {
    pub(super) bucket: &'n str,
    pub(super) object: &'n str,
    pub(super) file_name: &'n str,
    /// The `output_filename` beside the object, if any.
    pub(super) beside: &'n str,
}

impl NamedObject<'_> {
    /// Returns the objects that may be read: the key alone, and with the file name if there is one.
    fn as_input(self) -> Option<Vec<Object>> {
        let mut objects = vec![Object::new(self.bucket, self.object)?];
        if !self.file_name.is_empty() {
            objects.push(Object::joined(self.bucket, self.object, self.file_name)?);
        }
        Some(objects)
    }

    /// Returns the objects that may be written: `object/file_name` with a file name, otherwise `object/` with a name that
    /// the cloud chooses, as in Huawei's models. A key without a final `/` counts as both, so that no rule on objects below
    /// it is missed.
    fn as_output(self) -> Option<Vec<Object>> {
        let Self { bucket, object, file_name, beside } = self;
        let mut objects = Vec::with_capacity(2);
        if file_name.is_empty() {
            objects.push(Object::new(bucket, object)?);
            if !object.is_empty() && !object.ends_with('/') {
                objects.push(Object::joined(bucket, object, "")?);
            }
        }
        for name in [file_name, beside].into_iter().filter(|name| !name.is_empty()) {
            objects.push(Object::joined(bucket, object, name)?);
        }
        Some(objects)
    }
}

struct Walk<'n, 'j> {
    places: Places,
    source: Strictness,
    way: Vec<&'n str>,
    judged: &'j mut InspectedJob,
}

impl<'n> Walk<'n, '_> {
    /// Walks a value with the `output_filename` beside it, empty if there is none.
    fn value(&mut self, node: &'n Node<'_>, beside: &'n str) -> Result<(), BodyFault> {
        match &node.value {
            Value::Object(members) => {
                self.object(members, beside)?;
                let named = node.member("output_filename").and_then(Node::text).unwrap_or_default();
                members.iter().try_for_each(|member| self.below(&member.name, &member.node, named))
            }
            Value::List(nodes) => nodes.iter().try_for_each(|node| self.below(ITEM, node, "")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => Ok(()),
        }
    }

    fn below(&mut self, step: &'n str, node: &'n Node<'_>, beside: &'n str) -> Result<(), BodyFault> {
        self.way.push(step);
        let walked = self.value(node, beside);
        self.way.pop();
        walked
    }

    fn object(&mut self, members: &'n [Member<'_>], beside: &'n str) -> Result<(), BodyFault> {
        let mut named = NamedObject { bucket: "", object: "", file_name: "", beside };
        let mut bucket_at = None;
        for member in members {
            let fault = |problem| BodyFault { at: member.at, problem };
            if self.source == Strictness::Caller {
                check(member).map_err(fault)?;
            }
            match (&*member.name, member.node.text()) {
                ("bucket", Some(text)) => {
                    named.bucket = text;
                    bucket_at = Some(member.at);
                }
                ("object", Some(text)) => named.object = text,
                ("file_name", Some(text)) => named.file_name = text,
                // The cloud writes null only in an object without any bucket.
                ("bucket" | "object" | "file_name", None) if member.node.value != Value::Null => {
                    return Err(fault(Problem::Type(MUST_BE_TEXT)));
                }
                _ => {}
            }
        }
        let Some(at) = bucket_at else { return Ok(()) };
        let is_one = self.judged.note(self.places.role(&self.way), named);
        if is_one { Ok(()) } else { Err(BodyFault { at, problem: Problem::Bucket }) }
    }
}

/// Rejects what a caller may not write in a member.
fn check(member: &Member<'_>) -> Result<(), Problem> {
    if let Some(decides) = looks_like(&member.name) {
        return Err(Problem::LookAlike(decides));
    }
    let text = match (&*member.name, &member.node.value) {
        (
            "bucket" | "object" | "file_name" | "location" | "user_data" | "output_filename",
            Value::Text(text),
        ) => text,
        ("bucket" | "object" | "file_name" | "location" | "user_data" | "output_filename", _) => {
            return Err(Problem::Type(MUST_BE_TEXT));
        }
        ("edit_type", Value::List(kinds)) if kinds.iter().all(|kind| kind.text().is_some()) => return Ok(()),
        ("edit_type", _) => return Err(Problem::Type("`edit_type` must be a list of strings")),
        _ => return Ok(()),
    };
    match &*member.name {
        "bucket" if !is_bucket(text) => Err(Problem::Bucket),
        "file_name" | "output_filename" if text.contains('/') => {
            Err(Problem::Path("a `/` where they are a file name"))
        }
        "object" | "file_name" | "output_filename" | "location" => {
            second_reading(text).map_or(Ok(()), |what| Err(Problem::Path(what)))
        }
        _ => Ok(()),
    }
}

/// Returns the deciding name that a lax parser might take this one for.
fn looks_like(name: &str) -> Option<&'static str> {
    let letters = |name: &'static str| name.bytes().filter(|b| *b != b'_');
    let first = name.bytes().next();
    let alike = |decides: &&'static str| {
        decides.bytes().next() == first && letters(decides).eq(name.bytes().filter(|b| *b != b'_'))
    };
    DECIDING.into_iter().find(alike).filter(|decides| *decides != name)
}

fn is_bucket(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=63).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != ".."
}

/// Returns which part of a key its receiver might read differently.
fn second_reading(text: &str) -> Option<&'static str> {
    if text.contains("//") {
        return Some("`//`");
    }
    if text.contains('\\') {
        return Some("a backslash");
    }
    if text.chars().any(char::is_control) {
        return Some("a control character");
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Some("a segment `.` or `..`");
    }
    let mut escapes = text.as_bytes().windows(3).filter(|three| three.starts_with(b"%"));
    let decodes =
        |three: &[u8]| [b"%2e", b"%2f", b"%5c", b"%00"].iter().any(|bad| three.eq_ignore_ascii_case(*bad));
    escapes.any(decodes).then_some("`%2e`, `%2f`, `%5c` or `%00`")
}

/// The names of deciding members.
const DECIDING: [&str; 11] = [
    "bucket",
    "object",
    "file_name",
    "location",
    "user_data",
    "edit_type",
    "input",
    "inputs",
    "output",
    "outputs",
    "output_filename",
];
const MUST_BE_TEXT: &str =
    "`bucket`, `object`, `file_name`, `output_filename`, `location` and `user_data` must be strings";
