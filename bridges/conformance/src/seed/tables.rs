//! The tables themselves. `facts`, `regions` and `places` follow the formulas of the published aggregate suite, so that
//! its literal totals hold here too.

use protocol::Timestamp;

use super::{Column, Kind, Rows, Seed, Table, Value};

/// Rows of [`facts`]' children that are missing: two facts without a region.
const FACTS_WITHOUT_REGION: [i64; 2] = [15, 20];
/// Rows of the big table.
const BIG_ROWS: u64 = 20_000;
/// Bytes of each big row's payload.
const BIG_PAYLOAD: usize = 200;

/// What the first database holds.
pub fn first() -> Seed {
    let tables = vec![
        small(&["Alpha", "Beta", "Gamma", "Delta", "Epsilon"]),
        facts(),
        regions(),
        places(),
        pairs(),
        by_timestamp(),
        by_uuid(),
        by_bytes(),
        by_text(),
        by_big_integer(),
        ranked(),
        texts(),
        wide(),
        empty(),
        hostile(),
        big(),
    ];
    Seed { tables }
}

/// What the second database holds: a table that the first has too, with other rows.
pub fn second() -> Seed {
    Seed { tables: vec![small(&["Zulu", "Yankee", "Xray"])] }
}

/// Five rows with ids from 1.
fn small(names: &[&str]) -> Table {
    let row = |(index, name): (usize, &&str)| {
        vec![id(index), text(name), text(if index % 2 == 0 { "a" } else { "b" })]
    };
    table(
        "small",
        &[("id", Kind::Integer), ("name", Kind::Text), ("category", Kind::Text)],
        &["id"],
        names.iter().enumerate().map(row).collect(),
    )
}

/// Fifty rows to aggregate.
fn facts() -> Table {
    let mut facts = table(
        "facts",
        &[
            ("id", Kind::Integer),
            ("cuisine", Kind::Text),
            ("country", Kind::Text),
            ("rating", Kind::Integer),
            ("prepTime", Kind::Integer),
            ("views", Kind::Integer),
            ("status", Kind::Text),
            ("createdAt", Kind::Timestamp),
        ],
        &["id"],
        (0..50).map(fact).collect(),
    );
    allow_null(&mut facts, "cuisine");
    facts
}

fn fact(i: i64) -> Vec<Value> {
    let cuisine = if i == 49 { Value::Null } else { text(pick(i, ["italian", "japanese", "mexican"])) };
    let day = format!("2026-{:02}-{:02}T12:00:00Z", i % 4 + 1, (3 * i) % 27 + 1);
    vec![
        Value::Integer(i + 1),
        cuisine,
        text(pick(i, ["US", "JP", "IT"])),
        Value::Integer(i % 5 + 1),
        Value::Integer(if i == 7 { 999 } else { 5 + (7 * i) % 110 }),
        Value::Integer(((i + 1) * 13) % 997 + 1),
        text(if i % 4 == 0 { "draft" } else { "published" }),
        instant(&day),
    ]
}

/// At most one row for each fact.
fn regions() -> Table {
    let row = |pk: i64| {
        vec![
            Value::Integer(pk),
            text(pick(pk - 1, ["EMEA", "AMER", "APAC"])),
            text(pick(pk - 1, ["gold", "silver", "bronze"])),
        ]
    };
    table(
        "regions",
        &[("pk", Kind::Integer), ("region", Kind::Text), ("tier", Kind::Text)],
        &["pk"],
        (1..=50).filter(|pk| !FACTS_WITHOUT_REGION.contains(pk)).map(row).collect(),
    )
}

/// Six points around each of four cities.
fn places() -> Table {
    const CITIES: [(f64, f64); 4] =
        [(42.3601, -71.0589), (42.3736, -71.1097), (35.6762, 139.6503), (51.5074, -0.1278)];
    let mut rows = Vec::new();
    for (lat, lng) in CITIES {
        for i in 0..6_i32 {
            rows.push(vec![
                id(rows.len()),
                Value::Double(lat + f64::from(i - 3) * 0.0015),
                Value::Double(lng + f64::from(i - 2) * 0.0012),
            ]);
        }
    }
    table("places", &[("id", Kind::Integer), ("lat", Kind::Double), ("lng", Kind::Double)], &["id"], rows)
}

/// A key of two columns, whose order is not that of the table.
fn pairs() -> Table {
    let row = |i: i64| {
        let tenant = pick(i, ["north", "east", "south"]);
        vec![text(&format!("note {i}")), Value::Integer(i / 3 + 1), text(tenant)]
    };
    table(
        "pairs",
        &[("note", Kind::Text), ("seq", Kind::Integer), ("tenant", Kind::Text)],
        &["tenant", "seq"],
        (0..12).map(row).collect(),
    )
}

/// Keys that differ by a microsecond.
fn by_timestamp() -> Table {
    let at = |micros: i64| Value::Timestamp(Timestamp::from_micros(1_767_225_600_000_000 + micros));
    keyed(
        "by_timestamp",
        Kind::Timestamp,
        [0, 1, 2, 999, 1_000, 1_001, 1_000_000, 86_400_000_000].map(at).to_vec(),
    )
}

