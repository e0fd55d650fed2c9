//! Cutting and scaling.

use super::scaled;
use crate::{
    scope::{Scope, positive_to},
    v1,
};

/// Cut and scale, as torchvision's RandomResizedCrop.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomResizedCrop {
    /// Side of the output in pixels. Default: 224 with the ImageNet stem (MoCo v2, SCE), but for STL-10 the 96 of its
    /// images; with the CIFAR stem 32, for Fashion-MNIST the 28 of its images, for STL-10 64 (SsnL/align_uniform @
    /// e256d47). For a jigsaw, the next multiple of its cells: see [`View::jigsaw`](super::View::jigsaw).
    pub size: u32,
    /// Least share of the area. Default 0.2 (MoCo v2, SCE); for a jigsaw 0.6 (InfoMin).
    pub scale_min: f64,
    /// Greatest share of the area. Default 1.
    pub scale_max: f64,
    /// Least aspect ratio. Default 3/4 (torchvision).
    pub ratio_min: f64,
    /// Greatest aspect ratio. Default 4/3 (torchvision).
    pub ratio_max: f64,
}

impl RandomResizedCrop {
    /// Crops of [0.2, 1] of the area, which most published pipelines have.
    pub fn published(size: u32) -> Self {
        Self::of_area(size, 0.2, 1.0)
    }

    /// Crops of [`scale_min`, `scale_max`] of the area.
    pub fn of_area(size: u32, scale_min: f64, scale_max: f64) -> Self {
        Self { size, scale_min, scale_max, ratio_min: 3.0 / 4.0, ratio_max: 4.0 / 3.0 }
    }

    /// Five crops of falling size and area: 224, 192, 160, 128 and 96 pixels where `size` is 224.
    ///
    /// Source: CLSA (maple-research-lab/CLSA @ 37df76c); SCE's local crops are the last four, SANE-Single mixes the
    /// last one, SANE-Multi all.
    pub fn clsa(size: u32) -> [Self; 5] {
        [(224, 0.2, 1.0), (192, 0.172, 0.86), (160, 0.143, 0.715), (128, 0.114, 0.571), (96, 0.086, 0.429)]
            .map(|(published, scale_min, scale_max)| {
                Self::of_area(scaled(published, size), scale_min, scale_max)
            })
    }

    pub(super) fn check(wire: &v1::RandomResizedCrop, default: Self, at: &Scope) -> Self {
        let crop = Self {
            size: at.number("size", wire.size, default.size, 8..=1024),
            scale_min: at.number("scale_min", wire.scale_min, default.scale_min, positive_to(1.0)),
            scale_max: at.number("scale_max", wire.scale_max, default.scale_max, positive_to(1.0)),
            ratio_min: at.number("ratio_min", wire.ratio_min, default.ratio_min, 0.01..=100.0),
            ratio_max: at.number("ratio_max", wire.ratio_max, default.ratio_max, 0.01..=100.0),
        };
        at.ordered(("scale_min", crop.scale_min), ("scale_max", crop.scale_max));
        at.ordered(("ratio_min", crop.ratio_min), ("ratio_max", crop.ratio_max));
        crop
    }

    pub(super) fn to_wire(&self) -> v1::RandomResizedCrop {
        v1::RandomResizedCrop {
            size: Some(self.size),
            scale_min: Some(self.scale_min),
            scale_max: Some(self.scale_max),
            ratio_min: Some(self.ratio_min),
            ratio_max: Some(self.ratio_max),
        }
    }
}

/// Cuts the view into cells and takes a random patch of each: the view is then the patches, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jigsaw {
    /// Cells in a row, and rows of them; divides the crop's size. Default 3 (InfoMin).
    pub grid: u32,
    /// Side of a patch in pixels, at most that of a cell. Default 64 of the 85 of a cell (InfoMin), rounded.
    pub patch_size: u32,
}

impl Jigsaw {
    /// Cells in a row (PIRL, InfoMin).
    pub(super) const GRID: u32 = 3;

    /// InfoMin's share of a cell.
    pub(super) fn of_cells(grid: u32, cell_size: u32) -> Self {
        Self { grid, patch_size: ((64 * cell_size + 42) / 85).max(1) }
    }

    pub(super) fn check(wire: &v1::Jigsaw, crop_size: u32, at: &Scope) -> Self {
        let grid = at.number("grid", wire.grid, Self::GRID, 1..=16);
        if !crop_size.is_multiple_of(grid) {
            at.violate("grid", format!("must divide the crop's size, {crop_size} pixels, not be {grid}"));
        }
        let cell_size = (crop_size / grid).max(1);
        let default = Self::of_cells(grid, cell_size);
        Self { patch_size: at.number("patch_size", wire.patch_size, default.patch_size, 1..=cell_size), grid }
    }

    pub(super) fn to_wire(&self) -> v1::Jigsaw {
        v1::Jigsaw { grid: Some(self.grid), patch_size: Some(self.patch_size) }
    }
}
