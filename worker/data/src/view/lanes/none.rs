//! No shuffles: this CPU's are not used.

use std::convert::Infallible;

use pulp::Arch;

use super::LANES;

/// A CPU's shuffles; there are none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide(Infallible);

impl Wide {
    pub(super) fn of(_: Arch) -> Option<Wide> {
        None
    }

    pub(crate) fn split(self, _: &[u8], _: [&mut [f32]; 3]) -> usize {
        match self.0 {}
    }

    pub(crate) fn merge(self, _: [&[f32]; 3], _: [(f32, f32); 3], _: bool, _: &mut [f32]) -> usize {
        match self.0 {}
    }

    pub(crate) fn weigh_block<const REACHES_FAR: bool, const CHANNELS: usize>(
        self,
        _: [&[f32]; CHANNELS],
        _: &[([u32; LANES], [f32; LANES])],
    ) -> [[f32; LANES]; CHANNELS] {
        match self.0 {}
    }
}
