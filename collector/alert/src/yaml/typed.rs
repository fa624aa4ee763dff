//! A file whose form is a Rust type: derived deserialization over the tree of [`super::parse`], so that every file
//! is read by the same reader, with its bounds, and every error has a place. Numbers are not taken for text:
//! `1.10` is a number to YAML and would come out as `1.1`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _,
    MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{parse, Content, Key, Node, NotRead, Place};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed<T> {
    /// Where.
    pub at: Place,
    /// What stands there.
    pub value: T,
}

/// Under this name [`Placed`] asks for its place; no type of a file has it.
const PLACED: &str = "fettle_alert::yaml::Placed";

/// Reads a file of the form of `T`; one without anything in it gives the default.
///
/// # Errors
/// The first thing that is not as `T` wants it, with its place; and what [`parse`] refuses.
pub fn read<T: DeserializeOwned + Default>(text: &str) -> Result<T, NotRead> {
    let node = parse(text)?;
    match node.content {
        Content::Null => Ok(T::default()),
        _ => T::deserialize(Reader(&node)),
    }
}

impl de::Error for NotRead {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { at: Place::default(), what: what.to_string() }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format!("`{field}` is unknown here; write one of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("`{field}` is missing; add it"))
    }
}

impl NotRead {
    /// The error, at this place if it has none.
    fn or_at(self, at: Place) -> Self {
        if self.at == Place::default() {
            Self { at, ..self }
        } else {
            self
        }
    }
}

struct Reader<'a>(&'a Node);

impl<'a> Reader<'a> {
    /// Where something else stands than is wanted.
    fn not(&self, wanted: &str) -> NotRead {
        let quotes = match (wanted, &self.0.content) {
            ("text", Content::Number(_) | Content::Bool(_)) => "; put it in quotes",
            _ => "",
        };
        NotRead { at: self.0.at, what: format!("this is {}, not {wanted}{quotes}", self.0.kind()) }
    }

    fn text(&self) -> Result<&'a str, NotRead> {
        match &self.0.content {
            Content::Text(text) => Ok(text),
            _ => Err(self.not("text")),
        }
    }

    fn number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, NotRead> {
        let Content::Number(number) = self.0.content else { return Err(self.not("a number")) };
        let at = self.0.at;
        let whole = number.fract() == 0.0 && (0.0..9e15).contains(&number);
        let read = if whole { visitor.visit_u64(number as u64) } else { visitor.visit_f64(number) };
        read.map_err(|error: NotRead| error.or_at(at))
    }
}

