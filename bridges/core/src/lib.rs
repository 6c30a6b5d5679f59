//! What a bridge is: a [`Driver`] that connects, a [`Bridge`] that answers jobs, [`Rows`] that are pulled batch by batch,
//! and the [`RowWriter`] that turns a database's values into JSON text once and for all.
//!
//! A bridge writes each row's JSON straight from the driver's value. Nobody on the way to the caller parses it again,
//! so what the writer produces is the product's wire format; its rules are those of [`RowWriter`]'s methods.

mod batch;
mod bridge;
mod config;
mod driver;
mod error;
mod number;
mod position;
mod remembered;
mod schema;

pub use batch::{Columns, RowBatch, RowWriter, has_lone_surrogate, push_json_str};
pub use bridge::{BoxFuture, Bridge, Call, Counted, RowStream, Rows, answer_rows};
pub use config::{ConfigFields, ConfigMistakes};
pub use driver::{Declaration, Driver, NativeDriver};
pub use error::{BridgeError, with_causes};
pub use number::{js_number, push_json_f32, push_json_f64};
pub use position::Position;
pub use remembered::Remembered;
pub use schema::{ColumnSchema, TargetSchema};
