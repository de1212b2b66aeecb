//! A strict JSON parser that keeps order, number tokens and positions.
//!
//! It accepts less than RFC 8259: no repeated name in an object, no lone surrogate, and a limited depth.

use std::borrow::Cow;

use super::fault::{BodyFault, Problem};

/// A value with its position.
#[derive(Debug, PartialEq)]
pub(super) struct Node<'t> {
    /// The position of its first byte.
    pub(super) at: usize,
    /// The position after its last byte.
    pub(super) end: usize,
    pub(super) value: Value<'t>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Value<'t> {
    Null,
    Bool(bool),
    /// The token as received.
    Number(&'t str),
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    /// The members in order, without repeated names.
    Object(Vec<Member<'t>>),
}

#[derive(Debug, PartialEq)]
pub(super) struct Member<'t> {
    pub(super) at: usize,
    pub(super) name: Cow<'t, str>,
    pub(super) node: Node<'t>,
}

/// The restrictions on RFC 8259.
pub(super) struct Grammar {
    deepest: usize,
    /// Whether only names of `[a-z][a-z0-9_]*`, numbers that no parser rounds, and no U+0000 are allowed.
    plain: bool,
}

/// The grammar of callers' bodies.
pub(super) const BODY: Grammar = Grammar { deepest: 32, plain: true };
/// The grammar of the cloud's answers, which may have other names and numbers.
pub(super) const ANSWER: Grammar = Grammar { deepest: 64, plain: false };

/// Parses one document.
pub(super) fn read<'t>(bytes: &'t [u8], grammar: &Grammar) -> Result<Node<'t>, BodyFault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| BodyFault { at: error.valid_up_to(), problem: Problem::Encoding })?;
    let mut reader = Reader { text, at: 0, grammar };
    reader.skip_space();
    let node = reader.value(1)?;
    reader.skip_space();
    if reader.at == text.len() { Ok(node) } else { Err(reader.syntax("unexpected text after the value")) }
}

impl<'t> Node<'t> {
    /// Returns the member with this name, if it is an object that has one.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        let Value::Object(members) = &self.value else { return None };
        members.iter().find(|member| member.name == name).map(|member| &member.node)
    }

    /// Returns the text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }
}

struct Reader<'t, 'g> {
    text: &'t str,
    at: usize,
    grammar: &'g Grammar,
}

