//! Stopping together: the ranks agree after which step, so that none waits for a peer that has left.

use tch::{Kind, Tensor};

use super::{
    Error as RunError,
    link::{Link, Stop},
};
use crate::{
    collective::{Collective, Error},
    eval,
};

/// What the ranks want together: they stop when one of them was asked to. All ranks call this after the same step.
///
/// # Errors
/// When a peer is lost.
pub fn agree(own: Option<Stop>, collective: &Collective) -> Result<Option<Stop>, Error> {
    if collective.world_size() == 1 {
        return Ok(own);
    }
    let wishes = [own.is_some(), own.is_some_and(|stop| stop.checkpoint)];
    let shares = Tensor::from_slice(&wishes).to_kind(Kind::Float);
    collective.mean_(&[shares.shallow_clone()])?;
    let shares = Vec::<f32>::try_from(shares).expect("a flat f32 tensor");
    Ok((shares[0] > 0.0).then_some(Stop { checkpoint: shares[1] > 0.0 }))
}

/// Looks out for the order to stop while something is measured, which takes minutes.
#[derive(Clone, Copy)]
pub struct Watch<'a>(pub &'a Link);

impl Watch<'_> {
    /// To be called by all ranks at the same places.
    ///
    /// # Errors
    /// `Stopped` when the ranks are to stop, or when a peer is lost.
    pub fn tick(self, collective: &Collective) -> Result<(), eval::Error> {
        match agree(self.0.stop(), collective)? {
            Some(_) => Err(eval::Error::Stopped),
            None => Ok(()),
        }
    }
}

/// What was measured; nothing if the ranks stop instead.
///
/// # Errors
/// Every other one.
pub fn unless_stopped<T>(measured: Result<T, RunError>) -> Result<Option<T>, RunError> {
    match measured {
        Err(RunError::Eval(eval::Error::Stopped)) => Ok(None),
        other => other.map(Some),
    }
}
