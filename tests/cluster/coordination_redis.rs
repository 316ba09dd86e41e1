//! Coordination in Redis: the contract on a single server and on a cluster of three masters, the losses that a server
//! can have, outages, and random lives beside the in-process adapter.

mod life;
mod losses;
mod opening;
mod outage;
mod rig;

mod single {
    actors::coordination_contract!(super::rig::on_single());
    actors::carts_contract!(async { super::rig::on_single().await.carts() });
}

mod cluster {
    actors::coordination_contract!(super::rig::on_cluster());
    actors::carts_contract!(async { super::rig::on_cluster().await.carts() });
}
