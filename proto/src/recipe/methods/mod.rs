//! One checked parameter struct per method.
//!
//! Adding a method to the recipe: a message in `method.proto`, a file here, and one line in the table below.

use super::{DataSource, Encoder, Stem, View};
use crate::{
    scope::Scope,
    v1::{self, method::Kind},
};

mod byol;
mod clsa;
mod clustering;
mod cmc;
mod co2;
mod crops;
mod heads;
mod infomin;
mod insdis;
mod isd;
mod learned_views;
mod moco_v1;
mod moco_v2;
mod moco_v3;
mod pauc_r;
mod pcl;
mod published;
mod ressl;
mod sane;
mod sce;
mod simclr;
mod simsiam;
mod swav;

pub use byol::Byol;
pub use clsa::Clsa;
pub use clustering::Clustering;
pub use cmc::Cmc;
pub use co2::Co2;
pub use heads::{MomentumSchedule, Predictor, Projector};
pub use infomin::Infomin;
pub use insdis::{Insdis, InsdisForm};
pub use isd::{Form, Isd};
pub use learned_views::LearnedViews;
pub use moco_v1::MocoV1;
pub use moco_v2::MocoV2;
pub use moco_v3::MocoV3;
pub use pauc_r::PaucR;
pub use pcl::{Pcl, PrototypeColumns};
pub(super) use published::Published;
pub use ressl::Ressl;
pub use sane::{MixupScope, Sane};
pub use sce::{Sce, SelfMode};
pub use simclr::Simclr;
pub use simsiam::Simsiam;
pub use swav::Swav;

/// What the recipe asks of each method's parameters.
trait Parameters: Sized {
    /// Their wire form.
    type Wire;

    /// So many of the first channels the encoder sees apart from the others, where the recipe does not say.
    const SPLIT_CHANNELS: u32 = 0;

    /// Every default filled in, every bound enforced.
    fn check(wire: &Self::Wire, encoder: &Encoder, at: &Scope) -> Self;

    /// Fills in what follows from the images that a rank passes at once, and enforces its bounds.
    fn settle(&mut self, _share: &Share, _at: &Scope) {}

    /// With nothing left out.
    fn to_wire(&self) -> Self::Wire;

    /// What the source trains with.
    fn published(&self, stem: Stem) -> Published;

    /// The source's views for images of this side; their number is the method's.
    fn published_views(&self, stem: Stem, size: u32) -> Vec<View>;

    /// The queue, if there is one.
    fn queue(&self) -> Option<QueueUse> {
        None
    }

    /// Whether it sees labels of the training images.
    fn needs_labels(&self) -> bool {
        false
    }
}

/// What a rank of the submitted job passes at once.
pub(super) struct Share {
    /// Images in it.
    pub n_images: u32,
    /// Images that share batch statistics, where these are groups of it.
    pub group: Option<u32>,
}

/// How a method uses its queue.
struct QueueUse {
    /// Keys in it.
    size: u32,
    /// Keys that a step writes for each image.
    keys_per_image: u32,
}

/// The table of methods: each line is the name of the struct and of its message, and its field in the recipe.
macro_rules! methods {
    ($($(#[$doc:meta])* $Name:ident = $field:literal,)*) => {
        /// The objective and its networks.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Method {
            $($(#[$doc])* $Name($Name),)*
        }

        impl Method {
            /// The names of all methods in a recipe.
            pub const NAMES: &[&str] = &[$($field),*];

            /// The method's name in a recipe.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$Name(_) => $field,)* }
            }

            /// The name in a recipe of the method that a message holds; none where it holds none.
            pub fn name_of(wire: &v1::Method) -> Option<&'static str> {
                match wire.kind.as_ref()? { $(Kind::$Name(_) => Some($field),)* }
            }

            pub(super) fn check(wire: Option<&v1::Method>, encoder: &Encoder, at: &Scope) -> Self {
                match wire.and_then(|method| method.kind.as_ref()) {
                    $(Some(Kind::$Name(wire)) => Self::$Name($Name::check(wire, encoder, &at.field($field))),)*
                    None => {
                        at.refuse(format!("names no method: give one of {}", Self::NAMES.join(", ")));
                        Self::MocoV2(MocoV2::check(&v1::MocoV2::default(), encoder, at))
                    }
                }
            }

            pub(super) fn to_wire(&self) -> v1::Method {
                let kind = match self { $(Self::$Name(method) => Kind::$Name(method.to_wire()),)* };
                v1::Method { kind: Some(kind) }
            }

            pub(super) fn settle(&mut self, share: &Share, at: &Scope) {
                match self { $(Self::$Name(method) => method.settle(share, &at.field($field)),)* }
            }

            pub(super) fn published(&self, stem: Stem) -> Published {
                match self { $(Self::$Name(method) => method.published(stem),)* }
            }

            pub(super) fn published_views(&self, stem: Stem, size: u32) -> Vec<View> {
                match self { $(Self::$Name(method) => method.published_views(stem, size),)* }
            }

            /// Whether it sees labels of the training images.
            pub fn needs_labels(&self) -> bool {
                match self { $(Self::$Name(method) => method.needs_labels(),)* }
            }

            fn queue(&self) -> Option<QueueUse> {
                match self { $(Self::$Name(method) => method.queue(),)* }
            }
        }

        /// [`Parameters::SPLIT_CHANNELS`].
        pub(super) fn split_channels(wire: Option<&v1::Method>) -> u32 {
            match wire.and_then(|method| method.kind.as_ref()) {
                $(Some(Kind::$Name(_)) => $Name::SPLIT_CHANNELS,)*
                None => 0,
            }
        }
    };
}

methods! {
    /// MoCo v2.
    MocoV2 = "moco_v2",
    /// SCE.
    Sce = "sce",
    /// MoCo v1.
    MocoV1 = "moco_v1",
    /// MoCo v3.
    MocoV3 = "moco_v3",
    /// SimCLR.
    Simclr = "simclr",
    /// BYOL.
    Byol = "byol",
    /// SimSiam.
    Simsiam = "simsiam",
    /// ReSSL.
    Ressl = "ressl",
    /// CO2.
    Co2 = "co2",
    /// SwAV.
    Swav = "swav",
    /// InsDis.
    Insdis = "insdis",
    /// CLSA.
    Clsa = "clsa",
    /// ISD.
    Isd = "isd",
    /// SANE.
    Sane = "sane",
    /// InfoMin.
    Infomin = "infomin",
    /// PCL.
    Pcl = "pcl",
    /// PAUC-R (reconstruction).
    PaucR = "pauc_r",
    /// CMC.
    Cmc = "cmc",
    /// Learned views.
    LearnedViews = "learned_views",
}

impl Method {
    /// A method that sees labels is for images that have some.
    pub(super) fn check_labels(&self, data: &DataSource, at: &Scope) {
        if self.needs_labels() && data.kind.is_unlabelled() {
            at.violate(
                self.name(),
                "sees labels, and the training images have none: leave the labels out, or train on others",
            );
        }
    }

    /// A queue holds at least the keys of one step: writing more would overwrite keys of the same step.
    pub(super) fn check_queue(&self, global_batch: u32, at: &Scope) {
        let Some(QueueUse { size, keys_per_image }) = self.queue() else { return };
        let n_keys = u64::from(keys_per_image) * u64::from(global_batch);
        if u64::from(size) < n_keys {
            let field = format!("{}.queue_size", self.name());
            at.violate(&field, format!("must be at least {n_keys}, the keys of one step, not {size}"));
        }
    }
}
