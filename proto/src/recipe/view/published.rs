//! Published pipelines, by their names.
//!
//! `size` is the side of a whole view in pixels. Every other length was published for 224 pixels and scales with it: the
//! sizes of local crops and of jigsaw patches, and blur. Up to 64 pixels the same share of the side is a blur too narrow
//! to change a pixel, and there is none, as in SimCLR's and MoCo's own recipes for CIFAR-10.

use super::{
    ColorJitter, ColorSpace, GaussianBlur, Jigsaw, RandAugment, RandomResizedCrop, Solarize, View, scaled,
};

/// Images up to this size are not blurred.
const SMALL: u32 = 64;

impl View {
    /// A crop of [0.2, 1] of the area and a mirror image half of the time: the view of ISD's, ReSSL's and SCE's targets.
    pub fn weak(size: u32) -> Self {
        Self {
            crop: RandomResizedCrop::published(size),
            color_jitter: None,
            grayscale_probability: 0.0,
            blur: None,
            solarize: None,
            rand_augment: None,
            horizontal_flip_probability: 0.5,
            jigsaw: None,
            color_space: ColorSpace::Rgb,
            statistics: None,
        }
    }

    /// MoCo v1's, InsDis's and PIRL's (facebookresearch/moco @ cb10789; "A" of PyContrast).
    pub fn moco_v1(size: u32) -> Self {
        let color_jitter = ColorJitter { probability: 1.0, hue: 0.4, ..ColorJitter::PUBLISHED };
        Self { color_jitter: Some(color_jitter), grayscale_probability: 0.2, ..Self::weak(size) }
    }

    /// MoCo v2's ("aug+"; facebookresearch/moco @ cb10789, "B" of PyContrast): the strong view of ISD, ReSSL, CO2, PCL
    /// and SimSiam, and SANE's weak one.
    ///
    /// Of small images, that of the authors' CIFAR-10 notebook (@ f736491): crops from 0.08 of the area on, no blur.
    pub fn moco_v2(size: u32) -> Self {
        let mut view = Self {
            color_jitter: Some(ColorJitter::PUBLISHED),
            grayscale_probability: 0.2,
            blur: blur(size, 0.5),
            ..Self::weak(size)
        };
        if size <= SMALL {
            view.crop.scale_min = 0.08;
        }
        view
    }

    /// SimCLR's (google-research/simclr @ 383d414), with colours jittered by `strength`: 1 on ImageNet, 0.5 on CIFAR-10.
    pub fn simclr(size: u32, strength: f64) -> Self {
        Self {
            crop: RandomResizedCrop::of_area(size, 0.08, 1.0),
            color_jitter: Some(ColorJitter::simclr(strength)),
            grayscale_probability: 0.2,
            blur: blur(size, 0.5),
            ..Self::weak(size)
        }
    }

    /// BYOL's two views (arXiv 2006.07733, table 6): the first always blurred, the second seldom, and solarized at times.
    pub fn byol(size: u32) -> Vec<Self> {
        Self::asymmetric(RandomResizedCrop::of_area(size, 0.08, 1.0))
    }

    /// MoCo v3's two views (facebookresearch/moco-v3 @ c349e6e, ResNet): BYOL's, with crops from 0.2 of the area on. They
    /// are the two views of SCE on ImageNet (CEA-LIST/SCE @ 07cbe63).
    pub fn moco_v3(size: u32) -> Vec<Self> {
        Self::asymmetric(RandomResizedCrop::published(size))
    }

    fn asymmetric(crop: RandomResizedCrop) -> Vec<Self> {
        let size = crop.size;
        let first = Self {
            crop,
            color_jitter: Some(ColorJitter { saturation: 0.2, ..ColorJitter::PUBLISHED }),
            grayscale_probability: 0.2,
            blur: blur(size, 1.0),
            ..Self::weak(size)
        };
        let second = Self { blur: blur(size, 0.1), solarize: Some(Solarize::PUBLISHED), ..first.clone() };
        vec![first, second]
    }

    /// SCE's six views (CEA-LIST/SCE @ 07cbe63): two global ones, then four local ones.
    pub fn sce_multi_crop(size: u32) -> Vec<Self> {
        let [_, local @ ..] = RandomResizedCrop::clsa(size);
        let mut views = Self::moco_v3(size);
        let base = Self { blur: blur(size, 0.5), ..views[1].clone() };
        views.extend(local.map(|crop| Self { crop, ..base.clone() }));
        views
    }

    /// SCE's two views of CIFAR-10 (CEA-LIST/SCE @ 07cbe63): a weak one for the target, and a strong one, with blur.
    pub fn sce_small(size: u32) -> Vec<Self> {
        let strong = Self {
            color_jitter: Some(ColorJitter::PUBLISHED),
            grayscale_probability: 0.2,
            blur: Some(GaussianBlur::published(0.5)),
            ..Self::weak(size)
        };
        vec![Self::weak(size), strong]
    }

