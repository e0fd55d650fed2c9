//! From files to batches: data sets, the order of an epoch, views and the loader.
//!
//! Everything random is a pure function of (seed, epoch, sample, view): the same at any world size, with any number of
//! threads, after any restart. No torch here, and nothing is async but what an object store does: a rank reads [`Loader::next`] from its training loop.
//!
//! Non-goals: files of other kinds than IDX, JPEG, PNG, tar files of these, and the binaries of CIFAR and STL-10, and augmentation on a
//! device.

mod batch;
mod dataset;
mod error;
mod loader;
mod order;
mod pack;
mod philox;
mod plan;
mod sheet;
mod site;
#[cfg(test)]
mod testing;
mod view;

pub use batch::{Batch, ViewBatch, plain_batch, raw_pixels};
pub use dataset::{Dataset, Image, SECTION_LEN, Split, first_difference};
pub use error::Error;
pub use loader::{Loader, LoaderConfig};
pub use order::Order;
pub use pack::{Pack, Packed};
pub use plan::Plan;
pub use sheet::contact_sheet;
pub use site::{ShardCache, Site};
pub use view::{Pipeline, ViewScratch, from_rgb};
