//! The plugin over a server that is a closure.

use std::cell::RefCell;
use std::rc::Rc;

use semilayer_plugin::http::{Incoming, Outgoing};
use semilayer_plugin::options::Projection;
use semilayer_plugin::serde_json::{Value as Json, json};
use semilayer_plugin::{Cursor, ErrorCode, Kind, Room, testing};

use super::*;

const PEOPLE: &str =
    "id,name,born,score\r\n1,Ada,1815-12-10,9.5\r\n2,\"Grace, Rear Admiral\",1906-12-09,\r\n3,\"\",,7\r\n";

/// A file behind a URL. It comes in pieces of `piece` bytes; the server knows ranges, or does not.
#[derive(Clone, Copy)]
struct File {
    text: &'static str,
    piece: usize,
    ranges: bool,
}

impl File {
    fn of(text: &'static str) -> Self {
        Self { text, piece: 7, ranges: true }
    }

    fn serve(self, request: &Outgoing, version: &str) -> Incoming {
        let range = request.headers.iter().find(|(name, _)| name == "range").filter(|_| self.ranges);
        let from = range.map(|(_, value)| value["bytes=".len()..value.len() - 1].parse::<usize>().unwrap());
        let status = match from {
            None => 200,
            Some(from) if from >= self.text.len() => return Incoming::new(416),
            Some(_) => 206,
        };
        let bytes = self.text.as_bytes()[from.unwrap_or(0)..].chunks(self.piece);
        Incoming::new(status).header("etag", version).body(bytes.map(<[u8]>::to_vec).collect::<Vec<_>>())
    }
}

fn open(file: File, config: Config) -> CsvHttp {
    open_versions(file, config, Rc::new(RefCell::new("\"1\"".to_owned())))
}

fn open_versions(file: File, config: Config, version: Rc<RefCell<String>>) -> CsvHttp {
    let config = Config {
        file_url: if config.file_url.is_empty() {
            "https://x/people.csv".to_owned()
        } else {
            config.file_url
        },
        ..config
    };
    let client = http::Client::new(&config.file_url).unwrap();
    let client = client.over(move |request: &Outgoing| Ok(file.serve(request, &version.borrow())));
    CsvHttp { client, config, layout: None }
}

fn rows(source: &mut CsvHttp, options: ReadOptions) -> Vec<Json> {
    let target = source.config.table();
    testing::json(source.read(&target, options).unwrap()).unwrap()
}

fn kinds(source: &mut CsvHttp) -> Vec<(String, Kind)> {
    let target = source.config.table();
    let columns = source.schema(&target).unwrap().columns;
    columns.into_iter().map(|column| (column.name, column.kind)).collect()
}

