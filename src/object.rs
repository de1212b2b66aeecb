//! Deserialises structs from JSON objects only.
//!
//! serde's derived code also accepts an array with the members by position: `["ns", …]` for `{"namespace": "ns", …}`. A
//! check of the document by member names would not see them.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A struct that is deserialised from an object only.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Pair {
        one: String,
        other: Option<u8>,
    }

    #[test]
    fn an_object_is_read_and_nothing_that_resembles_one() {
        let read = |json: &str| serde_json::from_str::<Object<Pair>>(json).map(|Object(pair)| pair);
        let pair = read(r#"{"one":"a","other":1,"more":[]}"#).unwrap();
        assert_eq!((pair.one.as_str(), pair.other), ("a", Some(1)));
        for json in [
            r#"["a",1]"#,
            r#"["a"]"#,
            "[]",
            "{}",
            "null",
            "\"a\"",
            r#"{"one":"a","one":"b"}"#,
            r#"[{"one":"a"}]"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
