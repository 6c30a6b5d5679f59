//! Lines as they are written, and after.

use harness::http::{Request, Streaming};
use harness::sandbox::Door;
use harness::wait::{secs, within};
use serde_json::{Value, json};

/// One server-sent event.
#[derive(Debug)]
struct Event {
    name: String,
    id: Option<u64>,
    data: Value,
}

/// Reads events until `enough` of them are there or the stream ends.
async fn events(stream: &mut Streaming, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    within(secs(60), async {
        let mut text = String::new();
        let mut events = Vec::new();
        loop {
            while let Some((event, rest)) = text.split_once("\n\n") {
                events.extend(parse(event));
                text = rest.to_owned();
            }
            if enough(&events) {
                return events;
            }
            match stream.piece().await {
                Some(piece) => text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap()),
                None => return events,
            }
        }
    })
    .await
}

fn parse(text: &str) -> Option<Event> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = serde_json::from_str(field("data")?).unwrap();
    Some(Event { name: field("event")?.to_owned(), id: field("id").map(|id| id.parse().unwrap()), data })
}

fn lines(events: &[Event]) -> Vec<String> {
    let logs = events.iter().filter(|event| event.name == "log");
    logs.map(|event| event.data["line"].as_str().unwrap().to_owned()).collect()
}

async fn follow(door: &Door, id: &str, last: Option<u64>) -> Streaming {
    let mut request = Request::get(format!("/runs/{id}/logs"));
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let stream = door.open(request).await;
    assert_eq!((stream.status, stream.headers["content-type"].to_str().unwrap()), (200, "text/event-stream"));
    stream
}

/// Of a run that has written so many lines, from a first to a last one.
fn assert_complete(run: &Value, lines: u64) {
    let logs = run["logs"].as_array().unwrap();
    assert_eq!((&logs[0], logs.last().unwrap()), (&json!("1"), &json!("end")));
    // A line stands for those that are left out.
    assert_eq!(run["logsOmitted"]["lines"].as_u64().unwrap() + logs.len() as u64 - 1, lines);
}

#[tokio::test]
async fn lines_come_while_the_run_goes_on_and_the_end_comes_last() {
    let door = Door::start().await;
    let id = door
        .detach("echo one; echo two >&2; while [ ! -e go ]; do sleep 0.1; done", json!({"timeout": 60_000}))
        .await;
    let mut stream = follow(&door, &id, None).await;
    let first = events(&mut stream, |events| events.len() >= 2).await;
    let mut seen = lines(&first);
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
    assert!(first.iter().any(|event| event.data["stream"] == "stderr"));
    assert_eq!(door.run(&id).await["status"], "running");
    door.post(&format!("/runs/{id}/cancel")).await;
    let rest = events(&mut stream, |_| false).await;
    let end = rest.last().unwrap();
    assert_eq!((end.name.as_str(), &end.data["status"]), ("end", &json!("cancelled")));
    assert!(end.data.get("logs").is_none());
}

#[tokio::test]
async fn who_comes_back_goes_on_after_the_last_line_that_was_seen() {
    let door = Door::start().await;
    let id = door.shell("for n in 1 2 3 4; do echo $n; done", Value::Null).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let all = events(&mut follow(&door, &id, None).await, |_| false).await;
    assert_eq!(lines(&all), ["1", "2", "3", "4"]);
    let rest = events(&mut follow(&door, &id, all[1].id).await, |_| false).await;
    assert_eq!(lines(&rest), ["3", "4"]);
    let nothing = events(&mut follow(&door, &id, all[3].id).await, |_| false).await;
    assert_eq!((nothing.len(), nothing[0].name.as_str()), (1, "end"));
    let wrong = Request::get(format!("/runs/{id}/logs")).header("last-event-id", "x");
    assert_eq!(door.send(wrong).await.status, 400);
}

#[tokio::test]
async fn who_follows_a_run_does_not_keep_the_server_from_stopping() {
    let mut door = Door::start().await;
    let id = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&id, "up").await;
    let mut stream = follow(&door, &id, None).await;
    events(&mut stream, |events| !events.is_empty()).await;
    // Half of the 30 s that runs have: nobody waits for one.
    assert_eq!(door.process.terminate(secs(15)).await, Some(0));
    let rest = events(&mut stream, |_| false).await;
    assert!(rest.iter().all(|event| event.name != "end"), "{rest:?}");
    door.restart().await;
    assert_eq!(door.post(&format!("/runs/{id}/cancel")).await.status, 204);
    let all = events(&mut follow(&door, &id, None).await, |_| false).await;
    assert_eq!((lines(&all), all.last().unwrap().name.as_str()), (vec!["up".to_owned()], "end"));
}

#[tokio::test]
async fn a_flood_keeps_its_beginning_and_its_end_and_the_server_stays_small() {
    let door = Door::start().await;
    let run = door.shell("echo first; yes 0123456789 | head -n 3000000; printf last", Value::Null).await;
    assert_eq!(run["status"], "succeeded");
    let logs = run["logs"].as_array().unwrap();
    assert_eq!((&logs[0], logs.last().unwrap()), (&json!("first"), &json!("last")));
    let omitted = &run["logsOmitted"];
    assert_eq!(omitted["lines"].as_u64().unwrap() + logs.len() as u64 - 1, 3_000_002);
    assert!(run.to_string().len() < 1_000_000);
    assert!(door.process.resident_kib() < 100 * 1024, "{} KiB", door.process.resident_kib());
    let id = run["id"].as_str().unwrap();
    let all = events(&mut follow(&door, id, None).await, |_| false).await;
    let gap = all.iter().find(|event| event.name == "gap").unwrap();
    assert_eq!(gap.data["lines"], omitted["lines"]);
}

#[tokio::test]
async fn of_many_detached_runs_that_write_and_end_at_once_nothing_is_lost() {
    let door = Door::start().await;
    let started = (0..8).map(|_| door.detach("seq 1 60000; echo end", json!({"timeout": 60_000})));
    for id in futures::future::join_all(started).await {
        assert_complete(&door.ended(&id).await, 60_001);
    }
}

#[tokio::test]
async fn nor_is_it_when_another_server_goes_on_with_them() {
    let mut door = Door::start().await;
    // The engine is to be reading what is there when the process ends.
    let line = "seq 1 100000; trap 'echo end; exit 0' USR1; echo ready; while :; do sleep 0.1; done";
    let started = (0..4).map(|_| door.detach(line, json!({"timeout": 60_000})));
    let started = futures::future::join_all(started).await;
    for id in &started {
        door.written(id, "ready").await;
    }
    door.process.kill().await;
    door.restart().await;
    futures::future::join_all(started.iter().map(|id| {
        let path = format!("/containers/{id}/kill?signal=USR1");
        door.engine.ask(Request::new("POST", path))
    }))
    .await;
    for id in &started {
        assert_complete(&door.ended(id).await, 100_002);
    }
}

#[tokio::test]
async fn what_is_no_text_is_replaced_and_no_line_can_end_an_event() {
    let door = Door::start().await;
    let id =
        door.shell(r"printf 'a\377b\rdata: x\n\n'", Value::Null).await["id"].as_str().unwrap().to_owned();
    let all = events(&mut follow(&door, &id, None).await, |_| false).await;
    assert_eq!(lines(&all), ["a\u{fffd}b\rdata: x", ""]);
}
