//! Reads a rule's `condition`: operators, keys and values as in Huawei's IAM. Adds locations and hints to the errors of
//! [`crate::policy::Test`].

use super::declare::*;
use super::names::{closest, did_you_mean, known};
use super::report::Position;
use crate::policy::{
    Condition, JobStatus, Key, NetworkError, Operator, Test, TestError, ValueError, VariableError,
};
use std::sync::Arc;

/// A condition with the locations of its values.
#[derive(Default)]
pub(super) struct ParsedCondition {
    pub(super) condition: Condition,
    /// The locations of each test's values, in order.
    places: Box<[Box<[Position]>]>,
}

impl ParsedCondition {
    pub(super) fn tests(&self) -> impl Iterator<Item = (&Test, &[Position])> {
        self.condition.tests().iter().zip(self.places.iter().map(|places| &**places))
    }
}

/// A condition. Unreadable parts are reported and left out.
pub(super) const CONDITION: CustomKind<ParsedCondition> = own(read, shape);

/// Returns every operator with the keys that fit it.
fn shape() -> Shape {
    let over = ["", "ForAllValues:", "ForAnyValue:"];
    let before = over.into_iter().flat_map(|over| Operator::names().map(move |name| format!("{over}{name}")));
    let forms = before.flat_map(|name| [name.clone(), format!("{name}IfExists")]);
    let operators = forms.filter_map(|name| {
        let operator = Operator::parse(&name)?;
        let fits = |key: &Key| matches!(Test::new(operator, *key, &[]), Err(TestError::NoValue));
        let keys = Key::ALL.into_iter().filter(fits).map(|key| {
            let value = || value_shape(operator, key);
            (key.as_str().to_owned(), Shape::Either(vec![value(), Shape::List(value().into())]))
        });
        Some((name, Shape::Known { what: "the keys", entries: keys.collect() }))
    });
    Shape::Known { what: "operators, each with keys and values", entries: operators.collect() }
}

/// Returns the values that an operator may compare a key with.
fn value_shape(operator: Operator, key: Key) -> Shape {
    let any_case = operator.to_string().contains("IgnoreCase");
    if operator.takes_switches() {
        Shape::Either(vec![Shape::Switch, Shape::Words(["true", "false"].map(String::from).into())])
    } else if key == Key::JobStatus && !any_case {
        Shape::Words(JobStatus::ALL.map(|status| status.as_str().into()).into())
    } else if key == Key::CurrentTime {
        MOMENT.shape()
    } else if key == Key::SourceIp {
        Shape::pattern("an address or range", "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$")
    } else {
        Shape::text("a value")
    }
}

fn read(source: &SourceFile, node: &Node) -> Option<ParsedCondition> {
    let mut tests = Vec::new();
    for (name, node) in
        named(source, node, "the operators, such as { IpAddress: { g:SourceIp: 10.2.0.0/16 } }")
    {
        let operator = operator(source, &name);
        for (name, node) in named(source, node, "the keys, such as { g:SourceIp: 10.2.0.0/16 }") {
            let key = known(source, "key", &name, Key::ALL.into_iter().map(Key::as_str)).and_then(Key::parse);
            if let (Some(operator), Some(key)) = (operator, key) {
                tests.extend(test(source, node, operator, &Located { value: key, place: name.place }));
            }
        }
    }
    let (tests, places): (Vec<Test>, Vec<Box<[Position]>>) = tests.into_iter().unzip();
    Some(ParsedCondition { condition: Condition::new(tests), places: places.into() })
}

fn operator(source: &SourceFile, name: &Located<Arc<str>>) -> Option<Operator> {
    if let Some(operator) = Operator::parse(&name.value) {
        return Some(operator);
    }
    let [_, text, if_exists] = Operator::parts(&name.value);
    let (over, text) = name.value.split_once(':').map_or((None, text), |(over, _)| {
        let text = text.rsplit(':').next().unwrap_or_default();
        (closest(over, QUANTIFIERS), text)
    });
    // The names of other clouds.
    let hint = match closest(&text.replace("Like", "Match"), Operator::names()) {
        Some("Null") => "did you mean `Null`?".into(),
        Some(operator) => {
            let over = over.map(|over| format!("{over}:")).unwrap_or_default();
            format!("did you mean `{over}{operator}{if_exists}`?")
        }
        None => did_you_mean(source, text, Operator::names()),
    };
    source.reject(name.place, format!("unknown operator `{}`", name.value), hint)
}

