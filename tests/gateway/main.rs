//! The Alipay client against the sandbox, over real HTTP on a loopback port.

mod answers;
mod cashier;
mod ledger_contract;
mod ledgers;
mod life;
mod support;
