//! Vision transformers.

use super::{BatchNorm, Stem};
use crate::{
    recipe::{View, data::DataKind},
    scope::Scope,
    v1,
};

/// A vision transformer with fixed positions, without its classifier; the class token's state is the feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vit {
    /// Width of the tokens; a multiple of 4 and of `heads`. Default 384 (ViT-S; 768 is ViT-B).
    pub width: u32,
    /// Blocks. Default 12 (ViT-S and ViT-B).
    pub depth: u32,
    /// Heads of the attention. Default 12 (ViT-B; MoCo v3, code, for ViT-S too, where others take 6).
    pub heads: u32,
    /// Side of a patch in pixels; divides the sides of the views. Default 16, 4 for images as small as Fashion-MNIST's.
    pub patch_size: u32,
    /// Whether the projection of patches stays as it began. Default true (MoCo v3, §4.2).
    pub frozen_patch_projection: bool,
}

impl Vit {
    /// Patches of fewer pixels are for small images, where methods take what they published with the CIFAR stem.
    const SMALL_PATCH: u32 = 8;

    pub(super) fn check(wire: &v1::Vit, data: &DataKind, at: &Scope) -> Self {
        let patch_size = match Stem::published_for(data) {
            Stem::Cifar => 4,
            Stem::ImageNet => 16,
        };
        let vit = Self {
            width: at.number("width", wire.width, 384, 4..=8192),
            depth: at.number("depth", wire.depth, 12, 1..=128),
            heads: at.number("heads", wire.heads, 12, 1..=128),
            patch_size: at.number("patch_size", wire.patch_size, patch_size, 1..=256),
            frozen_patch_projection: wire.frozen_patch_projection.unwrap_or(true),
        };
        if !vit.width.is_multiple_of(4) || !vit.width.is_multiple_of(vit.heads) {
            let message = format!("must be a multiple of 4 and of `heads`, {}, not {}", vit.heads, vit.width);
            at.violate("width", message);
        }
        vit
    }

    /// The published settings that go with it.
    pub(super) fn stem(&self) -> Stem {
        if self.patch_size < Self::SMALL_PATCH { Stem::Cifar } else { Stem::ImageNet }
    }

    pub(super) fn check_views(&self, views: &[View], at: &Scope) {
        let patch = self.patch_size;
        for (idx, view) in views.iter().enumerate() {
            let size = view.output_size();
            if !size.is_multiple_of(patch) {
                let field = if view.jigsaw.is_some() { "jigsaw.patch_size" } else { "crop.size" };
                let message =
                    format!("must be a multiple of the encoder's patch, {patch} pixels, not {size}");
                at.violate(&format!("views[{idx}].{field}"), message);
            }
        }
    }

    pub(super) fn to_wire(&self, batch_norm: BatchNorm) -> v1::Vit {
        v1::Vit {
            width: Some(self.width),
            depth: Some(self.depth),
            heads: Some(self.heads),
            patch_size: Some(self.patch_size),
            frozen_patch_projection: Some(self.frozen_patch_projection),
            batch_norm: Some(batch_norm.to_wire()),
        }
    }
}
