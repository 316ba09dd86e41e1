//! The bridge over the reference store, in virtual time: `start_paused` lets every pause pass at once.

mod dispatching;
mod pruning;
mod relaying;
pub(crate) mod rig;
mod sweeping;
mod whole;