    /// InfoMin's ("D" of HobbitLong/PyContrast @ 84f94ea): grayscale comes after RandAugment.
    pub fn infomin_d(size: u32) -> Self {
        Self {
            color_jitter: Some(ColorJitter::simclr(1.0)),
            grayscale_probability: 0.2,
            blur: blur(size, 0.5),
            rand_augment: Some(RandAugment::infomin()),
            ..Self::weak(size)
        }
    }

    /// CMC's ("C" of HobbitLong/PyContrast @ 84f94ea): colours jittered always, in Y'DbDr.
    ///
    /// With a memory bank its crops begin at 0.08 of the area, with a queue at these 0.2.
    pub fn cmc(size: u32) -> Self {
        let color_jitter = ColorJitter { probability: 1.0, ..ColorJitter::PUBLISHED };
        Self { color_jitter: Some(color_jitter), ..Self::weak(size) }.in_space(ColorSpace::YDbDr)
    }

    /// CMC v2's ("E" of HobbitLong/PyContrast @ 84f94ea): blur, and the operations of RandAugment that leave colours alone.
    pub fn cmc_v2(size: u32) -> Self {
        Self {
            color_jitter: Some(ColorJitter::PUBLISHED),
            blur: blur(size, 0.5),
            rand_augment: Some(RandAugment::cmc()),
            ..Self::weak(size)
        }
        .in_space(ColorSpace::YDbDr)
    }

    /// CLSA's strong view, SANE's T2 (maple-research-lab/CLSA @ 37df76c): MoCo v2's, then five of fourteen operations.
    ///
    /// Smaller crops of it are those of [`RandomResizedCrop::clsa`].
    pub fn clsa_strong(size: u32) -> Self {
        Self { rand_augment: Some(RandAugment::clsa()), ..Self::moco_v2(size) }
    }

    /// SwAV's eight views (facebookresearch/swav @ 06b1b7c): two global ones of [0.14, 1] of the area, then six of
    /// 96 / 224 of the side and [0.05, 0.14] of the area.
    pub fn swav_multi_crop(size: u32) -> Vec<Self> {
        let crop = RandomResizedCrop::of_area(size, 0.14, 1.0);
        let global = Self { crop, ..Self::simclr(size, 1.0) };
        let crop = RandomResizedCrop::of_area(scaled(96, size), 0.05, 0.14);
        let local = Self { crop, ..global.clone() };
        [vec![global; 2], vec![local; 6]].concat()
    }

    /// InfoMin's and PIRL's nine patches (HobbitLong/PyContrast @ 84f94ea): of each cell of 85 pixels of a crop of 255, 64.
    ///
    /// Of 28 pixels: 8 of the 11 of a cell, of a crop of 33.
    pub fn jigsaw(size: u32) -> Self {
        let cell_size = scaled(85, size);
        let crop = RandomResizedCrop::of_area(Jigsaw::GRID * cell_size, 0.6, 1.0);
        Self { jigsaw: Some(Jigsaw::of_cells(Jigsaw::GRID, cell_size)), crop, ..Self::weak(size) }
    }

    /// This view in another colour space, normalised by that one's statistics.
    pub fn in_space(self, color_space: ColorSpace) -> Self {
        Self { color_space, statistics: color_space.statistics(), ..self }
    }
}

/// Blur of a view that belongs to images of `size` pixels.
fn blur(size: u32, probability: f64) -> Option<GaussianBlur> {
    (size > SMALL).then(|| GaussianBlur::published(probability))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(views: &[View]) -> Vec<u32> {
        views.iter().map(|view| view.crop.size).collect()
    }

    #[test]
    fn lengths_scale_with_the_image() {
        assert_eq!(sizes(&View::sce_multi_crop(224)), [224, 224, 192, 160, 128, 96]);
        assert_eq!(sizes(&View::sce_multi_crop(28)), [28, 28, 24, 20, 16, 12]);
        assert_eq!(sizes(&View::swav_multi_crop(32)), [32, 32, 14, 14, 14, 14, 14, 14]);
        let jigsaw = |size| {
            let view = View::jigsaw(size);
            (view.crop.size, view.n_patches(), view.output_size())
        };
        assert_eq!((jigsaw(224), jigsaw(32), jigsaw(28)), ((255, 9, 64), (36, 9, 9), (33, 9, 8)));
    }

    #[test]
    fn small_images_are_not_blurred() {
        assert!(View::sce_multi_crop(224).iter().all(|view| view.blur.is_some()));
        assert!(View::sce_multi_crop(64).iter().all(|view| view.blur.is_none()));
        assert_eq!((View::moco_v2(65).crop.scale_min, View::moco_v2(64).crop.scale_min), (0.2, 0.08));
    }

    #[test]
    fn the_first_view_of_a_pair_is_always_blurred_and_the_second_solarized_at_times() {
        let blur = |view: &View| view.blur.as_ref().map(|blur| blur.probability);
        let solarize = |view: &View| view.solarize.as_ref().map(|solarize| solarize.probability);
        let pair = View::byol(224);
        assert_eq!((blur(&pair[0]), blur(&pair[1])), (Some(1.0), Some(0.1)));
        assert_eq!((solarize(&pair[0]), solarize(&pair[1])), (None, Some(0.2)));
    }
}