impl<'t> Reader<'t, '_> {
    fn value(&mut self, depth: usize) -> Result<Node<'t>, BodyFault> {
        let at = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            Some(b't') => self.literal("true", Value::Bool(true))?,
            Some(b'f') => self.literal("false", Value::Bool(false))?,
            Some(b'n') => self.literal("null", Value::Null)?,
            _ => return Err(self.syntax("expected a value")),
        };
        Ok(Node { at, end: self.at, value })
    }

    fn object(&mut self, depth: usize) -> Result<Value<'t>, BodyFault> {
        self.enter(depth)?;
        let mut members = Vec::new();
        if self.next_is(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            let at = self.at;
            let name = self.name()?;
            self.skip_space();
            self.expect(b':', "expected `:` after a name")?;
            self.skip_space();
            members.push(Member { at, name, node: self.value(depth + 1)? });
            self.skip_space();
            if self.next_is(b'}') {
                break;
            }
            self.expect(b',', "expected `,` or `}`")?;
            self.skip_space();
        }
        match twice(&members) {
            None => Ok(Value::Object(members)),
            Some(at) => Err(BodyFault { at, problem: Problem::Duplicate }),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value<'t>, BodyFault> {
        self.enter(depth)?;
        let mut nodes = Vec::new();
        if self.next_is(b']') {
            return Ok(Value::List(nodes));
        }
        loop {
            nodes.push(self.value(depth + 1)?);
            self.skip_space();
            if self.next_is(b']') {
                return Ok(Value::List(nodes));
            }
            self.expect(b',', "expected `,` or `]`")?;
            self.skip_space();
        }
    }

    /// Takes an opening bracket, and checks the depth.
    fn enter(&mut self, depth: usize) -> Result<(), BodyFault> {
        if depth > self.grammar.deepest {
            return Err(self.fault(Problem::Depth));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn name(&mut self) -> Result<Cow<'t, str>, BodyFault> {
        let at = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.syntax("expected a quoted name"));
        }
        let name = self.string()?;
        // An escaped name is not borrowed.
        let is_plain = matches!(name, Cow::Borrowed(_)) && is_plain_name(&name);
        if self.grammar.plain && !is_plain {
            return Err(BodyFault { at, problem: Problem::Name });
        }
        Ok(name)
    }

    fn string(&mut self) -> Result<Cow<'t, str>, BodyFault> {
        self.at += 1;
        let mut decoded: Option<String> = None;
        loop {
            let piece = self.up_to_special();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(match decoded {
                        None => Cow::Borrowed(piece),
                        Some(text) => Cow::Owned(text + piece),
                    });
                }
                Some(b'\\') => {
                    let text = decoded.get_or_insert_default();
                    text.push_str(piece);
                    text.push(self.escape()?);
                }
                Some(_) => return Err(self.syntax("a control character must be escaped")),
                None => return Err(self.syntax("unterminated string")),
            }
        }
    }

    /// Takes the text up to the next quote, backslash or control character.
    fn up_to_special(&mut self) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let special = |byte: u8| byte == b'"' || byte == b'\\' || byte < b' ';
        let length = rest.bytes().position(special).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn escape(&mut self) -> Result<char, BodyFault> {
        let at = self.at;
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        Ok(match letter {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(at),
            _ => {
                self.at = at;
                return Err(self.syntax("invalid escape"));
            }
        })
    }

    /// Parses `\uXXXX`, or two of them that are a surrogate pair. The first begins at `at`.
    fn unicode(&mut self, at: usize) -> Result<char, BodyFault> {
        let unit = self.hex(at)?;
        let code = if (0xd800..0xdc00).contains(&unit) {
            let follows = self.text.get(self.at..).is_some_and(|rest| rest.starts_with("\\u"));
            self.at += 2;
            let low = if follows { self.hex(at)? } else { 0 };
            if !(0xdc00..0xe000).contains(&low) {
                return Err(BodyFault { at, problem: Problem::Surrogate });
            }
            0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
        } else {
            unit
        };
        if code == 0 && self.grammar.plain {
            return Err(BodyFault { at, problem: Problem::Nul });
        }
        char::from_u32(code).ok_or(BodyFault { at, problem: Problem::Surrogate })
    }

    fn hex(&mut self, at: usize) -> Result<u32, BodyFault> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        unit.ok_or(BodyFault { at, problem: Problem::Syntax("expected four hexadecimal digits after `\\u`") })
    }

    fn number(&mut self) -> Result<&'t str, BodyFault> {
        let start = self.at;
        self.next_is(b'-');
        let before = self.at;
        let mut digits = self.digits()?;
        if digits > 1 && self.text.as_bytes().get(before) == Some(&b'0') {
            return Err(BodyFault { at: start, problem: Problem::Syntax("leading zero in a number") });
        }
        if self.next_is(b'.') {
            digits += self.digits()?;
        }
        let has_exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            let _ = self.next_is(b'+') || self.next_is(b'-');
            self.digits()?;
        }
        if self.grammar.plain && (has_exponent || digits > 15) {
            return Err(BodyFault { at: start, problem: Problem::Number });
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Takes at least one digit.
    fn digits(&mut self) -> Result<usize, BodyFault> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(self.at - start) } else { Err(self.syntax("expected a digit")) }
    }

    fn literal(&mut self, word: &str, value: Value<'t>) -> Result<Value<'t>, BodyFault> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.syntax("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes this byte, if it is the next.
    fn next_is(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), BodyFault> {
        if self.next_is(byte) { Ok(()) } else { Err(self.syntax(what)) }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn syntax(&self, what: &'static str) -> BodyFault {
        self.fault(Problem::Syntax(what))
    }

    fn fault(&self, problem: Problem) -> BodyFault {
        BodyFault { at: self.at, problem }
    }
}

fn is_plain_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && name.bytes().all(allowed)
}

/// Returns the position of a repeated name.
fn twice(members: &[Member<'_>]) -> Option<usize> {
    if members.len() <= 8 {
        let repeats = |at: usize, member: &Member<'_>| {
            members.iter().take(at).any(|earlier| earlier.name == member.name)
        };
        return members.iter().enumerate().find(|(at, member)| repeats(*at, member)).map(|(_, m)| m.at);
    }
    let mut sorted: Vec<(&str, usize)> = members.iter().map(|member| (&*member.name, member.at)).collect();
    sorted.sort_unstable();
    let mut pairs = sorted.iter().zip(sorted.iter().skip(1));
    pairs.find(|(a, b)| a.0 == b.0).map(|(_, (_, at))| *at)
}
