//! The body of a create that may be sent, and what it asks for.
//!
//! It stands on the recogniser, the judgement, the writer and the second reader: a [`Body`] has gone through all four, and
//! there is no other way to one.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    fault::{BodyFault, Problem},
    inspect::{InspectedJob, Strictness},
    json::{self, Member, Node, Value},
    naive,
    places::Places,
    write,
};
use crate::{operation::Version, policy::Facts};

/// A body that was read strictly, written anew from what was judged, and read once more by another reader to the same
/// end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    facts: Facts,
}

impl Body {
    /// Judges what a caller sent to this version. With a `stamp`, a caller's name, its `user_data` becomes the name, `/`
    /// and what it was.
    ///
    /// # Errors
    /// Whatever another reader might read otherwise is refused, with where and why.
    pub fn inspect(received: &[u8], version: Version, stamp: Option<&str>) -> Result<Self, BodyFault> {
        let mut body = json::read(received, &json::BODY)?;
        let places = Places::of(version);
        let mut judged = InspectedJob::of(&body, places, Strictness::Caller)?;
        if let Some(caller) = stamp {
            judged.user_data = Some(stamp_owner(&mut body, caller)?);
        }
        let mut written = String::with_capacity(received.len() + 256);
        write::value(&mut written, &body);
        if naive::read(written.as_bytes(), version).as_ref() != Some(&judged) {
            return Err(BodyFault { at: 0, problem: Problem::Disagreement });
        }
        Ok(Self { bytes: written.into(), facts: judged.into_facts() })
    }

    /// What is sent.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the policy is asked about.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Puts the caller's name before its own word, and returns both. It is judged: an object whose word is none or a text.
fn stamp_owner(body: &mut Node<'_>, caller: &str) -> Result<String, BodyFault> {
    let Value::Object(members) = &mut body.value else {
        return Err(BodyFault { at: body.at, problem: Problem::NoObject });
    };
    let own = members.iter_mut().find(|member| member.name == USER_DATA);
    let (at, stamped) = match &own {
        Some(member) => (member.at, format!("{caller}/{}", member.node.text().unwrap_or_default())),
        None => (0, format!("{caller}/")),
    };
    if stamped.chars().count() > MAX_USER_DATA {
        return Err(BodyFault { at, problem: Problem::UserData });
    }
    let value = Value::Text(Cow::Owned(stamped.clone()));
    match own {
        Some(member) => member.node.value = value,
        None => {
            let node = Node { at, end: at, value };
            members.push(Member { at, name: Cow::Borrowed(USER_DATA), node });
        }
    }
    Ok(stamped)
}

const USER_DATA: &str = "user_data";
/// As the API documents it.
const MAX_USER_DATA: usize = 65_535;
