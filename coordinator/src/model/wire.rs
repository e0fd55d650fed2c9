//! Protobuf messages inside journaled changes.

use std::ops::Deref;

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
        serializer.serialize_str(&hex::encode(self.0.encode_to_vec()))
    }
}

impl<'de, M: prost::Message + Default> Deserialize<'de> for Wire<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = hex::decode(text).map_err(D::Error::custom)?;
        M::decode(bytes.as_slice()).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use kindred_proto::v1;

    use super::*;

    #[test]
    fn messages_round_trip_and_what_is_no_hex_is_refused() {
        let message =
            Wire(v1::Event { job_id: "job-\u{fc}".to_owned(), number: 1 << 40, ..Default::default() });
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(serde_json::from_str::<Wire<v1::Event>>(&text).unwrap(), message);
        for broken in ["\"abc\"", "\"zz\""] {
            assert!(serde_json::from_str::<Wire<v1::Event>>(broken).is_err(), "{broken}");
        }
    }
}
