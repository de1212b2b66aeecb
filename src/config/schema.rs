//! Generates the JSON Schema (draft 2020-12) of both files, for editors and pipelines.
//!
//! It follows from the declarations (see `declare`), and uses features that editors support. The program rejects everything
//! that the schema rejects. Only `check` can validate names, other files, the spelling of numbers, and the range of
//! quantities with a unit.

use super::declare::Section;
use super::kind::{Key, Presence, Rule, Shape};
use super::policy::RawPolicy;
use super::proxy::RawProxy;
use serde_json::{Map, Value, json};
use std::cell::RefCell;

/// A file with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum File {
    /// The configuration.
    Proxy,
    /// The policy.
    Policy,
}

impl File {
    pub(super) fn shape(self) -> Shape {
        match self {
            Self::Proxy => RawProxy::shape(),
            Self::Policy => RawPolicy::shape(),
        }
    }
}

/// Returns the schema of a file as a document.
pub fn schema(file: File) -> String {
    let (title, reloaded) = match file {
        File::Proxy => (RawProxy::WHAT, false),
        File::Policy => (RawPolicy::WHAT, true),
    };
    let writer = Writer { reloaded, shared: RefCell::default() };
    let mut schema = writer.shape(&file.shape());
    // The description comes first for human readers.
    let mut document = object(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("{title} of mpc-auth-proxy"),
    }));
    document.append(&mut schema);
    let shared = writer.shared.into_inner();
    if !shared.is_empty() {
        let named = shared.into_iter().enumerate().map(|(number, schema)| (name(number), schema));
        document.insert("$defs".into(), named.collect::<Map<_, _>>().into());
    }
    format!("{:#}\n", Value::Object(document))
}

struct Writer {
    /// Whether a reload applies every new value.
    reloaded: bool,
    /// Schemas that occur in many places.
    shared: RefCell<Vec<Value>>,
}

impl Writer {
    fn shape(&self, shape: &Shape) -> Map<String, Value> {
        let of = |shape: &Shape| self.shape(shape);
        object(match shape {
            Shape::Version => json!({ "const": 1 }),
            Shape::Switch => json!({ "type": "boolean" }),
            Shape::Count(range) => {
                json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
            }
            Shape::Text { pattern, bare, .. } => {
                let kind = if *bare { json!(["string", "number", "boolean"]) } else { json!("string") };
                match *pattern {
                    "" => json!({ "type": kind, "minLength": 1 }),
                    pattern => json!({ "type": kind, "pattern": pattern }),
                }
            }
            Shape::Words(words) => json!({ "enum": words }),
            Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(of).collect::<Vec<_>>() }),
            Shape::List(item) => json!({ "type": "array", "minItems": 1, "items": of(item) }),
            Shape::Named { name, value } => json!({
                "type": "object",
                "minProperties": 1,
                // A name is always text, even if it looks like a number.
                "propertyNames": { "pattern": of(name).get("pattern") },
                "additionalProperties": of(value),
            }),
            Shape::Known { entries, .. } => {
                let entries = entries.iter().map(|(name, value)| (name.clone(), self.reference(value)));
                json!({
                    "type": "object",
                    "minProperties": 1,
                    "properties": entries.collect::<Map<_, _>>(),
                    "additionalProperties": false,
                })
            }
            Shape::Section { about, keys, rules } => return self.section(about, keys, rules),
        })
    }

    /// Returns a reference to the shared schema of a shape.
    fn reference(&self, shape: &Shape) -> Value {
        let schema = Value::Object(self.shape(shape));
        let mut shared = self.shared.borrow_mut();
        let known = shared.iter().position(|known| *known == schema);
        let number = known.unwrap_or_else(|| {
            shared.push(schema);
            shared.len() - 1
        });
        json!({ "$ref": format!("#/$defs/{}", name(number)) })
    }

    fn section(&self, about: &str, keys: &[Key], rules: &[Rule]) -> Map<String, Value> {
        let required =
            keys.iter().filter(|key| matches!(key.presence, Presence::Required(_))).map(|key| key.name);
        let required: Vec<&str> = required.collect();
        let properties: Map<String, Value> =
            keys.iter().map(|key| (key.name.into(), self.key(key).into())).collect();
        let mut schema = object(json!({
            "description": about,
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        }));
        if !required.is_empty() {
            schema.insert("required".into(), required.into());
        }
        let mut needs = Map::new();
        let mut not_both = Vec::new();
        for rule in rules {
            match rule {
                Rule::One => schema.extend(object(json!({ "minProperties": 1, "maxProperties": 1 }))),
                Rule::Some => schema.extend(object(json!({ "minProperties": 1 }))),
                Rule::Needs(key, other) => drop(needs.insert((*key).into(), json!([other]))),
                Rule::NotBoth(one, other) => not_both.push(json!({ "not": { "required": [one, other] } })),
            }
        }
        if !needs.is_empty() {
            schema.insert("dependentRequired".into(), needs.into());
        }
        if !not_both.is_empty() {
            schema.insert("allOf".into(), not_both.into());
        }
        schema
    }

    fn key(&self, key: &Key) -> Map<String, Value> {
        let mut sentences = vec![key.about.clone()];
        if matches!(key.shape, Shape::Count(_) | Shape::Text { .. } | Shape::Either(_)) {
            sentences.push(sentence(&key.shape.words()));
        }
        let mut schema = Map::new();
        match &key.presence {
            Presence::Required(example) => sentences.push(format!("For example {example}.")),
            Presence::Absent("") => {}
            Presence::Absent(meaning) => sentences.push(format!("If absent: {meaning}.")),
            Presence::Default(spelled) => {
                let default = serde_json::from_str(spelled).unwrap_or_else(|_| spelled.as_str().into());
                schema.insert("default".into(), default);
            }
        }
        if !self.reloaded {
            sentences.push(
                if key.reloaded { "A reload applies a new value." } else { "A change needs a restart." }
                    .into(),
            );
        }
        let mut document = object(json!({ "description": sentences.join(" ") }));
        document.append(&mut schema);
        let mut rest = self.shape(&key.shape);
        // The description of the key is more specific than that of the section.
        rest.remove("description");
        document.append(&mut rest);
        document
    }
}

fn name(number: usize) -> String {
    format!("shared-{number}")
}

/// Adds a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { return Map::new() };
    object
}
