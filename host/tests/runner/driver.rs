//! A bridge whose targets say how they behave.
//!
//! | target | behaviour |
//! |---|---|
//! | `numbers` | `limit` rows `{"n":0}`, … in batches as large as there is room; with `total`, a tail |
//! | `empty` | no rows; with `total`, a tail |
//! | `endless` | rows for ever |
//! | `stuck` | one row, then nothing until it is dropped |
//! | `sleeping` | nothing until it is dropped |
//! | `refused` | the database refuses, and quotes the password |
//! | `panics` | panics with the password |
//! | `huge` | one row of `limit` bytes |
//! | `trace` | one row with the trace that the bridge works in |

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ConfigFields, ConfigMistakes, Counted, Driver, RowBatch, RowStream,
    Rows, TargetSchema, answer_rows,
};
use protocol::{
    AggregateCapabilities, AggregateOptions, Capabilities, CountOptions, Field, FieldKind, Manifest, PoolUse,
    QueryOptions, ReadOptions, SourceConfig, Tail,
};

/// What the driver and its bridges have done.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) connecting: AtomicUsize,
    pub(crate) connected: AtomicUsize,
    pub(crate) closed: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    pub(crate) batches: AtomicUsize,
}

impl Counts {
    fn add(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) struct Fake {
    manifest: Manifest,
    capabilities: Capabilities,
    aggregates: AggregateCapabilities,
    counts: Arc<Counts>,
}

impl Fake {
    pub(crate) fn new(counts: &Arc<Counts>) -> Self {
        let manifest = Manifest {
            fields: vec![
                Field::new("password", "Password", FieldKind::Password).required(),
                Field::new("port", "Port", FieldKind::Number),
                Field::new("connectMs", "Connect", FieldKind::Number),
                Field::new("refuse", "Refuse", FieldKind::Boolean),
            ],
            ..Manifest::new("fake", "Fake").with_url("fake://…")
        };
        Self {
            manifest,
            capabilities: Capabilities::default(),
            aggregates: AggregateCapabilities::full(),
            counts: Arc::clone(counts),
        }
    }
}

impl Driver for Fake {
    fn name(&self) -> &str {
        "@semilayer/bridge-fake"
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        &self.aggregates
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        settings(config).map(|_| ())
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(async move {
            Counts::add(&self.counts.connecting);
            let settings = settings(config)?;
            tokio::time::sleep(settings.connect).await;
            if settings.refuse {
                return Err(BridgeError::unreachable(format!("login with {} failed", settings.password)));
            }
            Counts::add(&self.counts.connected);
            let bridge = FakeBridge { password: settings.password, counts: Arc::clone(&self.counts) };
            Ok(Box::new(bridge) as Box<dyn Bridge>)
        })
    }
}

struct Settings {
    password: String,
    connect: Duration,
    refuse: bool,
}

fn settings(config: &SourceConfig) -> Result<Settings, ConfigMistakes> {
    let mut fields = ConfigFields::new(config);
    let password = fields.text(&["password", "url"]);
    if password.is_none() {
        fields.mistake("password", "text");
    }
    let connect = fields.integer(&["connectMs"], 0..=600_000).unwrap_or(0);
    let refuse = fields.flag(&["refuse"]).unwrap_or(false);
    let settings = Settings {
        password: password.unwrap_or_default(),
        connect: Duration::from_millis(connect.unsigned_abs()),
        refuse,
    };
    fields.finish(settings)
}

struct FakeBridge {
    password: String,
    counts: Arc<Counts>,
}

impl FakeBridge {
    fn rows(&self, target: &str, options: &QueryOptions) -> Result<RowStream, BridgeError> {
        let limit = options.limit.unwrap_or(0);
        let tail = Tail { total: options.total.then_some(limit), ..Tail::default() };
        let behaviour = match target {
            "numbers" => Behaviour::Numbers(limit),
            "empty" => Behaviour::Numbers(0),
            "endless" => Behaviour::Numbers(u64::MAX),
            "stuck" => Behaviour::Stuck { first: true },
            "sleeping" => Behaviour::Stuck { first: false },
            "panics" => panic!("the password is {}", self.password),
            "huge" => {
                let row = format!("{{\"text\":\"{}\"}}", "x".repeat(limit.try_into().unwrap()));
                return Ok(answer_rows(vec![RowBatch { rows: row, count: 1 }], Tail::default()));
            }
            "trace" => {
                let trace = runtime::telemetry::current_trace().map(|trace| trace.traceparent);
                let row = serde_json::json!({"traceparent": trace}).to_string();
                return Ok(answer_rows(vec![RowBatch { rows: row, count: 1 }], Tail::default()));
            }
            "refused" => {
                return Err(BridgeError::query(format!("password {} is wrong at line 1", self.password)));
            }
            other => return Err(BridgeError::query(format!("no such table: {other}"))),
        };
        Ok(Box::new(FakeRows { behaviour, sent: 0, tail, counts: Arc::clone(&self.counts) }))
    }
}

impl Bridge for FakeBridge {
    fn test<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        Box::pin(async { Ok(()) })
    }