fn test(
    source: &SourceFile,
    node: &Node,
    operator: Operator,
    key: &Located<Key>,
) -> Option<(Test, Box<[Position]>)> {
    let nodes = node.one_or_more();
    let values: Vec<&str> = nodes.iter().map(|node| value(source, node, operator)).collect::<Option<_>>()?;
    let places: Vec<Position> = nodes.iter().map(|node| node.place).collect();
    let error = match Test::new(operator, key.value, &values) {
        Ok(test) => return Some((test, places.into())),
        Err(error) => error,
    };
    let (mut place, mut message) = (key.place, error.to_string());
    let hint = match &error {
        TestError::Mismatch(..) => fitting(key.value),
        TestError::Several(operator, _) => format!(
            "write `ForAllValues:{operator}` (all match) or `ForAnyValue:{operator}` (at least one matches)"
        ),
        TestError::One(operator, _) => {
            let operator = operator.to_string();
            let [_, name, if_exists] = Operator::parts(&operator);
            format!("write `{name}{if_exists}`")
        }
        TestError::NoValue => {
            place = node.place;
            "add at least one".into()
        }
        TestError::Value(number, error) => {
            if let (Some(value), Some(of_value)) = (values.get(*number), places.get(*number)) {
                (place, message) = (*of_value, format!("`{value}`: {error}"));
            }
            correction(error)
        }
    };
    source.reject(place, message, hint)
}

fn value<'n>(source: &'n SourceFile, node: &'n Node<'n>, operator: Operator) -> Option<&'n str> {
    if let (Value::Bool(value), true) = (&node.value, operator.takes_switches()) {
        return Some(if *value { "true" } else { "false" });
    }
    scalar::text(source, node, "a value")
}

fn fitting(key: Key) -> String {
    let fits = |name: &&str| Operator::parse(name).is_some_and(|operator| operator.applies_to(key));
    let all: Vec<&str> = Operator::names().filter(fits).collect();
    format!("`{}` accepts {}", key.as_str(), all.join(", "))
}

fn correction(error: &ValueError) -> String {
    match error {
        ValueError::Moment(_) => "use RFC 3339, with `Z` or an offset such as +08:00".into(),
        ValueError::Network(NetworkError::HostBits(range)) => format!("did you mean `{range}`?"),
        ValueError::Network(NetworkError::Malformed | NetworkError::Prefix(_)) => {
            "write an IPv4 or IPv6 address, or a range as ADDRESS/BITS".into()
        }
        ValueError::Switch => "write true or false".into(),
        ValueError::Variable(VariableError::Open | VariableError::Unknown(_)) => {
            "use ${proxy:Caller}, ${proxy:Listener} or ${mpc:ProjectId}; ${*}, ${?} and ${$} are literal characters"
                .into()
        }
        ValueError::Variable(VariableError::Unfinished(_)) => {
            "end the value there, or continue with `/` or `:`, which no name contains".into()
        }
        ValueError::Variable(VariableError::Unbegun(_)) => {
            "separate with `/` or `:`, which no name contains, or remove the wildcard".into()
        }
        ValueError::Status(Some(status)) => format!("did you mean `{}`?", status.as_str()),
        ValueError::Status(None) => {
            format!("write one of {}, in full", JobStatus::ALL.map(JobStatus::as_str).join(", "))
        }
        ValueError::Slash(Key::Input | Key::Output) => "write BUCKET/OBJECT".into(),
        ValueError::Slash(_) => "remove the leading `/`: it is stripped from jobs".into(),
        ValueError::Bucket(whole) => format!("use `{}`, which is BUCKET/OBJECT", whole.as_str()),
        ValueError::NoBucket(key) => {
            format!("write BUCKET/OBJECT, or use `{}Bucket`", key.as_str())
        }
    }
}

const QUANTIFIERS: [&str; 2] = ["ForAllValues", "ForAnyValue"];
