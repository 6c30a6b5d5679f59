//! The HTTP client over a service that is a closure.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use semilayer_plugin::http::{Client, Incoming, Outgoing, next_cursor, next_link, next_url, page_number};
use semilayer_plugin::{Error, ErrorCode};
use serde_json::{Value, json};

/// A client of a service, and the requests that arrived there.
fn service(
    answer: impl Fn(&Outgoing) -> Result<Incoming, Error> + 'static,
) -> (Client, Rc<RefCell<Vec<Outgoing>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let client = Client::new("https://api.example.com/v1").unwrap().over(move |request: &Outgoing| {
        log.borrow_mut().push(request.clone());
        answer(request)
    });
    (client, seen)
}

/// A service that gives these answers, one after the other.
fn scripted(answers: Vec<Result<Incoming, Error>>) -> (Client, Rc<RefCell<Vec<Outgoing>>>) {
    let answers = RefCell::new(answers.into_iter());
    service(move |_| answers.borrow_mut().next().expect("one request too many"))
}

fn header<'a>(request: &'a Outgoing, name: &str) -> Option<&'a str> {
    request
        .headers
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

#[test]
fn a_request_has_what_the_client_and_it_say() {
    let (client, seen) = service(|_| Ok(Incoming::new(200).json(&json!({"ok": true}))));
    let client = client.bearer("t0ken").header("accept", "application/json").timeout(Duration::from_secs(5));
    let body: Value =
        client.post("things/_search").query("q", "a b").json(&json!({"size": 1})).fetch().unwrap();
    assert_eq!(body, json!({"ok": true}));
    let request = &seen.borrow()[0];
    assert_eq!((request.method.as_str(), request.timeout_ms), ("POST", Some(5_000)));
    assert_eq!(request.url, "https://api.example.com/v1/things/_search?q=a%20b");
    assert_eq!(header(request, "authorization"), Some("Bearer t0ken"));
    assert_eq!(header(request, "content-type"), Some("application/json"));
    assert_eq!(request.body.as_deref(), Some(&br#"{"size":1}"#[..]));
}

#[test]
fn a_user_in_the_url_becomes_basic_authentication() {
    let client = Client::new("https://me:p%40ss@example.com").unwrap().over(|request: &Outgoing| {
        assert_eq!(request.url, "https://example.com/");
        assert_eq!(header(request, "authorization"), Some("Basic bWU6cEBzcw=="));
        Ok(Incoming::new(204))
    });
    assert_eq!(client.get("").send().unwrap().status(), 204);
    assert!(!format!("{client:?}").contains("bWU6"), "credentials are not printed");
}

#[test]
fn a_path_that_climbs_out_is_not_sent() {
    let (client, seen) = scripted(Vec::new());
    let error = client.get("things/../../admin").send().unwrap_err();
    assert_eq!((error.code(), seen.borrow().len()), (ErrorCode::InvalidRequest, 0));
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let (client, seen) = scripted(vec![
        Ok(Incoming::new(302).header("location", "/v2/file")),
        Ok(Incoming::new(307).header("location", "https://files.example.net/x?sig=1")),
        Ok(Incoming::new(200).body(["data"])),
    ]);
    let client = client.bearer("t0ken");
    assert_eq!(client.get("file").header("x-key", "k").send().unwrap().text().unwrap(), "data");
    let seen = seen.borrow();
    let urls: Vec<&str> = seen.iter().map(|request| request.url.as_str()).collect();
    assert_eq!(
        urls,
        [
            "https://api.example.com/v1/file",
            "https://api.example.com/v2/file",
            "https://files.example.net/x?sig=1"
        ]
    );
    let keys: Vec<bool> = seen
        .iter()
        .map(|request| header(request, "authorization").is_some() && header(request, "x-key").is_some())
        .collect();
    assert_eq!(keys, [true, true, false]);
    assert!(seen[2].headers.is_empty());
}

#[test]
fn redirects_end() {
    let (client, seen) = service(|_| Ok(Incoming::new(302).header("location", "again")));
    assert_eq!(client.redirects(2).get("a").send().unwrap().status(), 302);
    assert_eq!(seen.borrow().len(), 3);
    let (client, seen) = service(|_| Ok(Incoming::new(302).header("location", "again")));
    assert_eq!(client.post("a").send().unwrap().status(), 302);
    assert_eq!(seen.borrow().len(), 1);
}

#[test]
fn what_is_over_soon_is_tried_again() {
    let (client, seen) = scripted(vec![
        Err(Error::unreachable("reset")),
        Ok(Incoming::new(503)),
        Ok(Incoming::new(200).body(["here"])),
    ]);
    assert_eq!(client.get("x").send().unwrap().text().unwrap(), "here");
    assert_eq!(seen.borrow().len(), 3);
}

#[test]
fn the_last_answer_counts_when_all_tries_are_used_up() {
    let (client, seen) = service(|_| Ok(Incoming::new(429).header("retry-after", "3").body(["slow down"])));
    let error = client.retries(2).get("x").send().unwrap().ok().unwrap_err();
    assert_eq!((error.code(), error.wait()), (ErrorCode::RateLimited, Some(Duration::from_secs(3))));
    assert_eq!((error.message(), error.native()), ("the service answered 429: slow down", Some("429")));
    assert_eq!(seen.borrow().len(), 3);
}

#[test]
fn a_write_that_may_have_arrived_is_not_sent_twice() {
    let (client, seen) = service(|_| Err(Error::unreachable("reset")));
    assert!(client.post("x").send().is_err());
    assert_eq!(seen.borrow().len(), 1);
    assert!(client.post("x").idempotent().send().is_err());
    assert_eq!(seen.borrow().len(), 1 + 4);
}

#[test]
fn failures_have_the_services_own_words() {
    for (status, body, code, message) in [
        (401, json!({"message": "bad  key"}).to_string(), ErrorCode::Unauthenticated, "401: bad key"),
        (403, json!({"error": {"reason": "no"}}).to_string(), ErrorCode::PermissionDenied, "403: no"),
        (404, json!({"errors": [{"message": "gone"}]}).to_string(), ErrorCode::NotFound, "404: gone"),
        (500, "<html>Oops</html>".to_owned(), ErrorCode::QueryFailed, "500"),
        (400, json!({"code": 7}).to_string(), ErrorCode::QueryFailed, "400"),
        (400, String::new(), ErrorCode::QueryFailed, "400"),
    ] {
        let (client, _) = service(move |_| Ok(Incoming::new(status).body([body.clone()])));
        let error = client.get("x").fetch::<Value>().unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (code, format!("the service answered {message}").as_str())
        );
    }
}

#[test]
fn bodies_have_a_limit_unless_they_are_read_as_they_come() {
    let (client, _) = service(|_| Ok(Incoming::new(200).body(["x".repeat(60), "y".repeat(60)])));
    let client = client.max_body(100);
    let error = client.get("x").send().unwrap().bytes().unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
    let mut text = String::new();
    client.get("x").send().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.len(), 120);
}

