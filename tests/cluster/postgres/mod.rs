//! The PostgreSQL adapter.

mod contract;
mod database;
mod ledger;
mod lost_commits;
mod nodes;
mod opening;
mod outage;
mod plans;
mod races;
mod refund_races;
mod schema;
