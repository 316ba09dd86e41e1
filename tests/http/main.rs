//! The real binary over HTTP, as a client meets it: nothing in here looks inside.
//!
//! Each module starts as few servers as it can. A shared one lives until the test process ends; tests that use it keep
//! to buyers of their own ([`support::Server::new_buyer`]).

#![expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]

mod audit;
mod bad_input;
mod challenge;
mod course;
mod course_sale;
mod examples;
mod internal;
mod internal_sales;
mod layers;
mod limits;
mod login;
mod matrix;
mod openapi;
mod orders_life;
mod place;
mod process;
mod separation;
mod support;
mod v1;
mod v1_admin;
mod v1_keys;
mod v1_orders;
mod wrong_values;
