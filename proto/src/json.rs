//! Messages as JSON and YAML, for people and scripts: protobuf's JSON mapping with the names of the `.proto` files.
//!
//! Two things differ from the canonical mapping, both allowed to a printer by its specification or by common use:
//! 64-bit integers stay numbers, and fields that hold their type's default are printed too, so that a script finds
//! `progress.step` at step 0.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};

use crate::DESCRIPTORS;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("build.rs wrote these descriptors"));

/// The message as a JSON value; `full_name` is its type's, like `kindred.v1.Job`.
///
/// # Panics
/// The contract has no message of that name, or `message` is of another type.
///
/// ```
/// use kindred_proto::{json, v1};
/// let progress = v1::Progress { step: 7, ..Default::default() };
/// assert_eq!(json::to_value(&progress, "kindred.v1.Progress")["step"], 7);
/// ```
pub fn to_value(message: &impl Message, full_name: &str) -> serde_json::Value {
    dynamic(message, full_name)
        .serialize_with_options(serde_json::value::Serializer, &options().skip_default_fields(false))
        .expect("a message has only values that JSON can hold")
}

/// The message as YAML, its fields in the order of the contract.
///
/// # Panics
/// As [`to_value`].
pub fn to_yaml(message: &impl Message, full_name: &str) -> String {
    let value = dynamic(message, full_name)
        .serialize_with_options(serde_yaml_ng::value::Serializer, &options().skip_default_fields(false))
        .expect("a message has only values that YAML can hold");
    serde_yaml_ng::to_string(&value).expect("keys and values are plain")
}

/// A method of the contract, for whoever passes calls on without knowing them.
///
/// ```
/// let method = kindred_proto::json::Method::find("/kindred.v1.JobService/GetJob").expect("the contract has it");
/// let request = method.request(serde_json::json!({"job_id": "job-1"}))?;
/// assert_eq!(request, [10, 5, 106, 111, 98, 45, 49]);
/// # Ok::<_, String>(())
/// ```
pub struct Method(MethodDescriptor);

impl Method {
    /// By its path: `/kindred.v1.JobService/GetJob`.
    pub fn find(path: &str) -> Option<Self> {
        let (service, name) = path.strip_prefix('/')?.split_once('/')?;
        let service = POOL.get_service_by_name(service)?;
        service.methods().find(|method| method.name() == name).map(Self)
    }

    /// Whether it takes one message and gives many.
    pub fn is_server_streaming(&self) -> bool {
        self.0.is_server_streaming() && !self.0.is_client_streaming()
    }

    /// Whether it takes one message and gives one.
    pub fn is_unary(&self) -> bool {
        !self.0.is_server_streaming() && !self.0.is_client_streaming()
    }

    /// A request as it travels.
    ///
    /// # Errors
    /// In words, when `value` is not the JSON of the method's request.
    pub fn request(&self, value: serde_json::Value) -> Result<Vec<u8>, String> {
        let message =
            DynamicMessage::deserialize(self.0.input(), value).map_err(|error| error.to_string())?;
        Ok(message.encode_to_vec())
    }

    /// What was answered, as JSON, like [`to_value`].
    ///
    /// # Errors
    /// In words, when `bytes` are not the method's answer.
    pub fn answer(&self, bytes: &[u8]) -> Result<serde_json::Value, String> {
        let message = DynamicMessage::decode(self.0.output(), bytes).map_err(|error| error.to_string())?;
        Ok(message
            .serialize_with_options(serde_json::value::Serializer, &options().skip_default_fields(false))
            .expect("a message has only values that JSON can hold"))
    }
}

/// The pool's descriptor of a message.
pub(crate) fn descriptor(full_name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(full_name).unwrap_or_else(|| panic!("the contract has no message {full_name}"))
}

/// The message with its descriptor.
pub(crate) fn dynamic(message: &impl Message, full_name: &str) -> DynamicMessage {
    let mut dynamic = DynamicMessage::new(descriptor(full_name));
    dynamic.transcode_from(message).expect("the message is of the named type");
    dynamic
}

/// Names of the `.proto` files, 64-bit integers as numbers.
pub(crate) fn options() -> SerializeOptions {
    SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false)
}
