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
/// The last person whose instant there is.
const LAST_WITH_INSTANT: i64 = (i64::MAX - FIRST_INSTANT) / STEP;
/// Two bytes in front of what is meant, since eight are written at once.
const EMAIL_START: [u8; 8] = *b"  person";
const EMAIL_END: &[u8] = b"@example.com";

/// One in each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

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
    /// ASCII, as bytes. One in five has none.
    pub email: Option<&'a [u8]>,
    /// In [0, 100).
    pub score: f64,
    /// Two in three are.
    pub active: bool,
    /// Grows with the id.
    pub created_at: Timestamp,
    /// Digits with two behind the point, as bytes.
    pub balance: &'a [u8],
    /// The text of a UUID, as bytes.
    pub device: &'a [u8],
}

/// Makes rows, and keeps the room for their texts.
#[derive(Debug)]
pub struct Maker {
    /// Each first name with each last name.
    names: Vec<String>,
    email: Backwards<28>,
    balance: Backwards<37>,
    device: [u8; 36],
}

impl Default for Maker {
    fn default() -> Self {
        let name = |last: &'static str| FIRST_NAMES.map(|first| format!("{first} {last}"));
        Self {
            names: LAST_NAMES.into_iter().flat_map(name).collect(),
            email: Backwards::before(EMAIL_END),
            balance: Backwards::before(b".00"),
            device: [b'-'; 36],
        }
    }
}

impl Maker {
    /// The person at `index`, from 0.
    pub fn person(&mut self, index: u64) -> Person<'_> {
        let noise = mix(index);
        self.write_texts(index, noise);
        let id = i64::try_from(index).unwrap_or(i64::MAX - 1) + 1;
        let thousandths = u32::try_from((noise >> 8) % 100_000).unwrap_or(0);
        let instant = if id > LAST_WITH_INSTANT { i64::MAX } else { FIRST_INSTANT + id * STEP };
        Person {
            id,
            name: self.name(noise),
            email: (!noise.is_multiple_of(5)).then_some(self.email.text()),
            score: f64::from(thousandths) / 1_000.0,
            active: !noise.is_multiple_of(3),
            created_at: Timestamp::from_micros(instant),
            balance: self.balance.text(),
            device: &self.device,
        }
    }

    fn name(&self, noise: u64) -> &str {
        let index = usize::try_from(noise % 256).unwrap_or(0);
        self.names.get(index).map(String::as_str).unwrap_or_default()
    }

    fn write_texts(&mut self, index: u64, noise: u64) {
        self.email.restart();
        self.email.digits(index);
        self.email.word(EMAIL_START, 6);
        self.balance.restart();
        self.balance.set_end(&[b'.', digit(noise >> 44), digit(noise >> 48)]);
        self.balance.digits((noise >> 20) % 10_000_000);
        write_uuid(&mut self.device, noise, mix(noise));
    }
}

impl Person<'_> {
    /// Pushes the values of all columns.
    #[inline]
    pub(crate) fn push_all(&self, table: &mut Table) {
        table.push(self.id).push(self.name);
        self.push_email(table);
        table.push(self.score).push(self.active).push(self.created_at).utf8(self.balance).utf8(self.device);
    }

    /// Pushes the value of the column at `position`.
    #[inline]
    pub(crate) fn push(&self, position: usize, table: &mut Table) {
        match position {
            0 => table.push(self.id),
            1 => table.push(self.name),
            2 => self.push_email(table),
            3 => table.push(self.score),
            4 => table.push(self.active),
            5 => table.push(self.created_at),
            6 => table.utf8(self.balance),
            _ => table.utf8(self.device),
        };
    }

    #[inline]
    fn push_email<'t>(&self, table: &'t mut Table) -> &'t mut Table {
        match self.email {
            Some(email) => table.utf8(email),
            None => table.null(),
        }
    }
}

/// Spreads the bits of an index over all of the result; no two indexes have the same (the finalizer of splitmix64).
fn mix(index: u64) -> u64 {
    let mut bits = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Digits are made eight at a time: what is measured is the way of rows to the caller, not how they come about. Dashes stand
/// in the text already.
fn write_uuid(text: &mut [u8; 36], high: u64, low: u64) {
    // Version 8: bits of one's own making.
    let high = (high & !0xf000) | 0x8000;
    let low = (low & !(0xf << 60)) | (0xa << 60);
    let [first, middle, rest, last] = [high >> 32, high & 0xffff_ffff, low >> 32, low & 0xffff_ffff].map(hex);
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
}

/// All digits of a number of 32 bits. Halves change places at each step, so that the first digit is the lowest byte.
fn hex(value: u64) -> [u8; 8] {
    let mut digits = ((value >> 16) | (value << 32)) & 0x0000_ffff_0000_ffff;
    digits = ((digits >> 8) & 0x0000_00ff_0000_00ff) | ((digits & 0x0000_00ff_0000_00ff) << 16);
    digits = ((digits >> 4) & 0x000f_000f_000f_000f) | ((digits & 0x000f_000f_000f_000f) << 8);
    let letters = ((digits + ONES * 6) >> 4) & ONES;
    (digits + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10)).to_le_bytes()
}