macro_rules! numbers {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
            self.number(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = NotRead;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        match &self.0.content {
            Content::Null => visitor.visit_unit(),
            Content::Bool(_) => self.deserialize_bool(visitor),
            Content::Number(_) => self.number(visitor),
            Content::Text(_) => self.deserialize_str(visitor),
            Content::List(_) => self.deserialize_seq(visitor),
            Content::Map(_) => self.deserialize_map(visitor),
        }
    }

    numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        match self.0.content {
            Content::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.not("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        let at = self.0.at;
        visitor.visit_borrowed_str(self.text()?).map_err(|error: NotRead| error.or_at(at))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        match self.0.content {
            Content::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotRead> {
        if name == PLACED {
            visitor.visit_seq(Parts { node: self.0, next: 0 })
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        let items = match &self.0.content {
            Content::List(items) => items.as_slice(),
            // A key below which all lines are comments.
            Content::Null => &[],
            _ => return Err(self.not("a list")),
        };
        visitor.visit_seq(Items(items.iter())).map_err(|error: NotRead| error.or_at(self.0.at))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        let entries = match &self.0.content {
            Content::Map(entries) => entries.as_slice(),
            Content::Null => &[],
            _ => return Err(self.not("a mapping")),
        };
        let entries = Entries { entries: entries.iter(), value: None };
        visitor.visit_map(entries).map_err(|error: NotRead| error.or_at(self.0.at))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotRead> {
        self.deserialize_map(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotRead> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct enum
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = NotRead;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, NotRead> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(node)).map(Some).map_err(|error| error.or_at(node.at))
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, (Key, Node)>,
    value: Option<&'a Node>,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = NotRead;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, NotRead> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        let name: StrDeserializer<'_, NotRead> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| error.or_at(key.at))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, NotRead> {
        let Some(node) = self.value.take() else {
            return Err(NotRead::custom("a value comes after its key"));
        };
        seed.deserialize(Reader(node)).map_err(|error| error.or_at(node.at))
    }
}

/// Line, column and content of a node, one after the other.
struct Parts<'a> {
    node: &'a Node,
    next: u8,
}

impl<'a> SeqAccess<'a> for Parts<'a> {
    type Error = NotRead;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, NotRead> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(self.node.at.line.into_deserializer()).map(Some),
            2 => seed.deserialize(self.node.at.column.into_deserializer()).map(Some),
            _ => seed.deserialize(Reader(self.node)).map(Some).map_err(|error| error.or_at(self.node.at)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(PLACED, PlacedVisitor(PhantomData))
    }
}

struct PlacedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PlacedVisitor<T> {
    type Value = Placed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a file that is read here")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Placed<T>, A::Error> {
        let missing = || A::Error::custom("a place is a line and a column");
        let line = parts.next_element()?.ok_or_else(missing)?;
        let column = parts.next_element()?.ok_or_else(missing)?;
        let value = parts.next_element()?.ok_or_else(missing)?;
        Ok(Placed { at: Place { line, column }, value })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        name: Option<Placed<String>>,
        #[serde(default)]
        ports: Vec<u16>,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        parts: BTreeMap<String, Part>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Part {
        share: f32,
        to: Vec<Placed<String>>,
    }

    #[test]
    fn a_file_is_read_into_its_type_with_places() {
        let file: File =
            read("name: x\nports: [25, 587]\non: true\nparts:\n  a: {share: 0.5, to: [b, \"1.10\"]}\n")
                .unwrap();
        assert_eq!(file.name, Some(Placed { at: Place { line: 1, column: 7 }, value: "x".to_owned() }));
        assert_eq!((file.ports.as_slice(), file.on), (&[25, 587][..], true));
        let part = &file.parts["a"];
        assert_eq!((part.share, part.to[1].value.as_str(), part.to[1].at.line), (0.5, "1.10", 5));
        assert_eq!(read::<File>("# nothing\n").unwrap(), File::default());
        assert_eq!(read::<File>("name: ~\n").unwrap(), File::default());
        assert_eq!(read::<File>("ports:\n#- 25\nparts:\n# none\n").unwrap(), File::default());
    }

    #[test]
    fn what_is_not_of_the_type_is_refused_at_its_place() {
        for (text, line, column, words) in [
            ("nam: x\n", 1, 1, "`nam` is unknown here; write one of name, ports"),
            ("name: 1.10\n", 1, 7, "this is a number, not text; put it in quotes"),
            ("name: [x]\n", 1, 7, "this is a list, not text"),
            ("ports: [25, 70000]\n", 1, 13, "70000"),
            ("ports: [2.5]\n", 1, 9, "2.5"),
            ("on: x\n", 1, 5, "this is text, not true or false"),
            ("parts:\n  a: {share: 1}\n", 2, 6, "`to` is missing; add it"),
            ("parts:\n  a: {share: 1, to: [b, true]}\n", 2, 25, "put it in quotes"),
            ("parts: [a]\n", 1, 8, "this is a list, not a mapping"),
            ("- a\n", 1, 1, "this is a list, not a mapping"),
        ] {
            let error = read::<File>(text).unwrap_err();
            assert_eq!((error.at.line, error.at.column), (line, column), "{text}: {error:?}");
            assert!(error.what.contains(words), "{text}: {error:?}");
        }
    }
}