fn by_uuid() -> Table {
    let uuid =
        |n: u32| Value::Uuid(format!("{:08x}-0000-4000-8000-{:012x}", n.wrapping_mul(2_654_435_761), n));
    keyed("by_uuid", Kind::Uuid, (0..9).map(uuid).collect())
}

fn by_bytes() -> Table {
    let keys: [&[u8]; 7] =
        [b"\x00", b"\x00\x01", b"'", b"\"\\", b"text", b"\x7f\x80\xff", b"\xff\xff\xff\xff"];
    keyed("by_bytes", Kind::Bytes, keys.map(|key| Value::Bytes(key.to_vec())).to_vec())
}

/// Keys that need an escape somewhere on their way: in SQL, in LIKE, in JSON or in a cursor.
fn by_text() -> Table {
    let keys = [
        "it's",
        "\"quoted\"",
        "back\\slash",
        "50%",
        "a_b",
        "?",
        "$1",
        ":name",
        "line\nbreak",
        "tab\t",
        " space ",
        "k1.plain",
        "k1.",
        "ünï",
        "日本",
        "🦀",
        "null",
        "undefined",
        "1; DROP TABLE small --",
        "Z",
        "a",
    ];
    keyed("by_text", Kind::Text, keys.map(text).to_vec())
}

/// Keys that a double cannot tell apart.
fn by_big_integer() -> Table {
    let keys = [
        i64::MIN,
        -9_007_199_254_740_993,
        -1,
        0,
        9_007_199_254_740_991,
        9_007_199_254_740_992,
        9_007_199_254_740_993,
        i64::MAX,
    ];
    keyed("by_big_integer", Kind::BigInteger, keys.map(Value::Integer).to_vec())
}

/// Nulls and equal values to order by.
fn ranked() -> Table {
    let ranks = [Some(3), None, Some(1), Some(2), None, Some(3), Some(1), None, Some(2), Some(3), Some(1)];
    let row = |(index, rank): (usize, &Option<i64>)| {
        let score = Value::Double(f64::from(u32::try_from(index % 4).unwrap_or(0)) / 2.0);
        vec![id(index), rank.map_or(Value::Null, Value::Integer), score]
    };
    let mut ranked = table(
        "ranked",
        &[("id", Kind::Integer), ("rank", Kind::Integer), ("score", Kind::Double)],
        &["id"],
        ranks.iter().enumerate().map(row).collect(),
    );
    allow_null(&mut ranked, "rank");
    ranked
}

/// Text that string operators stumble over.
fn texts() -> Table {
    let values = [
        "50%",
        "500",
        "a_c",
        "abc",
        "ABC",
        "AbC",
        "a\\b",
        "a\\\\b",
        "a[b]c",
        "abb]c",
        "it's",
        "\"quoted\"",
        "ÜNÏ",
        "Ünï",
        "ünï",
        "straße",
        "a\nb",
        "",
        "!bang",
        "^caret",
        "#hash",
        "a%b_c\\d",
        "%",
        "_",
        "\\",
        "'",
        "[",
        "Tokyo ",
        " Tokyo",
        "New York",
        "New  York",
        "日本語",
        "🦀 crab",
        "NULL",
    ];
    let mut rows: Vec<Vec<Value>> =
        values.iter().enumerate().map(|(index, value)| vec![id(index), text(value)]).collect();
    rows.push(vec![id(rows.len()), Value::Null]);
    let mut texts = table("texts", &[("id", Kind::Integer), ("value", Kind::Text)], &["id"], rows);
    allow_null(&mut texts, "value");
    texts
}

