//! Rows that are the same on every machine and in every build: a row is a function of its index.
//!
//! The benchmark compares what a plugin makes of them with what the same code makes natively.

use semilayer_plugin::options::Timestamp;
use semilayer_plugin::{Column, Kind, Table};

const FIRST_NAMES: [&str; 16] = [
    "Ada", "Björn", "Chiara", "Dmitri", "Emeka", "Fatima", "Grace", "Hiroshi", "Ingrid", "João", "Kavya",
    "Lars", "Mei", "Noor", "Olga", "Pedro",
];
const LAST_NAMES: [&str; 16] = [
    "Almeida",
    "Baker",
    "Costa",
    "Duval",
    "Eriksson",
    "Fischer",
    "García",
    "Haddad",
    "Ivanova",
    "Jansen",
    "Kowalska",
    "Lindqvist",
    "Müller",
    "Nakamura",
    "O'Neill",
    "Petrov",
];
/// 2020-01-01T00:00:00Z in microseconds.
const FIRST_INSTANT: i64 = 1_577_836_800_000_000;
/// Between two people, in microseconds: 61 seconds and a bit, so that no two have the same time of day.
const STEP: i64 = 61_000_250;

/// The columns, in order.
pub fn columns() -> Vec<Column> {
    vec![
        Column::new("id", Kind::Int64).key(),
        Column::new("name", Kind::Text).required(),
        Column::new("email", Kind::Text),
        Column::new("score", Kind::Float64).required(),
        Column::new("active", Kind::Boolean).required(),
        Column::new("created_at", Kind::Timestamp).required(),
        Column::new("balance", Kind::Decimal).required(),
        Column::new("device", Kind::Uuid).required(),
    ]
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Person<'a> {
    /// From 1.
    pub id: i64,
    /// First and last name.
    pub name: &'a str,
    /// One in five has none.
    pub email: Option<&'a str>,
    /// In [0, 100).
    pub score: f64,
    /// Two in three are.
    pub active: bool,
    /// Grows with the id.
    pub created_at: Timestamp,
    /// Digits with two behind the point.
    pub balance: &'a str,
    /// A UUID.
    pub device: &'a str,
}

/// Makes rows, and keeps the room for their texts.
#[derive(Debug, Default)]
pub struct Maker {
    name: String,
    email: String,
    balance: String,
    device: Vec<u8>,
}

impl Maker {
    /// The person at `index`, from 0.
    pub fn person(&mut self, index: u64) -> Person<'_> {
        let noise = mix(index);
        let first = pick(&FIRST_NAMES, noise);
        let last = pick(&LAST_NAMES, noise >> 4);
        self.write_texts(index, noise, first, last);
        let id = i64::try_from(index).unwrap_or(i64::MAX - 1) + 1;
        let thousandths = u32::try_from((noise >> 8) % 100_000).unwrap_or(0);
        Person {
            id,
            name: &self.name,
            email: (!noise.is_multiple_of(5)).then_some(self.email.as_str()),
            score: f64::from(thousandths) / 1_000.0,
            active: !noise.is_multiple_of(3),
            created_at: Timestamp::from_micros(FIRST_INSTANT.saturating_add(id.saturating_mul(STEP))),
            balance: &self.balance,
            device: str::from_utf8(&self.device).unwrap_or_default(),
        }
    }

    fn write_texts(&mut self, index: u64, noise: u64, first: &str, last: &str) {
        self.name.clear();
        self.name.extend([first, " ", last]);
        let mut digits = itoa::Buffer::new();
        self.email.clear();
        self.email.extend(["person", digits.format(index), "@example.com"]);
        self.balance.clear();
        self.balance.push_str(digits.format(u32::try_from((noise >> 20) % 10_000_000).unwrap_or(0)));
        self.balance.push('.');
        self.balance.push(digit((noise >> 44) % 10));
        self.balance.push(digit((noise >> 48) % 10));
        self.device.clear();
        self.device.extend_from_slice(&uuid(noise, mix(noise)));
    }
}

impl Person<'_> {
    /// Pushes the value of the column at `position`.
    #[inline]
    pub(crate) fn push(&self, position: usize, table: &mut Table) {
        match position {
            0 => table.push(self.id),
            1 => table.push(self.name),
            2 => table.push(self.email),
            3 => table.push(self.score),
            4 => table.push(self.active),
            5 => table.push(self.created_at),
            6 => table.push(self.balance),
            _ => table.push(self.device),
        };
    }
}

fn pick<'a>(names: &[&'a str; 16], noise: u64) -> &'a str {
    names.get(usize::try_from(noise % 16).unwrap_or(0)).copied().unwrap_or_default()
}

/// Spreads the bits of an index over all of the result; no two indexes have the same (the finalizer of splitmix64).
fn mix(index: u64) -> u64 {
    let mut bits = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Digits are made eight at a time: what is measured is the way of rows to the caller, not how they come about.
fn uuid(high: u64, low: u64) -> [u8; 36] {
    // Version 8: bits of one's own making.
    let high = (high & !0xf000) | 0x8000;
    let low = (low & !(0xf << 60)) | (0xa << 60);
    let halves =
        [high >> 32, high, low >> 32, low].map(|half| u32::try_from(half & 0xffff_ffff).unwrap_or(0));
    let [first, middle, rest, last] = halves.map(hex);
    let mut text = [b'-'; 36];
    let mut put = |at: usize, digits: &[u8]| {
        if let Some(place) = text.get_mut(at..at + digits.len()) {
            place.copy_from_slice(digits);
        }
    };
    put(0, &first);
    let (one, other) = middle.split_at(4);
    put(9, one);
    put(14, other);
    let (one, other) = rest.split_at(4);
    put(19, one);
    put(24, other);
    put(28, &last);
    text
}

/// All digits of a number.
fn hex(value: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // One digit a byte.
    let mut digits = u64::from(value);
    digits = (digits | (digits << 16)) & 0x0000_ffff_0000_ffff;
    digits = (digits | (digits << 8)) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | (digits << 4)) & (ONES * 0x0f);
    let letters = ((digits + ONES * 6) >> 4) & ONES;
    (digits + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

fn digit(value: u64) -> char {
    char::from_digit(u32::try_from(value).unwrap_or(0), 10).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_function_of_its_index() {
        let (mut one, mut other) = (Maker::default(), Maker::default());
        other.person(7);
        for index in [0, 1, 999, 1_000_000] {
            assert_eq!(one.person(index), other.person(index));
        }
        let person = one.person(0);
        assert_eq!(person.id, 1);
        assert_eq!(person.created_at.to_string(), "2020-01-01T00:01:01.000250Z");
        assert_eq!(person.device, "e220a839-7b1d-8daf-a706-dd2f4d197e6f");
    }

    #[test]
    fn texts_look_like_what_they_are() {
        let mut maker = Maker::default();
        let mut without_email = 0;
        for index in 0..1_000 {
            let person = maker.person(index);
            let dashes: Vec<usize> = person.device.match_indices('-').map(|(at, _)| at).collect();
            assert_eq!((person.device.len(), dashes.as_slice()), (36, &[8, 13, 18, 23][..]));
            assert_eq!(person.balance.rsplit_once('.').unwrap().1.len(), 2);
            assert!((0.0..100.0).contains(&person.score));
            without_email += u32::from(person.email.is_none());
        }
        assert!((150..250).contains(&without_email), "{without_email}");
    }
}
