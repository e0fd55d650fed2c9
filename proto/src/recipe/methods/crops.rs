//! Views of several sizes, for methods that take CLSA's.

use crate::recipe::{RandomResizedCrop, View};

/// A view at the first `n` of CLSA's five sizes: whole, then smaller ones.
pub(super) fn largest(view: &View, n: u32) -> Vec<View> {
    at_sizes(view).into_iter().take(n as usize).collect()
}

/// A view at the last `n` of CLSA's five sizes, the smallest first.
pub(super) fn smallest(view: &View, n: u32) -> Vec<View> {
    at_sizes(view).into_iter().rev().take(n as usize).collect()
}

/// The whole view keeps its own crop.
fn at_sizes(view: &View) -> [View; 5] {
    let mut views = RandomResizedCrop::clsa(view.crop.size).map(|crop| View { crop, ..view.clone() });
    views[0] = view.clone();
    views
}
