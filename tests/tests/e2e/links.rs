//! Networks that fail between runner and gateway.

use harness::fault::{Link, Mood};
use harness::gateway::{App, Gateway, runner_url};
use harness::runner::{Runner, Settings};
use harness::sqlite::{Sqlite, numbers_lens};
use harness::wait::{eventually, secs, until, within};
use serde_json::json;

struct Stage {
    _numbers: Sqlite,
    gateway: Gateway,
    link: Link,
    runner: Runner,
    runner_id: String,
    app: App,
}

/// A runner that has only a fragile link to its gateway.
async fn stage() -> Stage {
    let numbers = Sqlite::numbers(2_000);
    let gateway = Gateway::start().await;
    let mut config = numbers.config();
    config["bridge"] = "sqlite".into();
    gateway.push(json!({"main": config}), json!({"numbers": numbers_lens("main")})).await;
    let link = Link::to(gateway.address()).await;
    let one = gateway.create_runner("one").await;
    gateway.assign("main", &one.id).await;
    let runner = Settings::new(&one, &runner_url(link.address())).connect().await;
    let app = gateway.secret_app().await;
    Stage { _numbers: numbers, gateway, link, runner, runner_id: one.id, app }
}

#[tokio::test]
async fn a_runner_comes_back_after_its_link_was_cut() {
    within(secs(60), async {
        let mut stage = stage().await;
        assert_eq!(stage.app.count("numbers", &json!({})).await, 2_000);
        for round in 1..=3 {
            stage.link.cut();
            until("it has dialed again", secs(15), async || stage.link.connections() > round).await;
            stage.runner.connected_within(secs(15)).await;
            let count = eventually("queries work again", secs(10), async || {
                let answer = stage.app.query("numbers", &json!({"limit": 2_000})).await;
                (answer.status == 200).then(|| answer.json()["meta"]["count"].clone())
            })
            .await;
            assert_eq!(count, 2_000);
        }
    })
    .await;
}

#[tokio::test]
async fn a_runner_keeps_trying_while_it_is_refused_and_is_not_ready_meanwhile() {
    within(secs(90), async {
        let mut stage = stage().await;
        stage.link.refuse().await;
        stage.runner.disconnected_within(secs(10)).await;
        assert_eq!(stage.runner.ready().await.0, 503);
        assert_eq!(stage.app.query("numbers", &json!({})).await.code(503), "no_runners_online");
        let unreachable = "runner_connect_attempts_total{result=\"unreachable\"}";
        until("it has tried twice", secs(20), async || {
            stage.runner.metric(unreachable).await.unwrap_or(0.0) >= 2.0
        })
        .await;
        stage.link.accept().await;
        stage.runner.connected_within(secs(40)).await;
        assert_eq!(stage.app.count("numbers", &json!({})).await, 2_000);
    })
    .await;
}

/// No reset and no end arrives: only the silence can tell. It really waits, about 45 seconds.
#[tokio::test]
async fn a_blackholed_link_is_noticed_by_both_sides() {
    within(secs(150), async {
        let mut stage = stage().await;
        stage.link.set(Mood::Blackhole);
        stage.runner.disconnected_within(secs(60)).await;
        until("the gateway has noticed", secs(30), async || !stage.gateway.is_online(&stage.runner_id).await)
            .await;
        assert_eq!(stage.app.query("numbers", &json!({})).await.code(503), "no_runners_online");
        stage.link.set(Mood::Open);
        stage.runner.connected_within(secs(60)).await;
        assert_eq!(stage.app.count("numbers", &json!({})).await, 2_000);
    })
    .await;
}

#[tokio::test]
async fn a_slow_link_delivers_everything_and_stays_up() {
    within(secs(60), async {
        let stage = stage().await;
        stage.link.set(Mood::Slow(60_000));
        // About 270 kB of rows at 60 kB/s, and a heartbeat's worth of small queries beside them.
        let rows = tokio::spawn({
            let app = stage.app.clone();
            async move { app.lines("numbers", &json!({"limit": 2_000})).await.count_lines().await }
        });
        assert_eq!(stage.app.count("numbers", &json!({})).await, 2_000);
        let (lines, _) = rows.await.unwrap();
        assert_eq!(lines, 2_000);
        assert_eq!(stage.link.connections(), 1);
    })
    .await;
}
