//! MoCo v1: MoCo v2's objective with a linear projector, a lower temperature and milder views.
//!
//! # Source
//! He et al., Momentum Contrast (CVPR 2020), eq. 1 and algorithm 1; code facebookresearch/moco @ cb10789.

pub use super::moco_v2::MocoV2 as MocoV1;
