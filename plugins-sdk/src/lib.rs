//! Write bridges for SemiLayer runners as WebAssembly components.
//!
//! A bridge is a type that implements [`Bridge`]: it says what it is, connects, and reads rows. [`export!`] makes it a
//! component, which a runner picks up from its plugin folder:
//!
//! ```
//! use semilayer_plugin::{Bridge, Column, Description, Error, Kind, Rows, Schema, options::ReadOptions};
//! use serde::Serialize;
//!
//! struct Planets;
//!
//! #[derive(Serialize)]
//! struct Planet {
//!     name: &'static str,
//!     moons: u32,
//! }
//!
//! const PLANETS: [Planet; 2] = [Planet { name: "Earth", moons: 1 }, Planet { name: "Mars", moons: 2 }];
//!
//! impl Bridge for Planets {
//!     type Config = ();
//!
//!     fn describe() -> Description {
//!         Description::new("@acme/bridge-planets", "Planets").version("0.1.0")
//!     }
//!
//!     fn connect((): ()) -> Result<Self, Error> {
//!         Ok(Planets)
//!     }
//!
//!     fn targets(&mut self) -> Result<Vec<String>, Error> {
//!         Ok(vec!["planets".to_owned()])
//!     }
//!
//!     fn schema(&mut self, target: &str) -> Result<Schema, Error> {
//!         match target {
//!             "planets" => Ok(Schema::new([
//!                 Column::new("name", Kind::Text).key(),
//!                 Column::new("moons", Kind::Int64).required(),
//!             ])),
//!             _ => Err(Error::not_found(target)),
//!         }
//!     }
//!
//!     fn read(&mut self, target: &str, options: ReadOptions) -> Result<Rows, Error> {
//!         self.schema(target)?;
//!         let after = options.cursor.unwrap_or_default();
//!         let rows = PLANETS.into_iter().filter(move |planet| planet.name > after.as_str());
//!         Ok(Rows::page(rows.map(Ok), options.limit, |planet| planet.name.to_owned()))
//!     }
//! }
//!
//! semilayer_plugin::export!(Planets);
//! ```
//!
//! The crate that holds it has `crate-type = ["cdylib"]` and is built by
//! `cargo build --release --target wasm32-wasip2`. Compiled natively it is an ordinary library, so that its tests run as
//! all tests do; [`testing`] shows them the rows as a caller would see them.

#[doc(hidden)]
pub mod bindings;
mod bridge;
mod column;
mod cursor;
mod description;
mod error;
#[doc(hidden)]
pub mod guest;
mod host;
pub mod http;
mod json;
pub mod log;
pub mod net;
pub mod options;
mod rows;
mod settings;
mod table;
pub mod testing;
mod value;

pub use bridge::Bridge;
pub use column::{Column, Kind, Schema};
pub use cursor::{Batch, Counted, Cursor, Room, Tail};
pub use description::{Aggregates, Capabilities, Description, Field, FieldType, Mistake, Provides};
pub use error::{Error, ErrorCode};
pub use host::{deadline, is_cancelled, pause, remaining, row_limit};
pub use json::JsonRows;
pub use rows::{Filled, Rows};
pub use table::{Cell, Table};
pub use value::{Row, Value};

/// Text of a setting that must not be seen: nothing prints it.
pub use protocol::Secret;

#[cfg(feature = "sql")]
pub use bridge_sql as sql;
pub use serde_json;

/// Makes a [`Bridge`] the component's. Once in a crate; natively it only checks that the type is one.
#[macro_export]
macro_rules! export {
    ($bridge:ty) => {
        const _: () = {
            #[cfg(target_family = "wasm")]
            type Exported = $crate::guest::Component<$bridge>;
            #[cfg(target_family = "wasm")]
    $crate::bindings::export_component!(Exported with_types_in $crate::bindings);

            #[cfg(not(target_family = "wasm"))]
            const fn is_bridge<B: $crate::Bridge>() {}
            #[cfg(not(target_family = "wasm"))]
            is_bridge::<$bridge>();
        };
    };
}

/// Compiles and runs the code of the tutorial.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugins/writing.md")]
struct Tutorial;
