//! Condition values with variables: `${…}` for a key of the call or a special character.
//!
//! The value of a variable is compared literally: a `*` in it is not a wildcard.

use std::iter;

use super::super::Call;
use super::super::wildcard;
use super::operator::Spelling;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    spelling: Spelling,
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Text as written, which may have wildcards.
    Text(Box<str>),
    /// A literal character.
    Character(char),
    Variable(Variable),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Caller,
    Listener,
    ProjectId,
}

/// Why a value with `${` is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The `}` is missing.
    #[error("`${{` without a `}}` after it")]
    Open,
    /// There is no such variable.
    #[error("unknown variable `${{{0}}}`")]
    Unknown(String),
    /// The text after it could belong to another name.
    #[error("the text after `${{{0}}}` could be part of another name")]
    Unfinished(String),
    /// A wildcard before it could belong to another name.
    #[error("a wildcard before `${{{0}}}` could match part of another name")]
    Unbegun(String),
}

impl Template {
    /// Parses a value.
    ///
    /// # Errors
    /// See [`VariableError`].
    pub(super) fn parse(spelling: Spelling, text: &str) -> Result<Self, VariableError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once(OPEN) {
            pieces.extend((!before.is_empty()).then(|| Piece::Text(before.into())));
            let (name, after) = after.split_once('}').ok_or(VariableError::Open)?;
            let piece = piece(name)?;
            if let Piece::Variable(_) = piece {
                let whole = text.strip_suffix(after).unwrap_or_default();
                let before = whole.rsplit_once(OPEN).map_or("", |(before, _)| before);
                is_delimited(spelling, before, name, after)?;
            }
            pieces.push(piece);
            rest = after;
        }
        pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.into())));
        Ok(Self { spelling, pieces: pieces.into() })
    }

    pub(super) fn is_in(text: &str) -> bool {
        text.contains(OPEN)
    }

    /// Whether the text matches. Never if a variable has no value.
    pub(super) fn matches_text(&self, text: &str, call: &Call<'_>, project_id: &str) -> bool {
        let spelling = self.spelling;
        let value = |variable: Variable| match variable {
            Variable::Caller => Some(call.caller.as_str()),
            Variable::Listener => call.listener,
            Variable::ProjectId => Some(project_id),
        };
        let stands = |piece: &Piece| match piece {
            Piece::Variable(variable) => value(*variable).is_some(),
            Piece::Text(_) | Piece::Character(_) => true,
        };
        let tokens = self.pieces.iter().flat_map(|piece| {
            let (text, character, wild) = match piece {
                Piece::Text(text) => (&**text, None, spelling == Spelling::Wildcard),
                Piece::Character(character) => ("", Some(*character), false),
                Piece::Variable(variable) => (value(*variable).unwrap_or_default(), None, false),
            };
            let wild = move |c: char| (c, wild && WILDCARDS.contains(&c));
            iter::chain(text.chars().map(wild), character.map(|c| (c, false)))
        });
        let same = |wanted: char, found: char| match spelling {
            Spelling::Exact | Spelling::Wildcard => wanted == found,
            Spelling::AnyCase | Spelling::Switch => wanted.eq_ignore_ascii_case(&found),
        };
        let is_run = |token| token == ('*', true);
        let takes = |(wanted, wild), found| wild || same(wanted, found);
        self.pieces.iter().all(stands) && wildcard::matches_tokens(tokens, text, is_run, takes)
    }
}

fn piece(name: &str) -> Result<Piece, VariableError> {
    Ok(match name {
        "*" => Piece::Character('*'),
        "?" => Piece::Character('?'),
        "$" => Piece::Character('$'),
        "proxy:Caller" => Piece::Variable(Variable::Caller),
        "proxy:Listener" => Piece::Variable(Variable::Listener),
        "mpc:ProjectId" => Piece::Variable(Variable::ProjectId),
        _ => return Err(VariableError::Unknown(name.into())),
    })
}

/// Checks that a variable is delimited, so that its name cannot be taken for another: `editor*` also matches `editor-2`.
fn is_delimited(spelling: Spelling, before: &str, name: &str, after: &str) -> Result<(), VariableError> {
    if !after.is_empty() && !after.starts_with(NEVER_IN_NAMES) {
        return Err(VariableError::Unfinished(name.into()));
    }
    let beside = before.rsplit(NEVER_IN_NAMES).next().unwrap_or_default();
    if spelling == Spelling::Wildcard && beside.contains(WILDCARDS) {
        return Err(VariableError::Unbegun(name.into()));
    }
    Ok(())
}

const OPEN: &str = "${";
const WILDCARDS: [char; 2] = ['*', '?'];
/// Characters that no name of a caller, listener or project has.
const NEVER_IN_NAMES: [char; 2] = ['/', ':'];
