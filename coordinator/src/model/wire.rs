//! Protobuf messages inside journaled changes.

use std::{fmt::Write, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A message that is journaled as the hex of its protobuf encoding, so that fields added to it later are no trouble.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire<M>(pub M);

impl<M> Deref for Wire<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M: prost::Message> Serialize for Wire<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0.encode_to_vec()))
    }
}

impl<'de, M: prost::Message + Default> Deserialize<'de> for Wire<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = from_hex(&text).ok_or_else(|| D::Error::custom("message is not hex"))?;
        M::decode(bytes.as_slice()).map(Self).map_err(D::Error::custom)
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string never fails");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<_>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes =
        pairs.iter().map(|[high, low]| u8::try_from(16 * high + low)).collect::<Result<_, _>>().ok()?;
    rest.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_what_is_none() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("zz"), None);
    }
}
