//! One rank of a job: it trains on one device, together with the other ranks of its generation.
//!
//! The binary `kindred-rank` is started by the agent and speaks to nobody else but its peers. [`train`] tells the
//! story; the modules beside it do not know one another, except that methods are made of networks.

pub mod checkpoint;
pub mod collective;
pub mod eval;
pub mod export;
pub mod methods;
pub mod nn;
pub mod optim;
pub mod train;
