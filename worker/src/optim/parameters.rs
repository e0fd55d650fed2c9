//! Named parameters that take their steps together.

use tch::Tensor;

/// Named parameters that take their steps together.
pub(super) struct Parameters {
    names: Vec<String>,
    tensors: Vec<Tensor>,
}

impl Parameters {
    pub fn new(named: Vec<(String, Tensor)>) -> Self {
        let (names, tensors) = named.into_iter().unzip();
        Self { names, tensors }
    }

    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Their gradients; undefined where there is none.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.tensors.iter().map(Tensor::grad).collect()
    }

    /// One tensor of zeros a parameter, which lies in memory as the parameter does.
    pub fn zeros(&self) -> Vec<Tensor> {
        self.tensors.iter().map(|parameter| parameter.detach().zeros_like()).collect()
    }

    /// Shallow handles of what is kept of them, one tensor a parameter, by `WHAT.PARAMETER`.
    pub fn state<'a>(
        &'a self,
        what: &'a str,
        kept: &'a [Tensor],
    ) -> impl Iterator<Item = (String, Tensor)> + 'a {
        let names = self.names.iter().map(move |name| format!("{what}.{name}"));
        names.zip(kept.iter().map(Tensor::shallow_clone))
    }
}