#[test]
fn a_csv_file_is_a_table_with_inferred_columns() {
    let mut source = open(File::of(PEOPLE), Config::default());
    assert_eq!(source.targets().unwrap(), ["people"]);
    let expected =
        [("id", Kind::Int64), ("name", Kind::Text), ("born", Kind::Date), ("score", Kind::Float64)];
    assert_eq!(kinds(&mut source), expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(
        rows(&mut source, ReadOptions::default()),
        [
            json!({"id": 1, "name": "Ada", "born": "1815-12-10T00:00:00.000Z", "score": 9.5}),
            json!({"id": 2, "name": "Grace, Rear Admiral", "born": "1906-12-09T00:00:00.000Z", "score": null}),
            json!({"id": 3, "name": "", "born": null, "score": 7.0}),
        ]
    );
}

#[test]
fn pages_go_on_where_they_ended_with_and_without_ranges() {
    for ranges in [true, false] {
        let mut source = open(File { ranges, ..File::of(PEOPLE) }, Config::default());
        let mut options = ReadOptions { limit: 1, ..ReadOptions::default() };
        let mut ids = Vec::new();
        for _ in 0..3 {
            let mut page = source.read("people", options.clone()).unwrap();
            while page.next_batch(Room::default()).unwrap().is_some() {}
            options.cursor = page.tail().next_cursor;
            let mut again = ReadOptions { limit: 1, ..ReadOptions::default() };
            again.cursor.clone_from(&options.cursor);
            if options.cursor.is_some() {
                ids.extend(rows(&mut source, again).iter().map(|row| row["id"].as_i64().unwrap()));
            }
        }
        assert_eq!((ids, options.cursor), (vec![2, 3], None), "ranges: {ranges}");
    }
}

#[test]
fn rows_are_given_out_before_the_next_piece_is_waited_for() {
    let mut source = open(File { piece: 50, ..File::of(PEOPLE) }, Config::default());
    let mut page = source.read("people", ReadOptions::default()).unwrap();
    let sizes: Vec<u32> =
        std::iter::from_fn(|| page.next_batch(Room::default()).unwrap()).map(|batch| batch.rows()).collect();
    assert_eq!(sizes, [1, 2]);
}

#[test]
fn a_file_that_changes_between_pages_is_not_mixed() {
    let version = Rc::new(RefCell::new("\"1\"".to_owned()));
    let mut source = open_versions(File::of(PEOPLE), Config::default(), Rc::clone(&version));
    let mut page = source.read("people", ReadOptions { limit: 1, ..ReadOptions::default() }).unwrap();
    while page.next_batch(Room::default()).unwrap().is_some() {}
    let cursor = page.tail().next_cursor;
    version.replace("\"2\"".to_owned());
    let error = source.read("people", ReadOptions { cursor, ..ReadOptions::default() }).unwrap_err();
    assert_eq!(error.code(), ErrorCode::QueryFailed);
    assert!(error.message().contains("has changed"), "{error}");
}

#[test]
fn columns_may_be_named_and_typed_by_the_settings() {
    let config = Config {
        header: Some(false),
        delimiter: Some(";".to_owned()),
        columns: Some("code:text, price:decimal".to_owned()),
        key: Some("code".to_owned()),
        ..Config::default()
    };
    let mut source = open(File::of("007;1.10;x\n008;2;y"), config);
    let names = ["code", "price", "column3"].map(str::to_owned);
    assert_eq!(kinds(&mut source).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), names);
    assert!(source.schema("people").unwrap().columns[0].primary_key);
    let projection = Projection::Columns(vec!["price".to_owned(), "code".to_owned()]);
    let rows = rows(&mut source, ReadOptions { projection, ..ReadOptions::default() });
    assert_eq!(rows, [json!({"price": "1.10", "code": "007"}), json!({"price": "2", "code": "008"})]);
}

#[test]
fn an_ndjson_file_is_a_table_of_what_its_objects_have() {
    let file = File::of(
        "{\"id\":1,\"tags\":[\"a\"],\"at\":\"2026-01-02T03:04:05Z\",\"code\":\"007\"}\n\n\
         {\"id\":12345678901234567890,\"ok\":true,\"at\":null}\n",
    );
    let file_url = "https://x/log.ndjson".to_owned();
    let columns = Some("id:uint64".to_owned());
    let mut source = open(file, Config { file_url, columns, ..Config::default() });
    let expected = [
        ("at", Kind::Timestamp),
        ("code", Kind::Text),
        ("id", Kind::Uint64),
        ("tags", Kind::Json),
        ("ok", Kind::Boolean),
    ];
    assert_eq!(kinds(&mut source), expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(
        rows(&mut source, ReadOptions::default()),
        [
            json!({"at": "2026-01-02T03:04:05.000Z", "code": "007", "id": 1, "tags": ["a"], "ok": null}),
            json!({"at": null, "code": null, "id": "12345678901234567890", "tags": null, "ok": true}),
        ]
    );
}

#[test]
fn a_value_that_does_not_fit_says_where_it_stands() {
    // The second record is behind what one piece holds, but within the sample; so the kind is said.
    let columns = Some("a:int64".to_owned());
    let mut source = open(File::of("a\n1\nx\n"), Config { columns, ..Config::default() });
    let error = testing::json(source.read("people", ReadOptions::default()).unwrap()).unwrap_err();
    assert_eq!(error.message(), "record 3 of this page, at byte 4 of the file: column \"a\" is no int64");
}

#[test]
fn what_is_no_file_is_refused() {
    let broken = |status: u16| {
        let config = Config { file_url: "https://x/people.csv".to_owned(), ..Config::default() };
        let client = http::Client::new(&config.file_url).unwrap();
        let client = client.over(move |_: &Outgoing| Ok(Incoming::new(status)));
        CsvHttp { client, config, layout: None }.test().unwrap_err().code()
    };
    assert_eq!(broken(404), ErrorCode::NotFound);
    assert_eq!(broken(401), ErrorCode::Unauthenticated);
    assert_eq!(broken(200), ErrorCode::QueryFailed);
    let mut source = open(File::of(PEOPLE), Config::default());
    assert_eq!(source.schema("other").unwrap_err().code(), ErrorCode::NotFound);
    let cursor = Some("x".to_owned());
    let error = source.read("people", ReadOptions { cursor, ..ReadOptions::default() }).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRequest);
}
