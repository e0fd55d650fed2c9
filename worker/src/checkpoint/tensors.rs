//! Named tensors as safetensors bytes, and back.

use std::{borrow::Cow, collections::HashMap, path::Path};

use safetensors::{
    SafeTensors,
    tensor::{Dtype, TensorView, View},
};
use tch::{Kind, TchError, Tensor};

use super::Error;

/// The bytes of a safetensors file with these tensors, in row-major order whatever their layout in memory.
///
/// # Errors
/// When a tensor cannot be copied to the processor, or its kind has no name in the format.
pub fn encode(tensors: &[(String, Tensor)], metadata: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let view = HostTensor::of(tensor).map_err(|source| Error::Tensor { name: name.clone(), source })?;
        views.push((name.as_str(), view));
    }
    let metadata: HashMap<_, _> =
        metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    Ok(safetensors::serialize(views, metadata).expect("views have the length that their shape says"))
}

/// Copies tensors from safetensors bytes into those of the same name; layout, device and gradient flag stay.
///
/// # Errors
/// When the bytes do not hold exactly these names and shapes; the error names `path`, where they came from.
pub fn restore(bytes: &[u8], path: &Path, into: &[(String, Tensor)]) -> Result<(), Error> {
    let stored = SafeTensors::deserialize(bytes).map_err(|error| Error::unreadable(path, error))?;
    if stored.len() != into.len() {
        let why = format!("holds {} tensors, the job has {}", stored.len(), into.len());
        return Err(Error::unreadable(path, why));
    }
    for (name, target) in into {
        let view =
            stored.tensor(name).map_err(|_| Error::unreadable(path, format!("has no tensor {name}")))?;
        check_shape(name, &view, target).map_err(|why| Error::unreadable(path, why))?;
        copy_into(&view, target).map_err(|source| Error::Tensor { name: name.clone(), source })?;
    }
    Ok(())
}

fn check_shape(name: &str, view: &TensorView, target: &Tensor) -> Result<(), String> {
    let target_shape: Vec<usize> = target.size().iter().map(|&size| size as usize).collect();
    if view.shape() == target_shape {
        return Ok(());
    }
    Err(format!("tensor {name} has shape {:?}, the job's has {target_shape:?}", view.shape()))
}

fn copy_into(view: &TensorView, target: &Tensor) -> Result<(), TchError> {
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    let stored = Tensor::f_from_data_size(view.data(), &shape, kind_of(view.dtype())?)?;
    tch::no_grad(|| target.shallow_clone().f_copy_(&stored))?;
    Ok(())
}

/// A tensor's values on the processor. Their bytes are put into row-major order when they are asked for, so that no more
/// than one tensor is there twice.
struct HostTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    tensor: Tensor,
}

impl HostTensor {
    fn of(tensor: &Tensor) -> Result<Self, TchError> {
        let tensor = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?;
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        Ok(Self { dtype: dtype_of(tensor.f_kind()?)?, shape, tensor })
    }
}

impl View for HostTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; self.data_len()];
        self.tensor.copy_data_u8(&mut bytes, self.tensor.numel());
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

/// The kinds that state is made of, and their names in the format.
const KINDS: [(Kind, Dtype); 5] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
    (Kind::Bool, Dtype::BOOL),
];

fn dtype_of(kind: Kind) -> Result<Dtype, TchError> {
    let pair = KINDS.iter().find(|pair| pair.0 == kind);
    pair.map(|pair| pair.1).ok_or_else(|| TchError::Kind(format!("{kind:?} has no place in a checkpoint")))
}

fn kind_of(dtype: Dtype) -> Result<Kind, TchError> {
    let pair = KINDS.iter().find(|pair| pair.1 == dtype);
    pair.map(|pair| pair.0).ok_or_else(|| TchError::Kind(format!("{dtype:?} has no place in a checkpoint")))
}
