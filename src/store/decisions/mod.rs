//! What the units of a batch come to, from the rows as they are: plain functions between an adapter's reads and its
//! writes. An adapter sees to it that what they were given cannot change before what they decided is written.

mod closing;
mod editing;
mod flash_orders;
mod grants;
mod locking;
mod placing;
mod points;
mod receiving;
mod refunding;
mod resolving;
mod returning;
mod stock;

pub(super) use closing::*;
pub(super) use editing::*;
pub(super) use flash_orders::*;
pub(super) use grants::*;
pub(super) use locking::*;
pub(super) use placing::*;
pub(super) use points::*;
pub(super) use receiving::*;
pub(super) use refunding::*;
pub(super) use resolving::*;
pub(super) use returning::*;
pub(super) use stock::*;
