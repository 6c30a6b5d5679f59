//! Plugins as operators meet them: dropped into a folder, replaced while jobs run, and held to their limits.

mod signing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::join_all;
use harness::gateway::{App, Credentials, Gateway};
use harness::http::Request;
use harness::plugins::PluginFolder;
use harness::process::Signal;
use harness::runner::{Runner, Settings};
use harness::sqlite::{Sqlite, people_lens, people_rows};
use harness::v1::StrictGateway;
use harness::wait::{eventually, secs, until, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::foreign_gateway::managed;

const MEMORY: &str = "@semilayer-example/bridge-memory";
const HOSTILE: &str = "@acme/hostile";
const DIALER: &str = "@semilayer-test/bridge-dialer";
const CSV_HTTP: &str = "@semilayer-example/bridge-csv-http";
/// The token for a gateway of version 1.
const FOREIGN: &str = "rk_of-the-foreign-gateway";

/// What a runner shows it.
fn foreign() -> Credentials {
    Credentials { id: "runner-1".to_owned(), name: "one".to_owned(), token: FOREIGN.to_owned() }
}

/// The hostile guest, which describes itself in another way.
fn describing(wish: &str) -> Vec<u8> {
    const PLACE: &[u8; 24] = b"describe=honest         ";
    let mut component = std::fs::read(harness::plugins::guest("hostile")).unwrap();
    let at = component.windows(PLACE.len()).position(|window| window == PLACE).unwrap();
    let said = format!("{:<24}", format!("describe={wish}"));
    component[at..at + PLACE.len()].copy_from_slice(said.as_bytes());
    component
}

/// A lens over the generated people of the memory plugin.
fn members(source: &str) -> Value {
    json!({
        "source": source,
        "table": "people",
        "fields": {
            "id": {"type": "number", "primaryKey": true},
            "who": {"type": "text", "from": "name"},
            "active": {"type": "boolean"},
            "joined": {"type": "date", "from": "created_at"},
        },
        "grants": {"query": "public"},
    })
}

/// A lens whose target says what a plugin does.
fn deed(source: &str, target: &str, column: &str) -> Value {
    json!({
        "source": source,
        "table": target,
        "fields": {(column): {"type": "text", "primaryKey": true}},
        "grants": {"query": "public"},
    })
}

struct Scene {
    gateway: Gateway,
    runner: Runner,
    credentials: Credentials,
    app: App,
}

impl Scene {
    /// A gateway with these sources and lenses, and one runner that serves them all with the plugins of a folder.
    async fn with(
        folder: &PluginFolder,
        sources: Value,
        lenses: Value,
        more: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        let gateway = Gateway::start().await;
        let names: Vec<String> = sources.as_object().unwrap().keys().cloned().collect();
        gateway.push(sources, lenses).await;
        let credentials = gateway.create_runner("plugged").await;
        for name in &names {
            gateway.assign(name, &credentials.id).await;
        }
        let settings = gateway.settings(&credentials).with("SEMILAYER_PLUGIN_DIR", folder.path());
        let runner = more(settings).connect().await;
        let app = gateway.secret_app().await;
        Self { gateway, runner, credentials, app }
    }

    async fn status(&self) -> Value {
        self.runner.get("/status").await.json()
    }

    /// What `/status` says of the one file in the folder.
    async fn plugin(&self) -> Value {
        self.status().await["plugins"][0].clone()
    }

    async fn idle(&self) {
        until("no job runs", secs(30), async || self.status().await["activeJobs"] == 0).await;
    }
}

#[tokio::test]
async fn a_plugin_serves_managed_and_runner_local_sources() {
    within(secs(90), async {
        let folder = PluginFolder::with(&["memory"]);
        let sources = json!({
            "managed": {"bridge": MEMORY, "rows": 300},
            "local": {"bridge": MEMORY, "credentialsLocation": "runner-local"},
        });
        let lenses = json!({"few": members("managed"), "many": members("local")});
        let scene = Scene::with(&folder, sources, lenses, |runner| {
            runner.with("SEMILAYER_SOURCE_LOCAL_ROWS", "5000")
        })
        .await;

        for (lens, count) in [("few", 300), ("many", 5_000)] {
            assert_eq!(scene.app.count(lens, &json!({})).await, count);
            let last =
                scene.app.rows(lens, &json!({"orderBy": {"field": "id", "dir": "desc"}, "limit": 2})).await;
            assert_eq!(last[0]["id"], count);
            assert_eq!(last.len(), 2);
            let chosen = scene
                .app
                .rows(lens, &json!({"where": {"id": {"$in": [7, 9]}}, "select": ["id", "who"]}))
                .await;
            assert_eq!(chosen.iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>(), [7, 9]);
            assert!(chosen[0]["who"].as_str().is_some_and(|name| name.contains(' ')), "{chosen:?}");
            assert_eq!(chosen[0].as_object().unwrap().len(), 2);
        }
        let pages = scene.app.walk("many", &json!({"orderBy": {"field": "joined"}, "limit": 700})).await;
        let ids = pages.concat().iter().map(|row| row["id"].as_u64().unwrap()).collect::<Vec<_>>();
        assert_eq!(ids, (1..=5_000).collect::<Vec<_>>());
        let lines = scene.app.request("/v1/query/many", &json!({"limit": 5_000}));
        let lines =
            lines.header("accept", "application/x-ndjson").open(scene.gateway.address()).await.lines().await;
        assert_eq!(lines.len(), 5_000);
    })
    .await;
}

#[tokio::test]
async fn a_table_that_a_plugin_does_not_have_is_named_to_servers_and_not_to_browsers() {
    within(secs(60), async {
        let folder = PluginFolder::with(&["memory"]);
        let sources = json!({"memory": {"bridge": MEMORY, "rows": 3}});
        let lenses = json!({"lost": deed("memory", "nobodys-table", "id")});
        let scene = Scene::with(&folder, sources, lenses, |runner| runner).await;
        let browser = scene.gateway.app(&scene.gateway.create_key("public").await);
        for (app, is_named) in [(&scene.app, true), (&browser, false)] {
            let refused = app.query("lost", &json!({})).await;
            assert_eq!(refused.status, 422, "{}", refused.text());
            assert_eq!(refused.text().contains("nobodys-table"), is_named, "{}", refused.text());
        }
    })
    .await;
}

#[tokio::test]
async fn the_runner_names_its_plugins_wherever_it_names_bridges() {
    within(secs(60), async {
        let folder = PluginFolder::with(&["memory"]);
        folder.put("broken", b"\0asm\x01\0\0\0");
        let scene = Scene::with(&folder, json!({}), json!({}), |runner| runner).await;
        let announced = scene.gateway.runner(&scene.credentials.id).await["sessions"][0]["bridges"].clone();
        assert!(announced.as_array().unwrap().contains(&json!(MEMORY)), "{announced}");

        let status = scene.status().await;
        let [broken, memory] = status["plugins"].as_array().unwrap().as_slice() else { panic!("{status}") };
        assert_eq!((&broken["file"], &broken["state"]), (&json!("broken.wasm"), &json!("failed")));
        assert!(broken["problem"].as_str().unwrap().contains("core module"), "{broken}");
        assert_eq!((&memory["state"], &memory["name"]), (&json!("loaded"), &json!(MEMORY)));
        assert_eq!(scene.runner.metric(r#"runner_plugin_load_failed{file="broken.wasm"}"#).await, Some(1.0));
        assert_eq!(scene.runner.metric(r#"runner_plugin_load_failed{file="memory.wasm"}"#).await, None);

        let settings = scene.gateway.settings(&scene.credentials).with("SEMILAYER_PLUGIN_DIR", folder.path());
        let listed = settings.run(&["bridges", "--json"]).await;
        assert!(listed.stderr.contains("broken.wasm"), "{}", listed.stderr);
        let listed: Value = serde_json::from_str(&listed.ok()).unwrap();
        let memory = listed.as_array().unwrap().iter().find(|bridge| bridge["name"] == MEMORY).unwrap();
        assert_eq!(memory["kind"], "plugin");
        let doctor = settings.run(&["doctor"]).await;
        assert!(doctor.stdout.contains("broken.wasm"), "{}", doctor.stdout);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_dropped_in_serves_without_a_new_connection_and_one_that_is_removed_does_not() {
    within(secs(90), async {
        let folder = PluginFolder::with(&[]);
        let sources = json!({"people": {"bridge": MEMORY, "rows": 10}});
        let scene =
            Scene::with(&folder, sources, json!({"people": members("people")}), |runner| runner).await;
        assert_eq!(scene.app.query("people", &json!({})).await.code(502), "unknown_bridge");

        folder.put("memory", &std::fs::read(harness::plugins::guest("memory")).unwrap());
        let has_it = async || {
            let bridges = scene.gateway.runner(&scene.credentials.id).await["sessions"][0]["bridges"].clone();
            bridges.as_array().unwrap().contains(&json!(MEMORY))
        };
        until("the gateway knows the bridge", secs(20), has_it).await;
        assert_eq!(scene.app.count("people", &json!({})).await, 10);

        folder.remove("memory");
        until("the gateway knows that it is gone", secs(20), async || !has_it().await).await;
        assert_eq!(scene.app.query("people", &json!({})).await.code(502), "unknown_bridge");
        assert_eq!(
            scene.runner.metric(r#"runner_connect_attempts_total{result="connected"}"#).await,
            Some(1.0)
        );
    })
    .await;
}

#[tokio::test]
async fn a_gateway_of_version_1_hears_of_a_plugin_in_a_new_hello() {
    within(secs(60), async {
        let folder = PluginFolder::with(&[]);
        let mut gateway = StrictGateway::start(FOREIGN).await;
        let settings = Settings::new(&foreign(), &gateway.url()).with("SEMILAYER_PLUGIN_DIR", folder.path());
        let _runner = settings.start();
        let sources = [managed("people", MEMORY, &json!({"rows": 3}))];
        let first = gateway.runner_with(&sources).await;
        assert!(!first.hello["capabilities"].as_array().unwrap().contains(&json!(MEMORY)));
        folder.put("memory", &std::fs::read(harness::plugins::guest("memory")).unwrap());
        let second = gateway.runner_with(&sources).await;
        assert!(second.hello["capabilities"].as_array().unwrap().contains(&json!(MEMORY)));
    })
    .await;
}

#[tokio::test]
async fn a_gateway_of_version_1_that_never_pauses_hears_of_a_plugin_all_the_same() {
    within(secs(120), async {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let folder = PluginFolder::with(&["dialer", "memory"]);
        let config = harness::folder::Folder::new();
        let file = config.write("runner.toml", &format!("[plugins.\"{DIALER}\"]\nallow = [\"{address}\"]\n"));
        let mut gateway = StrictGateway::start(FOREIGN).await;
        let settings = Settings::new(&foreign(), &gateway.url()).with("SEMILAYER_CONFIG", &file);
        let _runner = settings.with("SEMILAYER_PLUGIN_DIR", folder.path()).start();
        let sources = [managed("people", MEMORY, &json!({"rows": 3})), managed("out", DIALER, &json!({}))];
        let mut first = gateway.runner_with(&sources).await;

        // One job runs all the time, and short ones come and go beside it.
        let target = format!("wait {} {}", address.ip(), address.port());
        let running = first.start_within(secs(100), "out", "query", &target, json!({}));
        let (mut socket, _) = silent.accept().await.unwrap();
        folder.put("csv_http", &std::fs::read(harness::plugins::guest("csv_http")).unwrap());
        let mut answered = 0_u32;
        let refused = loop {
            let outcome = first.ask("people", "count", "people", json!({})).await;
            match outcome.error {
                None => answered += 1,
                Some((code, _)) => break code,
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(refused, "RUNNER_DRAINING");
        assert!(answered > 50, "only {answered} jobs before it refuses new ones");

        socket.write_all(b"!").await.unwrap();
        assert_eq!(first.outcome(&running).await.ok().rows, [json!({"told": "waited"})]);
        assert_eq!(first.closed().await, Some(1001));
        let mut second = gateway.runner_with(&sources).await;
        assert!(second.hello["capabilities"].as_array().unwrap().contains(&json!(CSV_HTTP)));
        assert_eq!(second.ask("people", "count", "people", json!({})).await.ok().total, Some(3));
    })
    .await;
}

#[tokio::test]
async fn a_search_whose_filter_a_plugin_does_not_have_is_done_over_its_rows() {
    within(secs(60), async {
        let folder = PluginFolder::with(&[]);
        folder.put("hostile", &describing("search"));
        let mut gateway = StrictGateway::start(FOREIGN).await;
        let settings = Settings::new(&foreign(), &gateway.url());
        let _runner = settings.with("SEMILAYER_PLUGIN_DIR", folder.path()).start();
        let mut socket = gateway.runner_with(&[managed("bad", HOSTILE, &json!({}))]).await;
        let mut search = async |filter: Value| {
            let options = json!({"query": "row", "fields": ["name"], "where": filter, "select": ["id"]});
            socket.ask("bad", "search", "rows", options).await.ok().rows
        };
        let own = json!([{"id": 1, "_score": 0.5}]);
        assert_eq!(json!(search(json!({"id": 1})).await), own, "the plugin's own answer to every search");
        let found = search(json!({"$or": [{"id": 2}, {"id": 3}]})).await;
        assert_eq!(found.iter().map(|row| &row["id"]).collect::<Vec<_>>(), [2, 3], "{found:?}");
    })
    .await;
}

#[tokio::test]
async fn a_changed_file_is_taken_under_load_and_no_job_notices() {
    within(secs(120), async {
        let folder = PluginFolder::with(&["memory"]);
        let sources = json!({
            "people": {"bridge": MEMORY, "rows": 500},
            // The reader may be slower than all the changes.
            "crowd": {"bridge": MEMORY, "rows": 200_000, "timeout": 120_000},
        });
        let lenses = json!({"people": members("people"), "crowd": members("crowd")});
        let scene = Scene::with(&folder, sources, lenses, |runner| runner).await;
        let first = scene.plugin().await["hash"].clone();

        // A reader that has begun before the change and reads on after it.
        let body = json!({"limit": 200_000});
        let request = scene.app.request("/v1/query/crowd", &body).header("accept", "application/x-ndjson");
        let mut slow = request.open(scene.gateway.address()).await;
        assert_eq!(slow.line().await.unwrap()["id"], 1);

        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let callers = (0..4).map(|caller| {
            let (stop, asked, app) = (Arc::clone(&stop), Arc::clone(&asked), scene.app.clone());
            tokio::spawn(async move {
                let mut id = caller;
                while !stop.load(Ordering::Relaxed) {
                    id = id % 500 + 1;
                    let rows = app.rows("people", &json!({"where": {"id": id}, "limit": 1})).await;
                    assert_eq!(rows[0]["id"], id);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        let mut last = first.clone();
        for version in 1..=3 {
            folder.put_changed("memory", version);
            last = eventually("another file is loaded", secs(20), async || {
                let hash = scene.plugin().await["hash"].clone();
                (hash != last).then_some(hash)
            })
            .await;
            let before = asked.load(Ordering::Relaxed);
            until("jobs go on", secs(20), async || asked.load(Ordering::Relaxed) > before + 10).await;
            assert_eq!(slow.line().await.unwrap()["id"], u64::from(version) + 1);
        }
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.unwrap();
        }
        let (rest, _bytes) = slow.count_lines().await;
        assert_eq!(rest, 199_996, "the reader that began on the first file has every row");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_does_not_load_leaves_the_old_one_at_work() {
    within(secs(60), async {
        let folder = PluginFolder::with(&["memory"]);
        let sources = json!({"people": {"bridge": MEMORY, "rows": 10}});
        let scene =
            Scene::with(&folder, sources, json!({"people": members("people")}), |runner| runner).await;
        let before = scene.plugin().await;
        folder.put("memory", b"no component at all");
        until("the change is noticed", secs(20), async || scene.plugin().await["state"] == "outdated").await;
        let after = scene.plugin().await;
        assert_eq!(after["hash"], before["hash"]);
        assert!(after["problem"].as_str().unwrap().contains("not a WebAssembly component"), "{after}");
        assert_eq!(scene.runner.metric(r#"runner_plugin_load_failed{file="memory.wasm"}"#).await, Some(1.0));
        assert_eq!(scene.app.count("people", &json!({})).await, 10);
        scene.runner.process.stderr.line_with("a plugin is not loaded").await;

        folder.put_changed("memory", 1);
        until("it is mended", secs(20), async || scene.plugin().await["state"] == "loaded").await;
        assert_eq!(scene.runner.metric(r#"runner_plugin_load_failed{file="memory.wasm"}"#).await, None);
    })
    .await;
}

#[tokio::test]
async fn fifty_jobs_at_once_share_the_instances_of_one_plugin() {
    within(secs(120), async {
        let folder = PluginFolder::with(&["memory"]);
        let sources = json!({"people": {"bridge": MEMORY, "rows": 20_000, "poolMax": 8}});
        let scene =
            Scene::with(&folder, sources, json!({"people": members("people")}), |runner| runner).await;
        let ask = |index: i64| {
            let app = scene.app.clone();
            async move {
                let body = json!({"where": {"id": {"$gt": index}}, "orderBy": {"field": "id"}, "limit": 3});
                let rows = app.rows("people", &body).await;
                assert_eq!(
                    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>(),
                    [index + 1, index + 2, index + 3]
                );
            }
        };
        join_all((0..50).map(ask)).await;
        let instances = scene.plugin().await["instances"].as_u64().unwrap();
        assert!((1..=8).contains(&instances), "{instances} instances");
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_fails_ends_its_own_job_alone() {
    within(secs(90), async {
        let folder = PluginFolder::with(&["hostile", "memory"]);
        let sources = json!({
            "bad": {"bridge": HOSTILE},
            "good": {"bridge": MEMORY, "rows": 10},
        });
        let lenses = json!({
            "panics": deed("bad", "panic", "id"),
            "honest": deed("bad", "honest", "id"),
            "people": members("good"),
        });
        let scene = Scene::with(&folder, sources, lenses, |runner| runner).await;
        for _ in 0..3 {
            assert_eq!(scene.app.query("panics", &json!({})).await.code(502), "PLUGIN_FAILED");
            assert!(!scene.app.rows("honest", &json!({})).await.is_empty());
            assert_eq!(scene.app.count("people", &json!({})).await, 10);
        }
        let failures = scene.runner.metric(r#"runner_plugin_failures{plugin="@acme/hostile"}"#).await;
        assert_eq!(failures, Some(3.0));
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_job_ends_a_plugin_that_waits_for_its_server() {
    within(secs(90), async {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let folder = PluginFolder::with(&["dialer"]);
        let base = format!("http://{address}");
        let sources = json!({"out": {"bridge": DIALER, "endpoint": base, "poolMax": 1}});
        let lenses = json!({"waits": deed("out", &format!("get {base} /never"), "told")});
        let config = harness::folder::Folder::new();
        let file = config.write("runner.toml", &format!("[plugins.\"{DIALER}\"]\nallow = [\"{address}\"]\n"));
        let scene =
            Scene::with(&folder, sources, lenses, |runner| runner.with("SEMILAYER_CONFIG", &file)).await;

        for _ in 0..2 {
            // The second round shows that the one instance is free again.
            let waiting = scene.app.request("/v1/query/waits", &json!({}));
            let caller = tokio::spawn(waiting.try_send(scene.gateway.address()));
            let (mut socket, _) = silent.accept().await.unwrap();
            let mut request = [0; 16];
            socket.read_exact(&mut request).await.unwrap();
            caller.abort();
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await.unwrap();
            scene.idle().await;
        }
        assert_eq!(
            scene.runner.metric(&format!("runner_plugin_failures{{plugin=\"{DIALER}\"}}")).await,
            Some(0.0)
        );
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_job_ends_a_plugin_that_spins() {
    within(secs(90), async {
        let folder = PluginFolder::with(&["hostile"]);
        let people = Sqlite::people();
        let mut native = people.config();
        native["bridge"] = "sqlite".into();
        let sources = json!({"bad": {"bridge": HOSTILE, "poolMax": 1}, "files": native});
        let lenses = json!({
            "spins": deed("bad", "loop-next", "id"),
            "honest": deed("bad", "honest", "id"),
            "people": people_lens("files"),
        });
        let scene = Scene::with(&folder, sources, lenses, |runner| runner).await;
        let caller =
            tokio::spawn(scene.app.request("/v1/query/spins", &json!({})).try_send(scene.gateway.address()));
        until("the job runs", secs(10), async || scene.status().await["activeJobs"] == 1).await;
        // Meanwhile others are served.
        assert_eq!(scene.app.rows("people", &json!({"orderBy": {"field": "id"}})).await, people_rows());
        caller.abort();
        scene.idle().await;
        assert!(
            !scene.app.rows("honest", &json!({})).await.is_empty(),
            "another instance has taken its place"
        );
    })
    .await;
}

#[tokio::test]
async fn a_plugin_reaches_no_address_that_the_operator_did_not_list() {
    within(secs(60), async {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let folder = PluginFolder::with(&["dialer"]);
        let base = format!("http://{address}");
        // The gateway names the endpoint; that does not open the operator's own network.
        let sources = json!({"out": {"bridge": DIALER, "endpoint": base}});
        let lenses = json!({"asks": deed("out", &format!("get {base} /"), "told")});
        let scene = Scene::with(&folder, sources, lenses, |runner| runner).await;
        let refused = scene.app.query("asks", &json!({})).await;
        assert!(refused.status >= 400, "{}", refused.text());
        assert!(refused.text().contains("allow"), "it says what to do: {}", refused.text());
        let counted = format!("runner_plugin_refused_connections{{plugin=\"{DIALER}\"}}");
        assert_eq!(scene.runner.metric(&counted).await, Some(1.0));
        let nobody = tokio::time::timeout(std::time::Duration::from_millis(200), server.accept()).await;
        assert!(nobody.is_err(), "nobody has connected");
    })
    .await;
}

#[tokio::test]
async fn with_trusted_keys_an_unsigned_plugin_is_not_loaded() {
    within(secs(60), async {
        let folder = PluginFolder::with(&["memory"]);
        let config = harness::folder::Folder::new();
        let key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let file = config.write("runner.toml", &format!("[plugins]\ntrusted_keys = [\"{key}\"]\n"));
        let scene =
            Scene::with(&folder, json!({}), json!({}), |runner| runner.with("SEMILAYER_CONFIG", &file)).await;
        let plugin = scene.plugin().await;
        assert_eq!(plugin["state"], "failed");
        assert!(plugin["problem"].as_str().unwrap().contains("memory.wasm.sig"), "{plugin}");
        // Settings that are read again hold for plugins, too.
        config.write("runner.toml", "");
        scene.runner.process.signal(Signal::HUP);
        until("it is loaded", secs(20), async || scene.plugin().await["state"] == "loaded").await;
        let answer = Request::get("/status").send(scene.runner.health()).await.json();
        assert!(answer["bridges"].as_array().unwrap().contains(&json!(MEMORY)));
    })
    .await;
}
