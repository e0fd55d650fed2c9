//! Digests of tensors, by which ranks compare their state.

use std::borrow::Borrow;

use tch::Tensor;

/// Returns the BLAKE3 digest of the tensors' kinds, shapes and bytes. Layout in memory and device make no difference.
pub fn digest<T: Borrow<Tensor>>(tensors: &[T]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for tensor in tensors {
        let tensor = tensor.borrow();
        hasher.update(format!("{:?}{:?}", tensor.kind(), tensor.size()).as_bytes());
        hasher.update(&bytes(tensor));
    }
    *hasher.finalize().as_bytes()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let n_elements = tensor.numel();
    let mut bytes = vec![0; n_elements * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, n_elements);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_sees_values_shape_and_kind_but_not_layout() {
        let tensor = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape([2, 3]);
        let transposed_in_memory = tensor.tr().contiguous().tr();
        assert_eq!(digest(&[&tensor]), digest(&[&transposed_in_memory]));
        for other in [&tensor + 1.0, tensor.reshape([3, 2]), tensor.to_kind(tch::Kind::Double)] {
            assert_ne!(digest(&[&tensor]), digest(&[other]));
        }
    }
}
