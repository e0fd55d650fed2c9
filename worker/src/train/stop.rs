//! Stopping together, or leaving for a newer generation: the ranks agree after which step, so that none waits for a peer
//! that has left.

use kindred_bridge::ErrorKind;
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
/// When a peer is lost, or one of the ranks was told to meet a newer generation: then all of them leave this one.
pub fn agree(link: &Link, collective: &Collective) -> Result<Option<Stop>, Error> {
    let own = link.stop();
    let wishes = [own.is_some(), own.is_some_and(|stop| stop.checkpoint), link.is_superseded()];
    let [stops, saves, leaves] = any(wishes, collective)?;
    if leaves && !stops {
        return Err(Error::new(ErrorKind::PeerLost, "a newer generation of the job meets"));
    }
    Ok(stops.then_some(Stop { checkpoint: saves }))
}

/// What at least one of the ranks says.
fn any<const N: usize>(own: [bool; N], collective: &Collective) -> Result<[bool; N], Error> {
    if collective.world_size() == 1 {
        return Ok(own);
    }
    let shares = Tensor::from_slice(&own).to_kind(Kind::Float);
    collective.mean_(&[shares.shallow_clone()])?;
    let shares = <[f32; N]>::try_from(Vec::<f32>::try_from(shares).expect("a flat f32 tensor"));
    Ok(shares.expect("as many as went in").map(|share| share > 0.0))
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
        match agree(self.0, collective)? {
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