/// The last decimal digit.
fn digit(value: u64) -> u8 {
    b'0' + u8::try_from(value % 10).unwrap_or(0)
}

/// A text of at most 40 bytes whose end, from `END` on, stands, and whose start is written eight bytes at a time, from there
/// to the front.
#[derive(Debug)]
struct Backwards<const END: usize> {
    bytes: [u8; 40],
    start: usize,
}

impl<const END: usize> Backwards<END> {
    fn before(end: &[u8]) -> Self {
        let mut this = Self { bytes: [0; 40], start: END };
        this.set_end(end);
        this
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Leaves the end alone.
    fn restart(&mut self) {
        self.start = END;
    }

    fn set_end(&mut self, end: &[u8]) {
        if let Some(place) = self.bytes.get_mut(END..).filter(|place| place.len() == end.len()) {
            place.copy_from_slice(end);
        }
    }

    /// The last bytes of a word. Without the remainder, which is always the same, there would be a case in which it does not
    /// fit.
    fn word(&mut self, word: [u8; 8], length: usize) {
        let at = self.start.wrapping_sub(8) % 32;
        if let Some(place) = self.bytes.get_mut(at..at + 8) {
            place.copy_from_slice(&word);
        }
        self.start = self.start.wrapping_sub(length);
    }

    fn digits(&mut self, mut value: u64) {
        while value >= 100_000_000 {
            self.word(ascii(eight_digits(value % 100_000_000)), 8);
            value /= 100_000_000;
        }
        let digits = eight_digits(value);
        let zeros = usize::try_from(digits.trailing_zeros() / 8).unwrap_or(0);
        self.word(ascii(digits), 8 - zeros.min(7));
    }
}

/// The digits of a number below 100 000 000, one a byte, the first one lowest.
fn eight_digits(value: u64) -> u64 {
    let mut digits = (value / 10_000) | ((value % 10_000) << 32);
    // Hundreds, then tens, of all parts at once, by multiplying instead of dividing.
    let hundreds = ((digits * 10_486) >> 20) & 0x0000_007f_0000_007f;
    digits = hundreds | ((digits - hundreds * 100) << 16);
    let tens = ((digits * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((digits - tens * 10) << 8)
}

fn ascii(digits: u64) -> [u8; 8] {
    (digits + ONES * u64::from(b'0')).to_le_bytes()
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
        assert_eq!(person.device, b"e220a839-7b1d-8daf-a706-dd2f4d197e6f");
    }

    #[test]
    fn texts_look_like_what_they_are() {
        let mut maker = Maker::default();
        let mut without_email = 0;
        for index in 0..1_000 {
            let person = maker.person(index);
            let device = str::from_utf8(person.device).unwrap();
            let dashes: Vec<usize> = device.match_indices('-').map(|(at, _)| at).collect();
            assert_eq!((device.len(), dashes.as_slice()), (36, &[8, 13, 18, 23][..]));
            let (whole, cents) = str::from_utf8(person.balance).unwrap().split_once('.').unwrap();
            assert_eq!((whole.parse::<u32>().unwrap().to_string().as_str(), cents.len()), (whole, 2));
            assert!((0.0..100.0).contains(&person.score));
            without_email += u32::from(person.email.is_none());
        }
        assert!((150..250).contains(&without_email), "{without_email}");
    }

    #[test]
    fn numbers_of_any_length_are_written_from_their_end() {
        let mut text = Backwards::<28>::before(EMAIL_END);
        let numbers = [0, 7, 10, 99, 100, 12_345_678, 99_999_999, 100_000_000, 100_000_007, u64::MAX];
        for number in numbers.into_iter().chain((0..1_000).map(mix)).chain((0..1_000).map(|n| mix(n) >> 40)) {
            text.restart();
            text.digits(number);
            text.word(EMAIL_START, 6);
            assert_eq!(text.text(), format!("person{number}@example.com").as_bytes());
        }
    }
}
