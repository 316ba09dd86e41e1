//! The flash sale on the memory store: what it sells, whom it tells what, and what survives the loss of the permits.

mod challenge;
mod faults;
mod keyed;
mod latch;
mod life;
mod scene;
mod selling;
