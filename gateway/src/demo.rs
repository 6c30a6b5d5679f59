//! `demo`: a gateway, a runner and a sample database in one process, on free ports and in a folder that is gone
//! afterwards. Every query takes the real path: HTTP, gateway, WebSocket, runner, SQLite and back.

mod ask;
mod sample;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::Registry;
use protocol::Secret;
use runtime::settings::Mapping;
use runtime::signals::Stops;
use runtime::telemetry::LogSettings;
use runtime::terminal::{complain, unwritten};
use runtime::{Drain, Exit, telemetry};
use serde_json::{Value, json};

use crate::app::{App, Running};
use crate::audit::Actor;
use crate::cli::DemoFlags;
use crate::config::{self, Format};
use crate::control::{By, Control, NewKey, NewRunner};
use crate::model::KeyKind;
use crate::settings::{ServeFlags, Settings};
use ask::{Answer, Client};

/// How long the runner may take to connect. It takes milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(5);

/// What can go wrong in a demo, for people.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot prepare the {what}: {reason}")]
    Prepare { what: &'static str, reason: String },
    #[error("{question}: {reason}")]
    Wrong { question: &'static str, reason: String },
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

type Result<T> = std::result::Result<T, DemoError>;

/// Runs the demo. Leaves with [`Exit::Clean`] only if every row came back right.
pub async fn run(flags: DemoFlags) -> Exit {
    // Logs are for daemons; here people read. Without them the demo goes on.
    let quiet = LogSettings::load(
        &mut runtime::settings::Reader::new(&Mapping::default()),
        Some("warn".to_owned()),
        None,
    );
    drop(telemetry::init(&quiet, None));
    let folder = std::env::temp_dir().join(format!("semilayer-demo-{}", uuid::Uuid::now_v7()));
    let drain = Drain::new();
    let shown = show(&flags, &folder, &drain).await;
    drain.run(GRACE, std::future::pending()).await;
    // Also after a failure; a folder that was never made is no mistake.
    drop(std::fs::remove_dir_all(&folder));
    match shown {
        Ok(()) => Exit::Clean,
        Err(DemoError::Output(error)) => unwritten(&error),
        Err(error) => {
            complain(&format_args!("demo failed: {error}"));
            Exit::Failed
        }
    }
}

async fn show(flags: &DemoFlags, folder: &Path, drain: &Drain) -> Result<()> {
    let mut stops = Stops::listen().map_err(prepare("signals"))?;
    let started = Instant::now();
    let database = sample::make(folder).await?;
    say(&format!("sample database   {} products in SQLite, made in {}", sample::ROWS, took(started)))?;

    let started = Instant::now();
    let app = gateway(folder, drain).await?;
    let control = Arc::clone(app.control());
    let (runner_token, key) = introduce(&control, &database).await?;
    let running = app.spawn(drain);
    let address = running.local_addr();
    say(&format!("gateway           http://{address}, up in {}", took(started)))?;

    let started = Instant::now();
    runner(&running, runner_token, drain).await?;
    say(&format!("runner            connected, hello acknowledged in {}\n", took(started)))?;

    let client = Client::new(address, key.clone());
    questions(&client).await?;
    say("Every row came back right.")?;
    if !flags.once {
        say(&invitation(&running, &key))?;
        stops.next().await;
    }
    Ok(())
}

async fn gateway(folder: &Path, drain: &Drain) -> Result<App> {
    let flags = ServeFlags {
        listen: Some("127.0.0.1:0".to_owned()),
        state_dir: Some(folder.join("gateway").display().to_string()),
        ..ServeFlags::default()
    };
    let loaded = Settings::load(&flags, &Mapping::default()).map_err(prepare("settings"))?;
    App::build(&loaded.settings, drain).await.map_err(prepare("gateway"))
}

/// Makes what an operator would: a source, a lens, a runner with the source, a key. The runner's token and the key.
async fn introduce(control: &Arc<Control>, database: &Path) -> Result<(Secret, Secret)> {
    let by = By::new(Actor::Admin, "demo");
    let document = sample::config(database).to_string();
    let document = config::parse(&document, Format::Json).map_err(prepare("config"))?;
    let config = config::check(&document).map_err(prepare("config"))?;
    control.push(&by, config).await.map_err(prepare("config"))?;
    let runner = NewRunner {
        name: "demo".to_owned(),
        sources: vec![sample::SOURCE.to_owned()],
        ..NewRunner::default()
    };
    let (_, token) = control.create_runner(&by, runner).await.map_err(prepare("runner"))?;
    let key = NewKey { name: "demo".to_owned(), kind: KeyKind::Public, scopes: Vec::new() };
    let (_, key) = control.create_key(&by, key).await.map_err(prepare("key"))?;
    Ok((token, key))
}

async fn runner(gateway: &Running, token: Secret, drain: &Drain) -> Result<()> {
    let url = format!("ws://{}/connect", gateway.local_addr()).parse().map_err(prepare("runner"))?;
    let config = host::Config::new("demo", token, url);
    let environment = Arc::new(Mapping::default());
    let app = config.build(Registry::native(), environment, drain).await.map_err(prepare("runner"))?;
    let running = app.spawn();
    let deadline = Instant::now() + CONNECT_LIMIT;
    while !running.is_connected() {
        if Instant::now() > deadline {
            return Err(DemoError::Prepare { what: "runner", reason: "it did not connect".to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Asks four questions, shows the answers, and compares them with what the sample database was made of.
async fn questions(client: &Client) -> Result<()> {
    const DEAREST: &str = "the three dearest lamps";
    let body = json!({
        "where": {"category": "lamps"},
        "orderBy": {"field": "price", "dir": "desc"},
        "limit": 3,
        "select": ["id", "title", "price"],
    });
    let answer = client.query(DEAREST, &body).await?;
    show_rows(DEAREST, &body, &answer)?;
    expect(DEAREST, answer.rows(), &sample::dearest_lamps(3))?;

    const SOLD_OUT: &str = "products that are sold out";
    let body = json!({"where": {"stock": 0}});
    let (count, elapsed) = client.count(SOLD_OUT, &body).await?;
    say(&format!("count   {SOLD_OUT}\n        {body}\n        → {count}   ({})\n", shown(elapsed)))?;
    expect(SOLD_OUT, &json!(count), &json!(sample::sold_out()))?;

    const PAGES: &str = "all products, page by page with a cursor";
    let (rows, pages, elapsed) = client.walk(PAGES, 2_500).await?;
    say(&format!("query   {PAGES}\n        → {rows} rows in {pages} pages   ({})\n", shown(elapsed)))?;
    expect(PAGES, &json!(rows), &json!(sample::ROWS))?;

    const STREAM: &str = "all products as a stream of lines";
    let stream = client.stream(STREAM).await?;
    let (first, all) = (shown(stream.first), shown(stream.elapsed));
    say(&format!("stream  {STREAM}\n        → {} rows, the first after {first}   ({all})\n", stream.rows))?;
    expect(STREAM, &json!(stream.digest), &json!(sample::digest()))
}

fn show_rows(question: &str, body: &Value, answer: &Answer) -> Result<()> {
    say(&format!("query   {question}\n        {body}"))?;
    for row in answer.rows().as_array().into_iter().flatten() {
        say(&format!("        → {row}"))?;
    }
    say(&format!("        {} rows   ({})\n", answer.count(), shown(answer.elapsed)))
}

fn expect(question: &'static str, got: &Value, wanted: &Value) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    Err(DemoError::Wrong { question, reason: format!("expected {wanted}, got {got}") })
}

fn invitation(gateway: &Running, key: &Secret) -> String {
    let address = gateway.local_addr();
    // A public key of a gateway that lives as long as this process, for a sample database.
    let key = key.expose();
    format!(
        "Ask something yourself:\n\n  curl -s http://{address}/v1/query/products \\\n    \
         -H 'Authorization: Bearer {key}' \\\n    -d '{{\"where\": {{\"title\": {{\"$contains\": \"brass\"}}}}, \
         \"limit\": 2}}'\n\nAll routes: http://{address}/docs\n\nCtrl-C ends the demo and removes its files."
    )
}

fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn took(since: Instant) -> String {
    shown(since.elapsed())
}

fn shown(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

fn prepare<E: Display>(what: &'static str) -> impl FnOnce(E) -> DemoError {
    move |error| DemoError::Prepare { what, reason: error.to_string() }
}

/// Where the sample database is.
fn database_path(folder: &Path) -> PathBuf {
    folder.join("products.db")
}