fn values(pages: impl Iterator<Item = Result<Value, Error>>) -> Vec<Value> {
    pages.collect::<Result<_, _>>().unwrap()
}

#[test]
fn pages_are_followed_by_the_link_header() {
    let (client, seen) = service(|request| {
        let answer = Incoming::new(200);
        Ok(if request.url.ends_with("page=2") {
            answer.header("link", "</v1/t?page=1>; rel=\"prev\"").json(&json!([2]))
        } else {
            let link = "</v1/t?page=9>; rel=last, </v1/t?page=2>; title=\"a, b\"; rel=\"next\"";
            answer.header("Link", link).json(&json!([1]))
        })
    });
    assert_eq!(values(client.bearer("t").get("t").pages(next_link())), [json!([1]), json!([2])]);
    assert!(seen.borrow().iter().all(|request| header(request, "authorization").is_some()));
}

#[test]
fn pages_are_followed_by_number() {
    let (client, seen) = service(|request| {
        let more = !request.url.ends_with("page=3");
        Ok(Incoming::new(200).json(&json!({"more": more})))
    });
    let pages =
        client.get("t").query("page", 1).pages(page_number("page", 1, |page: &Value| page["more"] == true));
    assert_eq!(values(pages).len(), 3);
    let last = seen.borrow().last().unwrap().url.clone();
    assert_eq!(last, "https://api.example.com/v1/t?page=3");
}

#[test]
fn pages_are_followed_by_cursor_and_by_url() {
    let answer = |request: &Outgoing| {
        let first = !request.url.contains("after=");
        let next = if first { json!("c&1") } else { json!("") };
        Ok(Incoming::new(200).json(&json!({"next": next, "url": if first { "?after=2" } else { "" }})))
    };
    let text = |page: &Value, key: &str| page[key].as_str().map(str::to_owned);
    let (client, seen) = service(answer);
    let by_cursor = client.get("t").pages(next_cursor("after", move |page: &Value| text(page, "next")));
    assert_eq!(values(by_cursor).len(), 2);
    assert_eq!(seen.borrow()[1].url, "https://api.example.com/v1/t?after=c%261");
    let by_url = client.get("t").pages(next_url(move |page: &Value| text(page, "url")));
    assert_eq!(values(by_url).len(), 2);
    assert_eq!(seen.borrow()[3].url, "https://api.example.com/v1/t?after=2");
}

#[test]
fn a_page_that_leads_to_itself_ends_in_an_error() {
    let (client, _) = service(|_| Ok(Incoming::new(200).json(&json!({"next": "t"}))));
    let mut pages = client.get("t").pages(next_url(|_: &Value| Some("t".to_owned())));
    assert_eq!(pages.next().unwrap().unwrap_err().code(), ErrorCode::QueryFailed);
    assert!(pages.next().is_none());
}
