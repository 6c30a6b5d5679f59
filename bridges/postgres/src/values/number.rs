//! `numeric`: base-10000 digits as exact decimal text, the same that the server prints.

use bridge_core::RowWriter;

use super::BadValue;

const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Writes a number as a string with its scale kept; not a number and the infinities are null.
pub(super) fn write_numeric(bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    match text(bytes)? {
        Some(text) => out.plain_text(&text),
        None => out.null(),
    }
    Ok(())
}

/// The number's text; nothing for not a number and the infinities.
pub(super) fn text(bytes: &[u8]) -> Result<Option<String>, BadValue> {
    let bad = BadValue("numeric");
    let (words, rest) = bytes.as_chunks::<2>();
    let [count, weight, sign, scale, digits @ ..] = words else { return Err(bad) };
    if !rest.is_empty() || usize::from(u16::from_be_bytes(*count)) != digits.len() {
        return Err(bad);
    }
    let sign = u16::from_be_bytes(*sign);
    match sign {
        0 | NEGATIVE => {}
        NOT_A_NUMBER | INFINITY | NEGATIVE_INFINITY => return Ok(None),
        _ => return Err(bad),
    }
    let number = Numeric {
        negative: sign == NEGATIVE,
        weight: i16::from_be_bytes(*weight),
        scale: usize::from(u16::from_be_bytes(*scale)),
        digits,
    };
    Ok(Some(number.text()))
}

/// The server's word for what is no number.
pub(super) fn not_finite(bytes: &[u8]) -> Option<&'static str> {
    let sign = bytes.get(4..6)?.try_into().ok()?;
    match u16::from_be_bytes(sign) {
        NOT_A_NUMBER => Some("NaN"),
        INFINITY => Some("Infinity"),
        NEGATIVE_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

struct Numeric<'a> {
    negative: bool,
    /// Power of 10000 of the first digit.
    weight: i16,
    /// Decimal digits behind the point.
    scale: usize,
    digits: &'a [[u8; 2]],
}

impl Numeric<'_> {
    fn text(&self) -> String {
        let mut text = String::with_capacity(self.digits.len() * 4 + self.scale + 3);
        if self.negative {
            text.push('-');
        }
        self.push_whole(&mut text);
        if self.scale > 0 {
            text.push('.');
            self.push_fraction(&mut text);
        }
        text
    }

    fn push_whole(&self, text: &mut String) {
        if self.weight < 0 {
            text.push('0');
            return;
        }
        text.push_str(itoa::Buffer::new().format(self.digit(0)));
        for position in 1..=i32::from(self.weight) {
            push_four(text, self.digit(position));
        }
    }

    fn push_fraction(&self, text: &mut String) {
        let end = text.len() + self.scale;
        let mut position = i32::from(self.weight) + 1;
        while text.len() < end {
            push_four(text, self.digit(position));
            position += 1;
        }
        text.truncate(end);
    }

    /// The base-10000 digit at `position`, where 0 is the first one sent: zero outside of what was sent.
    fn digit(&self, position: i32) -> u16 {
        let digit = usize::try_from(position).ok().and_then(|position| self.digits.get(position));
        digit.map_or(0, |digit| u16::from_be_bytes(*digit))
    }
}

fn push_four(text: &mut String, digit: u16) {
    for unit in [1_000, 100, 10, 1] {
        let decimal = u8::try_from(digit / unit % 10).unwrap_or(0);
        text.push(char::from(b'0' + decimal));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> String {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(digits.len()).unwrap().to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        digits.iter().for_each(|digit| bytes.extend(digit.to_be_bytes()));
        let mut writer = RowWriter::new(10_000);
        writer.begin_row();
        writer.object_key("v");
        write_numeric(&bytes, &mut writer).unwrap();
        writer.end_row().unwrap();
        let row = writer.take().unwrap().rows;
        row.strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap().to_owned()
    }

    #[test]
    fn text_is_that_of_the_server() {
        assert_eq!(numeric(0, 0, 0, &[]), "\"0\"");
        assert_eq!(numeric(0, 0, 2, &[]), "\"0.00\"");
        assert_eq!(numeric(1, 0, 4, &[1, 2345, 6789]), "\"12345.6789\"");
        assert_eq!(numeric(0, NEGATIVE, 2, &[5, 1000]), "\"-5.10\"");
        assert_eq!(numeric(-1, 0, 4, &[42]), "\"0.0042\"");
        assert_eq!(numeric(-2, 0, 7, &[1200]), "\"0.0000120\"");
        assert_eq!(numeric(2, 0, 0, &[1]), "\"100000000\"");
        assert_eq!(numeric(0, NOT_A_NUMBER, 0, &[]), "null");
        assert_eq!(numeric(0, 0xD000, 0, &[]), "null");
    }
}
