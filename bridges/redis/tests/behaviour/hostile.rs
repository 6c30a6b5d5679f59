//! Servers that are none, or mean harm: whatever they answer, the bridge ends with an error and within its limits.

use bridge_core::{BridgeError, Call};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::asking::{ample, collect, connect, count, open, options, query};

/// What a server answers to a command; nothing for what it leaves to [`usual`].
type Answer = fn(&[String]) -> Option<Vec<u8>>;

/// Answers each command by its name; nothing for those that `answer` does not know but what a Redis would say at a login.
#[expect(clippy::disallowed_methods, reason = "a test's runtime ends its tasks with the test")]
async fn pretend(answer: Answer) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, answer: Answer) {
    let mut received = Vec::new();
    loop {
        while let Some((command, used)) = command(&received) {
            received.drain(..used);
            let reply = answer(&command).unwrap_or_else(|| usual(&command));
            if stream.write_all(&reply).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut received).await, Ok(1..)) {
            return;
        }
    }
}

/// The arguments of a command that is all there, and how long it is.
fn command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let line = |from: usize| {
        let end = from + bytes.get(from..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let number: usize = std::str::from_utf8(&bytes[from + 1..end]).ok()?.parse().ok()?;
        Some((number, end + 2))
    };
    let (arguments, mut at) = line(0)?;
    let mut command = Vec::new();
    for _ in 0..arguments {
        let (length, from) = line(at)?;
        command.push(String::from_utf8_lossy(bytes.get(from..from + length)?).into_owned());
        at = from + length + 2;
    }
    (at <= bytes.len()).then_some((command, at))
}

