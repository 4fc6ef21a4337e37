//! `?filter=`: which records of an answer a caller keeps, said as an expression.
//!
//! An expression is parsed and bound to the fields of one kind of record once; what comes out is
//! asked of each record in place, without building JSON for it.
//! *Never*: a record changed, a clock, a pattern that takes more than linear time.
//! *Why* a parser of our own: the grammar is a page long, and its errors name the place.
//! Source: Consul HTTP API, "Filtering"; the rules for corner cases were observed on Consul 1.8.7.

mod bind;
mod error;
#[cfg(feature = "fuzz")]
pub(super) mod fuzz;
mod grammar;
mod mesh;
mod pattern;
mod quote;
#[cfg(any(test, feature = "fuzz"))]
mod sample;
mod shapes;
#[cfg(test)]
mod tests;

pub(super) use bind::{Fields, Filter};
pub(super) use shapes::{catalog_service, check, instance, node, service};
