//! Adapters of the store port, and what they have in common: how a batch is ordered ([`plan`]), what its units come to
//! ([`decisions`]), what it will tell ([`batch`]), and what rows mean ([`rows`], [`columns`]). SQL that both understand
//! stands once in `both` and is compiled for each of them.

#![allow(clippy::duplicate_mod, reason = "what stands in `both` is meant to be compiled for each database")]

mod audit;
mod batch;
mod columns;
mod decisions;
mod demo;
mod plan;
pub mod postgres;
mod rows;
pub mod sqlite;
