//! The body of a create: parsed, judged, rewritten, and checked by a second parser.
//!
//! A [`Body`] can only be made by going through all four steps.

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

/// A body that was parsed strictly, rewritten from what was judged, and read by a second parser with the same result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
    facts: Facts,
}

impl Body {
    /// Judges a caller's body for this API version. With a `stamp`, `user_data` is prefixed with that name and `/`.
    ///
    /// # Errors
    /// Rejects everything that another parser might read differently, with position and reason.
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

    /// Returns the bytes to send.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the facts that the policy evaluates.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Prefixes `user_data` with the caller's name, and returns the result. The body has been judged before.
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
/// The documented maximum.
const MAX_USER_DATA: usize = 65_535;
