//! The order flows over the reference store, with the real writer, stock actors, flash sales, dispatchers and sweep;
//! only the gateway and the bus are the test's.

mod house;

mod close;
mod faults;
mod flash;
mod fulfil;
mod fulfil_faults;
mod keyed;
mod life;
mod pay;
mod submit;
mod world;