fn usual(command: &[String]) -> Vec<u8> {
    match command[0].as_str() {
        "TYPE" => b"+none\r\n".to_vec(),
        "SCAN" => b"*2\r\n$1\r\n0\r\n*0\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}

async fn source(answer: Answer) -> Box<dyn bridge_core::Bridge> {
    let port = pretend(answer).await;
    open(json!({"host": "127.0.0.1", "port": port})).await
}

/// One answer gives a key twice, and so does the next.
fn repeating(command: &[String]) -> Option<Vec<u8>> {
    match (command[0].as_str(), command.get(1).map(String::as_str)) {
        ("SCAN", Some("0")) if command.contains(&"MATCH".to_owned()) => {
            Some(b"*2\r\n$1\r\n7\r\n*3\r\n$3\r\nt:a\r\n$3\r\nt:b\r\n$3\r\nt:a\r\n".to_vec())
        }
        ("SCAN", Some("7")) => Some(b"*2\r\n$1\r\n0\r\n*2\r\n$3\r\nt:c\r\n$3\r\nt:b\r\n".to_vec()),
        ("MGET", _) => {
            let values = "$2\r\n{}\r\n".repeat(command.len() - 1);
            Some(format!("*{}\r\n{values}", command.len() - 1).into_bytes())
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_key_that_a_scan_gives_again_is_one_row() {
    let bridge = source(repeating).await;
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 3);
    assert_eq!(count(&*bridge, "t", json!({})).await.unwrap(), 3);
}

#[tokio::test]
async fn answers_that_no_redis_gives_are_errors() {
    let answers: [Answer; 6] = [
        |command| {
            (command[0] == "MGET").then(|| b"*1\r\n$2\r\n{}\r\n".to_vec()).or_else(|| repeating(command))
        },
        |command| (command[0] == "MGET").then(|| b"+OK\r\n".to_vec()).or_else(|| repeating(command)),
        |command| {
            (command[0] == "MGET")
                .then(|| b"HTTP/1.1 400 Bad Request\r\n".to_vec())
                .or_else(|| repeating(command))
        },
        |command| {
            (command.contains(&"MATCH".to_owned()))
                .then(|| b"*2\r\n*0\r\n".to_vec())
                .or_else(|| repeating(command))
        },
        |command| (command.contains(&"MATCH".to_owned())).then(|| b"*1\r\n:5\r\n".to_vec()),
        |command| (command.contains(&"MATCH".to_owned())).then(|| b"$-7\r\n".to_vec()),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        let bridge = source(answer).await;
        let call = Call::within(std::time::Duration::from_secs(2));
        let refused = match bridge.query(&call, "t", options(json!({}))).await {
            Ok(rows) => collect(rows).await.map(|_| ()),
            Err(error) => Err(error),
        };
        let right = matches!(refused, Err(BridgeError::Unreachable { .. } | BridgeError::Timeout));
        assert!(right, "answer {index}: {refused:?}");
    }
}

#[tokio::test]
async fn a_length_without_end_is_refused_and_not_waited_for() {
    let bridge = source(|command| {
        (command[0] == "MGET").then(|| b"*2\r\n$9000000000000\r\n".to_vec()).or_else(|| repeating(command))
    })
    .await;
    let refused = query(&*bridge, "t", json!({})).await;
    assert!(matches!(refused, Err(BridgeError::RowTooLarge { .. })), "{refused:?}");
    let bridge = source(|command| {
        (command.contains(&"MATCH".to_owned())).then(|| b"*2\r\n$1\r\n0\r\n*9000000000000\r\n".to_vec())
    })
    .await;
    let refused = query(&*bridge, "t", json!({})).await;
    assert!(matches!(refused, Err(BridgeError::Unreachable { .. })), "{refused:?}");
}

/// The last window of values comes later than a connection is waited for that nobody needs.
fn slow(command: &[String]) -> Option<Vec<u8>> {
    if command[0] == "MGET" && command.len() == 2 {
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    repeating(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_total_is_not_counted_from_answers_to_other_questions() {
    let bridge = source(slow).await;
    let asked = json!({"where": {"_key": {"$ne": "t:z"}}, "limit": 1, "total": true});
    let rows = bridge.query(&ample(), "t", options(asked)).await.unwrap();
    let (batches, tail) = collect(rows).await.unwrap();
    assert_eq!((batches.len(), tail.total), (1, Some(3)));
}

#[tokio::test]
async fn a_scan_that_never_ends_ends_at_the_deadline() {
    let bridge = source(|command| {
        (command.contains(&"MATCH".to_owned())).then(|| b"*2\r\n$1\r\n7\r\n*0\r\n".to_vec())
    })
    .await;
    let call = Call::within(std::time::Duration::from_millis(300));
    let rows = bridge.query(&call, "t", options(json!({}))).await.unwrap();
    assert!(matches!(collect(rows).await, Err(BridgeError::Timeout)));
    bridge.test(&ample()).await.unwrap();
}

#[tokio::test]
async fn a_node_of_a_cluster_and_a_sentinel_are_refused_in_words() {
    let answers: [(Answer, &str); 2] = [
        (
            |command| (command[0] == "HELLO").then(|| b"*2\r\n$4\r\nmode\r\n$7\r\ncluster\r\n".to_vec()),
            "part of a cluster",
        ),
        (
            |command| (command[0] == "HELLO").then(|| b"*2\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n".to_vec()),
            "Sentinel",
        ),
    ];
    for (answer, words) in answers {
        let port = pretend(answer).await;
        match connect(json!({"host": "127.0.0.1", "port": port})).await.map(|_| ()) {
            Err(BridgeError::Unreachable { message, .. }) => assert!(message.contains(words), "{message}"),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_repeats_the_password_is_not_repeated() {
    let answers: [(Answer, &str); 2] = [
        (
            |command| {
                let words = "-ERR unknown command 'AUTH', with args beginning with:";
                (command[0] == "AUTH").then(|| format!("{words} '{}'\r\n", command[1]).into_bytes())
            },
            "unknown command",
        ),
        (
            |command| (command[0] == "AUTH").then(|| format!("-ERR is {} all?\r\n", command[1]).into_bytes()),
            "repeats the password",
        ),
    ];
    for (answer, words) in answers {
        let config = json!({"host": "127.0.0.1", "port": pretend(answer).await, "password": "hunter2"});
        let message = connect(config).await.map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(words) && !message.contains("hunter2"), "{message}");
    }
}
