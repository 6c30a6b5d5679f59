//! The contract of all bridges, kept over real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

#[path = "support/server.rs"]
mod server;
#[path = "support/tabled.rs"]
mod tabled;

use bridge_conformance::seed::{Instants, Kind, Seed, Table, Value};
use bridge_conformance::{Database, Fixture, Offer, Options, SlowQuery};
use bridge_core::BoxFuture;
use mongodb::IndexModel;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, Uuid, doc};
use protocol::SourceConfig;
use serde_json::json;

use crate::server::{Scratch, server};
use crate::tabled::Tabled;

const STAND_IN: &str = "the server that stands in for MongoDB here cannot interrupt an operation";
/// A view that takes its time.
const SLOW: &str = "slow";

struct Mongo {
    first: Scratch,
    second: Scratch,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let fixture = Mongo { first: Scratch::new().await, second: Scratch::new().await };
    let report = bridge_conformance::run(&Tabled, &fixture, Options::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
    fixture.first.drop().await;
    fixture.second.drop().await;
}

impl Mongo {
    fn scratch(&self, database: Database) -> &Scratch {
        match database {
            Database::First => &self.first,
            Database::Second => &self.second,
        }
    }
}

impl Fixture for Mongo {
    fn config(&self, database: Database) -> SourceConfig {
        self.scratch(database).config()
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            for table in &seed.tables {
                fill(&self.scratch(database).database(), table).await.map_err(|error| error.to_string())?;
            }
            if database == Database::First && !server().is_stand_in() {
                make_slow(&self.first.database()).await.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Given(self.first.config_with(json!({"url": server().url("reader")})))
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        if server().is_stand_in() {
            return Offer::Impossible(STAND_IN);
        }
        Offer::Given(SlowQuery { target: SLOW.to_owned(), options: protocol::QueryOptions::default() })
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async {
            let name = format!("{}.{SLOW}", self.first.name);
            let command = doc! {"currentOp": true, "$or": [{"ns": &name}, {"command.find": SLOW}]};
            let admin = self.first.client.database("admin");
            let answer = admin.run_command(command).await.map_err(|error| error.to_string())?;
            Ok(!answer.get_array("inprog").map_err(|error| error.to_string())?.is_empty())
        })
    }

    fn target(&self, table: &str) -> String {
        tabled::collection(table)
    }

    fn qualified_target(&self, _table: &str) -> Offer<String> {
        Offer::Impossible("the name of a collection may itself have dots, and a source has one database")
    }

    fn most_keys(&self) -> u64 {
        // The stand-in compares every document with every key.
        if server().is_stand_in() { 1_000 } else { 12_000 }
    }

    fn instants(&self) -> Instants {
        Instants::Milliseconds
    }
}

/// Documents with the table's columns beside `_id`, which is the table's key, behind a schema that allows no others.
async fn fill(database: &mongodb::Database, table: &Table) -> mongodb::error::Result<()> {
    let name = tabled::collection(table.name);
    database.create_collection(&name).validator(doc! {"$jsonSchema": schema(table)}).await?;
    let keys: Document = table.key.iter().map(|key| ((*key).to_owned(), 1.into())).collect();
    database.collection::<Document>(&name).create_index(IndexModel::builder().keys(keys).build()).await?;
    let mut batch: Vec<Document> = Vec::new();
    for row in table.rows() {
        batch.push(document(table, &row));
        if batch.len() == 1_000 {
            database.collection(&name).insert_many(std::mem::take(&mut batch)).await?;
        }
    }
    if !batch.is_empty() {
        database.collection(&name).insert_many(batch).await?;
    }
    Ok(())
}

async fn make_slow(database: &mongodb::Database) -> mongodb::error::Result<()> {
    let sleep =
        doc! {"$function": {"body": "function() { sleep(120000); return 1; }", "args": [], "lang": "js"}};
    let pipeline = [doc! {"$set": {"slept": sleep}}];
    database.create_collection(SLOW).view_on("small".to_owned()).pipeline(pipeline).await
}

fn schema(table: &Table) -> Document {
    let mut properties = doc! {"_id": {}};
    let mut required = vec!["_id".to_owned()];
    for column in &table.columns {
        let mut property = doc! {};
        if let Some(kind) = bson_type(column.kind) {
            property.insert(
                "bsonType",
                if column.nullable { Bson::from(vec![kind, "null"]) } else { kind.into() },
            );
        }
        if !column.nullable {
            required.push(column.name.split('.').next().unwrap_or_default().to_owned());
        }
        match column.name.split_once('.') {
            // A name with a dot is a path, so the column is a field of a nested document.
            Some((outer, inner)) => {
                let nested =
                    doc! {"bsonType": "object", "required": [inner], "properties": {inner: property}};
                properties.insert(outer, nested);
            }
            None => {
                properties.insert(column.name, property);
            }
        }
    }
    doc! {"bsonType": "object", "additionalProperties": false, "required": required, "properties": properties}
}

fn bson_type(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Integer => Some("long"),
        Kind::BigInteger => Some("long"),
        Kind::Decimal { .. } => Some("decimal"),
        Kind::Double => Some("double"),
        Kind::Boolean => Some("bool"),
        Kind::Text => Some("string"),
        Kind::Uuid | Kind::Bytes => Some("binData"),
        Kind::Date | Kind::Timestamp | Kind::NaiveTimestamp => Some("date"),
        Kind::Json => None,
    }
}

fn document(table: &Table, row: &[Value]) -> Document {
    let value = |name: &str| {
        let at = table.columns.iter().position(|column| column.name == name).unwrap();
        bson(&row[at])
    };
    let id = match table.key.as_slice() {
        [key] => value(key),
        keys => Bson::Document(keys.iter().map(|key| ((*key).to_owned(), value(key))).collect()),
    };
    let mut document = doc! {"_id": id};
    for column in &table.columns {
        match column.name.split_once('.') {
            Some((outer, inner)) => document.insert(outer, doc! {inner: value(column.name)}),
            None => document.insert(column.name, value(column.name)),
        };
    }
    document
}

fn bson(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Decimal(text) => Bson::Decimal128(text.parse().unwrap()),
        Value::Double(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Uuid(text) => Uuid::parse_str(text).unwrap().into(),
        Value::Date(at) | Value::Timestamp(at) => DateTime::from_millis(at.micros() / 1_000).into(),
        Value::Bytes(bytes) => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.clone() }),
        Value::Json(text) => from_json(&serde_json::from_str(text).unwrap()),
    }
}

fn from_json(value: &serde_json::Value) -> Bson {
    match value {
        serde_json::Value::Null => Bson::Null,
        serde_json::Value::Bool(value) => (*value).into(),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64().unwrap().into(),
        },
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(items) => Bson::Array(items.iter().map(from_json).collect()),
        serde_json::Value::Object(fields) => {
            Bson::Document(fields.iter().map(|(name, value)| (name.clone(), from_json(value))).collect())
        }
    }
}
