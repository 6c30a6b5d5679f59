//! The bridge contract as a program: one seed, one list of cases, run against any driver.
//!
//! A bridge's own `tests/conformance.rs` gives a [`Fixture`] (databases of its engine) and calls [`run()`]:
//!
//! ```text
//! #[tokio::test(flavor = "multi_thread")]
//! async fn the_contract_holds() {
//!     let report = bridge_conformance::run(&Sqlite, &fixture, Options::default()).await;
//!     println!("{}", report.text());
//!     report.check().unwrap();
//! }
//! ```
//!
//! [`survey()`] asks the same of a source whose data nobody could choose: what it must answer is derived from what is there.
//!
//! What a bridge does not declare must be refused with the right error; that is asserted, and counted apart from what
//! passed. Expected rows are computed over the seed by `bridge_reduce`, not copied from anywhere.

mod cases;
mod changed;
mod failure;
mod fixture;
mod listed;
pub mod memory;
mod report;
mod run;
mod script;
pub mod seed;
mod subject;
mod survey;
mod wire;

pub use cases::{Case, Need, cases};
pub use changed::{Answer, Change, Changed};
pub use failure::{Failure, Outcome};
pub use fixture::{Catalog, Database, Fixture, Offer, SlowQuery};
pub use listed::{Listed, tables_json};
pub use report::{Counts, Entry, Failures, Report, Verdict};
pub use run::{Options, run};
pub use script::{Script, cut};
pub use subject::{Page, Subject, collect};
pub use survey::{Site, SurveyCase, SurveyOptions, survey, survey_cases};
pub use wire::Row;