    fn query<'a>(
        &'a self,
        _call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        Box::pin(async move { self.rows(target, &options) })
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        self.query(call, target, QueryOptions { limit: Some(options.limit), ..QueryOptions::default() })
    }

    fn count<'a>(
        &'a self,
        _call: &'a Call,
        _target: &'a str,
        _options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        Box::pin(async { Ok(Counted { total: 42, approximate: true }) })
    }

    fn aggregate<'a>(
        &'a self,
        _call: &'a Call,
        _target: &'a str,
        _options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        let bucket = RowBatch { rows: r#"{"dims":{},"measures":{"n":1},"count":1}"#.to_owned(), count: 1 };
        Box::pin(async { Ok(answer_rows(vec![bucket], Tail::default())) })
    }

    fn list_targets<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        Box::pin(async { Ok(vec!["empty".to_owned(), "numbers".to_owned()]) })
    }

    fn introspect_target<'a>(
        &'a self,
        _call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        Box::pin(
            async move { Ok(TargetSchema { name: target.to_owned(), columns: Vec::new(), row_count: 7 }) },
        )
    }

    fn driver_name(&self) -> &str {
        "@semilayer/bridge-fake"
    }

    fn pool_use(&self) -> PoolUse {
        PoolUse { in_use: 1, idle: 2, max: 3 }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Counts::add(&self.counts.closed);
        Box::pin(async {})
    }
}

enum Behaviour {
    Numbers(u64),
    Stuck { first: bool },
}

struct FakeRows {
    behaviour: Behaviour,
    sent: u64,
    tail: Tail,
    counts: Arc<Counts>,
}

impl Rows for FakeRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Counts::add(&self.counts.batches);
        Box::pin(async move {
            match &mut self.behaviour {
                Behaviour::Stuck { first: true } => {
                    self.behaviour = Behaviour::Stuck { first: false };
                    Ok(Some(RowBatch { rows: r#"{"n":0}"#.to_owned(), count: 1 }))
                }
                Behaviour::Stuck { first: false } => std::future::pending().await,
                Behaviour::Numbers(limit) => {
                    let (mut rows, mut count) = (String::new(), 0);
                    while self.sent < *limit && (count == 0 || rows.len() + 32 < room) {
                        if count > 0 {
                            rows.push(',');
                        }
                        rows.push_str(&format!("{{\"n\":{}}}", self.sent));
                        (self.sent, count) = (self.sent + 1, count + 1);
                    }
                    if self.sent < *limit {
                        // Lets others run, as a real database would.
                        tokio::task::yield_now().await;
                    }
                    Ok((count > 0).then_some(RowBatch { rows, count }))
                }
            }
        })
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

impl Drop for FakeRows {
    fn drop(&mut self) {
        Counts::add(&self.counts.dropped);
    }
}