/// Values at the edges of their types.
fn wide() -> Table {
    let columns = [
        ("id", Kind::Integer),
        ("int", Kind::Integer),
        ("big", Kind::BigInteger),
        ("amount", Kind::Decimal { precision: 30, scale: 6 }),
        ("ratio", Kind::Double),
        ("flag", Kind::Boolean),
        ("label", Kind::Text),
        ("token", Kind::Uuid),
        ("day", Kind::Date),
        ("moment", Kind::Timestamp),
        ("wall", Kind::NaiveTimestamp),
        ("blob", Kind::Bytes),
        ("doc", Kind::Json),
    ];
    let decimal = |text: &str| Value::Decimal(text.to_owned());
    let uuid = |text: &str| Value::Uuid(text.to_owned());
    let json = |text: &str| Value::Json(text.to_owned());
    let mut rows = vec![
        vec![
            Value::Integer(1),
            Value::Integer(i64::from(i32::MAX)),
            Value::Integer(i64::MAX),
            decimal("123456789012345678901234.567890"),
            Value::Double(0.1),
            Value::Bool(true),
            text("plain"),
            uuid("00000000-0000-4000-8000-000000000001"),
            date("2026-04-27"),
            instant("2026-04-27T23:59:59.999999Z"),
            instant("2026-04-27T00:30:00.000Z"),
            Value::Bytes(vec![0, 1, 2, 253, 254, 255]),
            json(r#"{"a":[1,2.5,null],"b":"\"q\""}"#),
        ],
        vec![
            Value::Integer(2),
            Value::Integer(i64::from(i32::MIN)),
            Value::Integer(i64::MIN),
            decimal("-0.000001"),
            Value::Double(-1.5e300),
            Value::Bool(false),
            text("quote \" backslash \\ newline \n tab \t control \u{1} del \u{7f} 🦀"),
            uuid("ffffffff-ffff-4fff-bfff-ffffffffffff"),
            date("1969-12-31"),
            instant("1969-12-31T23:59:59.999Z"),
            instant("1900-01-01T00:00:00.000Z"),
            Value::Bytes(Vec::new()),
            json("[]"),
        ],
        vec![
            Value::Integer(3),
            Value::Integer(0),
            Value::Integer(9_007_199_254_740_993),
            decimal("10.500000"),
            Value::Double(123_456_789.125),
            Value::Bool(true),
            text(""),
            uuid("0a0b0c0d-1111-4222-8333-444455556666"),
            date("2024-02-29"),
            instant("2024-02-29T12:00:00.000001Z"),
            instant("2024-02-29T12:00:00.500Z"),
            Value::Bytes(b"text as bytes".to_vec()),
            json(r#""just text""#),
        ],
    ];
    rows.push(
        std::iter::once(Value::Integer(4)).chain(columns.iter().skip(1).map(|_| Value::Null)).collect(),
    );
    let mut wide = table("wide", &columns, &["id"], rows);
    columns.iter().skip(1).for_each(|(name, _)| allow_null(&mut wide, name));
    wide
}

/// Nothing.
fn empty() -> Table {
    table("empty", &[("id", Kind::Integer), ("value", Kind::Integer)], &["id"], Vec::new())
}

/// Names that break out of careless quoting. Their longest has 40 bytes, which every engine takes.
fn hostile() -> Table {
    let columns = [
        ("id", Kind::Integer),
        ("select", Kind::Text),
        ("double \"quoted\"", Kind::Text),
        ("it's", Kind::Text),
        ("q ? $1 :n @p", Kind::Text),
        ("ünï 列", Kind::Text),
        ("semi;colon--", Kind::Text),
        ("`tick` [bracket]", Kind::Text),
        ("dot.ted", Kind::Integer),
        ("per%cent {b}", Kind::Text),
        ("CamelCase", Kind::Text),
    ];
    let row = |id: i64| {
        let value = |(index, (_, kind)): (usize, &(&str, Kind))| match kind {
            Kind::Integer if index == 0 => Value::Integer(id),
            Kind::Integer => Value::Integer(id * 10),
            _ => text(&format!("{id}-{index}")),
        };
        columns.iter().enumerate().map(value).collect()
    };
    table("order \"by\" ? $1 it's ün", &columns, &["id"], (1..=3).map(row).collect())
}

/// More rows than a careless bridge wants to hold.
fn big() -> Table {
    Table {
        name: "big",
        columns: vec![column("id", Kind::Integer), column("payload", Kind::Text)],
        key: vec!["id"],
        rows: Rows::Generated { count: BIG_ROWS, row: big_row },
    }
}

fn big_row(index: u64) -> Vec<Value> {
    let digit = char::from(b'a' + u8::try_from(index % 26).unwrap_or(0));
    let payload = std::iter::repeat_n(digit, BIG_PAYLOAD).collect();
    vec![Value::Integer(i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1)), Value::Text(payload)]
}

/// A table of a key and the number of its row, in an order that is not the key's.
fn keyed(name: &'static str, kind: Kind, mut keys: Vec<Value>) -> Table {
    let half = keys.len() / 2;
    keys.rotate_left(half);
    let row = |(index, key)| vec![key, id(index)];
    table(
        name,
        &[("key", kind), ("n", Kind::Integer)],
        &["key"],
        keys.into_iter().enumerate().map(row).collect(),
    )
}

fn table(
    name: &'static str,
    columns: &[(&'static str, Kind)],
    key: &[&'static str],
    rows: Vec<Vec<Value>>,
) -> Table {
    let columns = columns.iter().map(|(name, kind)| column(name, *kind)).collect();
    Table { name, columns, key: key.to_vec(), rows: Rows::Listed(rows) }
}

fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind, nullable: false }
}

fn allow_null(table: &mut Table, column: &str) {
    table.columns.iter_mut().filter(|it| it.name == column).for_each(|it| it.nullable = true);
}

/// Numbers from 1.
fn id(index: usize) -> Value {
    Value::Integer(i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1))
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn instant(value: &str) -> Value {
    Timestamp::parse(value).map_or(Value::Null, Value::Timestamp)
}

fn date(value: &str) -> Value {
    Timestamp::parse(value).map_or(Value::Null, Value::Date)
}

fn pick(i: i64, names: [&'static str; 3]) -> &'static str {
    let [first, second, third] = names;
    match i.rem_euclid(3) {
        0 => first,
        1 => second,
        _ => third,
    }
}
