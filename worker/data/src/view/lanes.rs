//! Loops compiled for the widest vectors that the CPU has, chosen at run time.
//!
//! A [`Kernel`] is compiled three times: plainly, for AVX2, and for AVX-512, where it is handed [`Wide`], with which it may
//! shuffle lanes. No form contracts a product and a sum, and each adds in the same order: all give the same bits, so that a
//! job's views do not depend on the node that makes them.

use pulp::{Arch, Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
#[path = "lanes/avx512.rs"]
mod wide;
#[cfg(not(target_arch = "x86_64"))]
#[path = "lanes/none.rs"]
mod wide;

pub(super) use wide::Wide;

/// Values of one register of [`Wide`].
pub(super) const LANES: usize = 16;

/// Work that gains from wide vectors. Everything on its way to the loops must be `#[inline(always)]`.
pub(super) trait Kernel: Sized {
    /// Does the work, with shuffles where there are any.
    fn run(self, wide: Option<Wide>);

    /// Does the work in the best form.
    fn dispatch(self) {
        let arch = Arch::new();
        arch.dispatch(Vectorized(self, Wide::of(arch)));
    }
}

struct Vectorized<K>(K, Option<Wide>);

impl<K: Kernel> WithSimd for Vectorized<K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.0.run(self.1);
    }
}
