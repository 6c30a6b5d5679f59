//! One runner, five kinds of database: `examples/five-databases` as its reader runs it, and the same questions to each.

use std::collections::BTreeMap;

use harness::gateway::{App, Gateway};
use harness::process::{bare, free_port, program, run};
use harness::shop::{Shop, example};
use harness::wait::{secs, within};
use serde_json::{Value, json};

/// The lenses on databases that hold something of a customer.
const OF_A_CUSTOMER: [(&str, &str); 4] =
    [("orders", "id"), ("events", "id"), ("carts", "key"), ("sessions", "id")];

#[tokio::test]
async fn the_example_runs_as_its_reader_runs_it() {
    within(secs(120), async {
        let shop = Shop::create().await;
        let programs = program("semilayer-gateway").as_std().get_program().to_owned();
        let programs = std::path::Path::new(&programs).parent().unwrap().to_owned();
        assert!(programs.join("semilayer-runner").exists());
        let mut script = bare(example().join("run.sh"));
        script
            .arg("--once")
            .env("SEMILAYER_BIN", &programs)
            .env("LISTEN", format!("127.0.0.1:{}", free_port()));
        script.envs(shop.variables());
        let said = run("run.sh", script, secs(100)).await.ok();
        for source in ["postgres", "mysql", "mongodb", "redis", "clickhouse"] {
            let ok = |line: &str| line.starts_with("ok") && line.contains(&format!("source {source} "));
            assert!(said.lines().any(ok), "doctor of {source}:\n{said}");
        }
        let (_, answers) = said.split_once("\ncustomers {").unwrap();
        let expected = std::fs::read_to_string(example().join("expected.txt")).unwrap();
        assert_eq!(format!("customers {{{answers}"), expected);
    })
    .await;
}

#[tokio::test]
async fn a_filter_means_the_same_on_five_databases() {
    within(secs(120), async {
        let (_shop, gateway, _runner) = running().await;
        let app = gateway.secret_app().await;
        for (lens, key) in OF_A_CUSTOMER {
            let all = app.rows(lens, &json!({"orderBy": {"field": key}})).await;
            let id = |row: &Value| row[key].clone();
            let kept = |keep: &dyn Fn(i64) -> bool| -> Vec<Value> {
                all.iter().filter(|row| keep(row["customerId"].as_i64().unwrap())).map(id).collect()
            };
            for (filter, keep) in filters() {
                let answer = app.rows(lens, &json!({"where": filter, "orderBy": {"field": key}})).await;
                assert_eq!(answer.iter().map(id).collect::<Vec<_>>(), kept(&keep), "{lens} where {filter}");
                let counted = app.count(lens, &json!({"where": filter})).await;
                assert_eq!(usize::try_from(counted).unwrap(), answer.len(), "count of {lens} where {filter}");
            }
            assert_eq!(walked(&app, lens).await, all.len(), "pages of {lens}");
        }
    })
    .await;
}

/// Whether a customer is meant.
type Meant = fn(i64) -> bool;

/// Filters over `customerId`, and whom they mean.
fn filters() -> Vec<(Value, Meant)> {
    vec![
        (json!({"customerId": 1}), |id| id == 1),
        (json!({"customerId": {"$ne": 1}}), |id| id != 1),
        (json!({"customerId": {"$in": [1, 3, 99]}}), |id| [1, 3].contains(&id)),
        (json!({"customerId": {"$nin": [1, 3]}}), |id| ![1, 3].contains(&id)),
        (json!({"customerId": {"$gt": 3, "$lte": 9}}), |id| id > 3 && id <= 9),
        (json!({"$not": {"customerId": {"$gte": 4}}}), |id| id < 4),
        (
            json!({"$or": [{"customerId": 5}, {"$and": [{"customerId": {"$gt": 9}}, {"customerId": {"$lt": 12}}]}]}),
            |id| id == 5 || (id > 9 && id < 12),
        ),
        (json!({"customerId": null}), |_| false),
        (json!({"customerId": {"$in": []}}), |_| false),
    ]
}

#[tokio::test]
async fn five_databases_answer_at_the_same_time_and_one_that_is_gone_harms_no_other() {
    within(secs(120), async {
        let (shop, gateway, _runner) = running().await;
        let app = gateway.secret_app().await;
        let ask = async |lens: &str| app.query(lens, &json!({"limit": 3})).await.status;
        for _ in 0..10 {
            let answers =
                tokio::join!(ask("customers"), ask("orders"), ask("events"), ask("carts"), ask("sessions"));
            assert_eq!(answers, (200, 200, 200, 200, 200));
        }
        drop(shop);
        // The shop's MySQL and PostgreSQL databases are gone now.
        let answers: BTreeMap<&str, u16> = [
            ("events", ask("events").await),
            ("carts", ask("carts").await),
            ("sessions", ask("sessions").await),
        ]
        .into();
        assert!(answers.values().all(|status| *status == 200), "{answers:?}");
        for gone in ["customers", "orders"] {
            let status = ask(gone).await;
            assert!(status == 502 || status == 422, "{gone}: {status}");
        }
    })
    .await;
}

/// Rows of all pages of seven.
async fn walked(app: &App, lens: &str) -> usize {
    app.walk(lens, &json!({"orderBy": {"field": "customerId", "dir": "desc"}, "limit": 7}))
        .await
        .iter()
        .map(Vec::len)
        .sum()
}

/// The example's config in a gateway, and a runner with the five sources.
async fn running() -> (Shop, Gateway, harness::runner::Runner) {
    let shop = Shop::create().await;
    let gateway = Gateway::start().await;
    let config = example().join("shop.yaml");
    gateway.cli(&["push", config.to_str().unwrap()]).await.ok();
    let credentials = gateway.create_runner("here").await;
    for source in ["postgres", "mysql", "mongodb", "redis", "clickhouse"] {
        gateway.assign(source, &credentials.id).await;
    }
    let settings = shop
        .variables()
        .iter()
        .fold(gateway.settings(&credentials), |settings, (name, value)| settings.with(name, value));
    let runner = settings.connect().await;
    (shop, gateway, runner)
}
