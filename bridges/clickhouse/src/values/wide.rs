//! Decimals, and integers of 256 bits.

use std::fmt;

/// A decimal of at most 128 bits.
pub(super) struct Decimal {
    negative: bool,
    whole: u128,
    fraction: u128,
    scale: usize,
}

impl Decimal {
    /// `value * 10^-scale`
    #[inline]
    pub(super) fn of(value: i128, scale: u8) -> Self {
        let all = value.unsigned_abs();
        let unit = 10_u128.checked_pow(u32::from(scale)).unwrap_or(u128::MAX);
        let (whole, fraction) = match (u64::try_from(all), u64::try_from(unit)) {
            (Ok(all), Ok(unit)) => (u128::from(all / unit), u128::from(all % unit)),
            _ => (all / unit, all % unit),
        };
        Self { negative: value < 0, whole, fraction, scale: usize::from(scale) }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        match (u64::try_from(self.whole), u64::try_from(self.fraction), self.scale) {
            (Ok(whole), _, 0) => write!(f, "{whole}"),
            (Ok(whole), Ok(fraction), scale) => write!(f, "{whole}.{fraction:0scale$}"),
            (_, _, 0) => write!(f, "{}", self.whole),
            (_, _, scale) => write!(f, "{}.{:0scale$}", self.whole, self.fraction),
        }
    }
}

/// `value * 10^-scale`, of 256 bits with a sign.
pub(super) fn decimal(value: [u8; 32], scale: u8) -> String {
    let text = signed(value);
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let scale = usize::from(scale);
    if scale == 0 {
        return text;
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

/// Digits of an integer with a sign, low bytes first.
pub(super) fn signed(value: [u8; 32]) -> String {
    if value.last().is_none_or(|high| *high < 0x80) {
        return unsigned(value);
    }
    let mut negated = value.map(|byte| !byte);
    for byte in &mut negated {
        let (next, carry) = byte.overflowing_add(1);
        *byte = next;
        if !carry {
            break;
        }
    }
    format!("-{}", unsigned(negated))
}

/// Digits of an integer, low bytes first.
pub(super) fn unsigned(value: [u8; 32]) -> String {
    const CHUNK: u64 = 1_000_000_000;
    let mut limbs = [0_u32; 8];
    for (limb, bytes) in limbs.iter_mut().zip(value.as_chunks::<4>().0) {
        *limb = u32::from_le_bytes(*bytes);
    }
    let mut chunks = Vec::new();
    while limbs.iter().any(|limb| *limb != 0) {
        let mut rest = 0_u64;
        for limb in limbs.iter_mut().rev() {
            let all = (rest << 32) | u64::from(*limb);
            // What is left over is below the divisor, so the quotient fits.
            *limb = u32::try_from(all / CHUNK).unwrap_or(u32::MAX);
            rest = all % CHUNK;
        }
        chunks.push(rest);
    }
    let mut text = chunks.pop().unwrap_or(0).to_string();
    for chunk in chunks.iter().rev() {
        text.push_str(&format!("{chunk:09}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: i128) -> [u8; 32] {
        let mut bytes = [if value < 0 { 0xff } else { 0 }; 32];
        bytes[..16].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    #[test]
    fn integers_of_256_bits_have_all_their_digits() {
        for value in [0, 1, -1, 999_999_999, 1_000_000_000, -1_000_000_001, i128::MAX, i128::MIN] {
            assert_eq!(signed(bytes(value)), value.to_string());
        }
        let all = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        assert_eq!(unsigned([0xff; 32]), all);
        let mut least = [0; 32];
        least[31] = 0x80;
        let text = "-57896044618658097711785492504343953926634992332820282019728792003956564819968";
        assert_eq!(signed(least), text);
    }

    #[test]
    fn decimals_keep_their_scale() {
        for (value, scale, expected) in
            [(0, 2, "0.00"), (-5, 3, "-0.005"), (12_345, 2, "123.45"), (7, 0, "7"), (-1_000, 3, "-1.000")]
        {
            assert_eq!(Decimal::of(value, scale).to_string(), expected);
            assert_eq!(decimal(bytes(value), scale), expected);
        }
        let text = Decimal::of(i128::MIN, 38).to_string();
        assert_eq!(text, "-1.70141183460469231731687303715884105728");
    }
}
