//! Properties of the checks over random specs, made from the descriptors alone: a new field is covered at once.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

use std::sync::LazyLock;

use kindred_proto::{
    job_spec::{self, AnySpec, SpecError},
    v1,
};
use proptest::prelude::*;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_violation_names_a_field_that_exists(seed: u64) {
        if let Err(error) = AnySpec::check(&wire(&Dice(seed).message(&job_spec()))) {
            for violation in error.violations {
                prop_assert!(exists(&violation.field), "{violation}");
            }
        }
    }

    #[test]
    fn a_checked_spec_is_a_fixed_point(seed: u64) {
        let spec = repaired(seed)?;
        let filled = spec.to_wire();
        let again = AnySpec::check(&filled);
        prop_assert_eq!(again.as_ref(), Ok(&spec));
    }

    #[test]
    fn yaml_keeps_every_value(seed: u64) {
        let filled = repaired(seed)?.to_wire();
        prop_assert_eq!(job_spec::from_yaml(&job_spec::to_yaml(&filled), &[]), Ok(filled));
    }
}

/// A random spec that trains or measures, with what it cannot do without, less what the checks refuse.
fn repaired(seed: u64) -> Result<AnySpec, TestCaseError> {
    let mut message = Dice(seed).message(&job_spec());
    for round in 0..8 {
        let mut wire = wire(&message);
        wire.name = "random".to_owned();
        if seed.is_multiple_of(2) {
            trains(&mut wire);
        } else {
            measures(&mut wire);
        }
        match AnySpec::check(&wire) {
            Ok(spec) => return Ok(spec),
            Err(error) => leave_out(&mut message, &error, round),
        }
    }
    Err(TestCaseError::reject("violations stay"))
}

fn trains(wire: &mut v1::JobSpec) {
    wire.evaluate = None;
    let recipe = wire.recipe.get_or_insert_default();
    recipe.data.get_or_insert_default().source.get_or_insert_with(fashion_mnist);
    let sce = || v1::method::Kind::Sce(Default::default());
    recipe.method.get_or_insert_default().kind.get_or_insert_with(sce);
}

fn measures(wire: &mut v1::JobSpec) {
    wire.recipe = None;
    let evaluate = wire.evaluate.get_or_insert_default();
    if evaluate.encoder.is_empty() {
        evaluate.encoder = "encoder.safetensors".to_owned();
    }
    evaluate.data.get_or_insert_default().source.get_or_insert_with(fashion_mnist);
}

fn fashion_mnist() -> v1::data_source::Source {
    v1::data_source::Source::FashionMnist(Default::default())
}

/// Later rounds also leave out what a default may not fit.
fn leave_out(message: &mut DynamicMessage, error: &SpecError, round: u32) {
    let named = error.violations.iter().map(|violation| violation.field.as_str());
    let bounds = ["ranks", "recipe.data.limit", "recipe.training.global_batch"];
    for path in named.chain(bounds.into_iter().filter(|_| round >= 4)) {
        clear(message, &path.split('.').collect::<Vec<_>>());
    }
}

fn clear(message: &mut DynamicMessage, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    let name = first.split('[').next().expect("a split has a first part");
    let inner = match message.get_field_by_name_mut(name) {
        _ if rest.is_empty() => return message.clear_field_by_name(name),
        Some(Value::Message(inner)) => inner,
        Some(Value::List(items)) => {
            let idx: usize =
                first[name.len()..].trim_matches(['[', ']']).parse().expect("a list has an index");
            let Some(item) = items.get_mut(idx) else { return };
            item.as_message_mut().expect("only lists of messages are gone into")
        }
        _ => return,
    };
    clear(inner, rest);
}

fn job_spec() -> MessageDescriptor {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(kindred_proto::DESCRIPTORS).unwrap());
    POOL.get_message_by_name("kindred.v1.JobSpec").unwrap()
}

fn wire(message: &DynamicMessage) -> v1::JobSpec {
    message.transcode_to().unwrap()
}

fn exists(path: &str) -> bool {
    let mut descriptor = Some(job_spec());
    path.split('.').all(|part| {
        let name = part.split('[').next().expect("a split has a first part");
        let field = descriptor.as_ref().and_then(|descriptor| descriptor.get_field_by_name(name));
        descriptor = field.as_ref().and_then(|field| field.kind().as_message().cloned());
        field.is_some()
    })
}

/// A splitmix64 generator that makes messages.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n_sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize % n_sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }

    fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            let is_given = match field.kind() {
                Kind::Message(_) => self.roll(4) > 0,
                _ => self.roll(4) == 0,
            };
            if is_given {
                let value = self.field(&field);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            let text = self.pick(&["", "a", "kin"]).to_owned();
            return Value::Map([(MapKey::String(text.clone()), Value::String(text))].into());
        }
        if field.is_list() {
            let n_items = self.roll(4);
            return Value::List((0..n_items).map(|_| self.single(field)).collect());
        }
        self.single(field)
    }

    fn single(&mut self, field: &FieldDescriptor) -> Value {
        const WHOLE: [u32; 15] = [0, 1, 2, 3, 18, 28, 32, 50, 64, 100, 256, 512, 4096, 65_536, u32::MAX];
        const REAL: [f64; 13] =
            [0.0, 1e-4, 0.05, 0.1, 0.2, 0.5, 0.9, 1.0, 4.0 / 3.0, 5.0, -1.0, f64::NAN, 1e300];
        match field.kind() {
            Kind::Message(inner) => Value::Message(self.message(&inner)),
            Kind::Enum(inner) if self.roll(8) > 0 => {
                Value::EnumNumber(self.roll(inner.values().len()) as i32)
            }
            Kind::Enum(_) => Value::EnumNumber(99),
            Kind::Int32 => Value::I32(self.pick(&[0, 1, -1, 100, 101, i32::MIN])),
            Kind::Uint32 => Value::U32(self.pick(&WHOLE)),
            Kind::Uint64 if self.roll(8) == 0 => Value::U64(u64::MAX),
            Kind::Uint64 => Value::U64(self.pick(&WHOLE).into()),
            Kind::Double => Value::F64(self.pick(&REAL)),
            Kind::Bool => Value::Bool(self.roll(2) == 0),
            Kind::String => Value::String(
                self.pick(&["", "a", "images/train", "1e3", "tr\u{e4}in: #1\n", "\0"]).to_owned(),
            ),
            other => panic!("job specs had no {other:?} so far: make some"),
        }
    }
}
