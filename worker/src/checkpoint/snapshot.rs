//! A copy of the state, which training does not touch.

use tch::{Device, TchError, Tensor, no_grad};

use super::Error;

/// A copy of named tensors in this process's memory. Taken again, it is made into the same memory, which costs less than
/// new memory does.
#[derive(Default)]
pub struct Snapshot {
    tensors: Vec<(String, Tensor)>,
}

impl Snapshot {
    /// Copies the tensors: layouts stay, devices and gradients do not.
    ///
    /// # Errors
    /// When memory runs out, or the device fails; the error names the tensor.
    pub fn take(&mut self, state: &[(String, Tensor)]) -> Result<(), Error> {
        if !self.fits(state) {
            self.tensors.clear();
        }
        for (idx, (name, tensor)) in state.iter().enumerate() {
            let copied = self.copy(idx, name, tensor);
            copied.map_err(|source| Error::Tensor { name: name.clone(), source })?;
        }
        Ok(())
    }

    fn copy(&mut self, idx: usize, name: &str, tensor: &Tensor) -> Result<(), TchError> {
        if idx == self.tensors.len() {
            let memory = tensor.f_detach()?.f_empty_like()?.f_to_device(Device::Cpu)?;
            self.tensors.push((name.to_owned(), memory));
        }
        no_grad(|| self.tensors[idx].1.f_copy_(tensor))?;
        Ok(())
    }

    /// Whether the memory that is there is for such tensors.
    fn fits(&self, state: &[(String, Tensor)]) -> bool {
        let is_alike = |((name, memory), (other, tensor)): (&(String, Tensor), &(String, Tensor))| {
            name == other && memory.kind() == tensor.kind() && memory.size() == tensor.size()
        };
        self.tensors.len() == state.len() && self.tensors.iter().zip(state).all(is_alike)
    }

    /// The copies, in the order of the tensors.
    pub fn tensors(&self) -> &[(String, Tensor)] {
        &self.tensors
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn state(value: f64) -> Vec<(String, Tensor)> {
        let conv = Tensor::full([2, 3, 4, 4], value, (Kind::Float, Device::Cpu));
        let conv = kindred_bridge::channels_last(&conv).set_requires_grad(true);
        vec![("conv.weight".into(), conv), ("pointer".into(), Tensor::from(value as i64))]
    }

    #[test]
    fn what_training_does_next_does_not_reach_the_copy() {
        let state = state(1.0);
        let mut snapshot = Snapshot::default();
        snapshot.take(&state).expect("there is memory");
        let _ = no_grad(|| state[0].1.shallow_clone().fill_(2.0));
        let (name, copy) = &snapshot.tensors()[0];
        assert_eq!(
            (name.as_str(), copy.double_value(&[1, 2, 3, 3]), copy.requires_grad()),
            ("conv.weight", 1.0, false)
        );
        assert_eq!(copy.stride(), state[0].1.stride());
    }

    #[test]
    fn the_next_copy_is_made_into_the_same_memory() {
        let mut snapshot = Snapshot::default();
        snapshot.take(&state(1.0)).expect("there is memory");
        let before = snapshot.tensors()[0].1.data_ptr();
        snapshot.take(&state(3.0)).expect("there is memory");
        assert_eq!(snapshot.tensors()[0].1.data_ptr(), before);
        assert_eq!(snapshot.tensors()[1].1.int64_value(&[]), 3);
    }

    #[test]
    fn a_state_of_other_shapes_gets_memory_of_its_own() {
        let mut snapshot = Snapshot::default();
        snapshot.take(&state(1.0)).expect("there is memory");
        let other = vec![("queue".to_owned(), Tensor::from_slice(&[1.0_f32, 2.0]))];
        snapshot.take(&other).expect("there is memory");
        assert_eq!(snapshot.tensors().len(), 1);
        assert_eq!(snapshot.tensors()[0].1, other[0].1);
    }
}
