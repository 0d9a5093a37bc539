//! An event as JSON: an object that begins with its `type`. The plan is read as it comes in, for it may have megabytes: what serde
//! derives holds a whole tagged object in memory before it looks at it.

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Event;

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TypeFirst)
    }
}

struct TypeFirst;

impl<'de> Visitor<'de> for TypeFirst {
    type Value = Event;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an event that begins with its type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((key, kind)) if key == TYPE && kind == PLANNED => {
                Deserialize::deserialize(MapAccessDeserializer::new(map)).map(Event::Planned)
            }
            Some((key, kind)) if key == TYPE => {
                Event::deserialize(MapAccessDeserializer::new(Again { kind: Some(kind), rest: map }))
            }
            Some(_) | None => Err(A::Error::custom("an event does not begin with its type")),
        }
    }
}

/// An object whose type has been read, with it at its beginning once more.
struct Again<A> {
    kind: Option<String>,
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Again<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.kind {
            Some(_) => seed.deserialize(TYPE.into_deserializer()).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.kind.take() {
            Some(kind) => seed.deserialize(kind.into_deserializer()),
            None => self.rest.next_value_seed(seed),
        }
    }
}

const TYPE: &str = "type";
const PLANNED: &str = "planned";
