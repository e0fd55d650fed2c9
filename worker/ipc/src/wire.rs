//! A message of the contract inside an ipc message.

use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A `kindred.v1` message, carried as its protobuf bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire<M>(pub M);

impl<M: Message> Serialize for Wire<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.encode_to_vec())
    }
}

impl<'de, M: Message + Default> Deserialize<'de> for Wire<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        M::decode(bytes.as_slice()).map(Wire).map_err(D::Error::custom)
    }
}
