//! Packets: frames of at most 16 MiB, and the fields in them (MySQL internals manual, "Protocol Basics").

use super::{ServerError, WireError};

/// Length and sequence number that every frame begins with.
pub(super) const HEADER_BYTES: usize = 4;
/// A frame of this length is not the last one of its packet.
pub(super) const FRAME_FULL: usize = 0xFF_FFFF;
/// One text of an error. Longer ones are cut.
const TEXT_LIMIT: usize = 8 * 1024;

/// First byte of the packets that tell how a command ended.
pub(super) const OK: u8 = 0x00;
pub(super) const LOCAL_INFILE: u8 = 0xFB;
pub(super) const END: u8 = 0xFE;
pub(super) const ERROR: u8 = 0xFF;

/// Status flags of [`Ended`].
const IN_TRANSACTION: u16 = 0x0001;
const SESSION_CHANGED: u16 = 0x4000;

/// Capability flags.
pub(super) mod capability {
    pub(in crate::wire) const LONG_PASSWORD: u64 = 1;
    pub(in crate::wire) const LONG_FLAG: u64 = 1 << 2;
    pub(in crate::wire) const CONNECT_WITH_DB: u64 = 1 << 3;
    pub(in crate::wire) const PROTOCOL_41: u64 = 1 << 9;
    pub(in crate::wire) const SSL: u64 = 1 << 11;
    pub(in crate::wire) const TRANSACTIONS: u64 = 1 << 13;
    pub(in crate::wire) const SECURE_CONNECTION: u64 = 1 << 15;
    pub(in crate::wire) const PLUGIN_AUTH: u64 = 1 << 19;
    pub(in crate::wire) const CONNECT_ATTRS: u64 = 1 << 20;
    pub(in crate::wire) const PLUGIN_AUTH_LENENC: u64 = 1 << 21;
    pub(in crate::wire) const SESSION_TRACK: u64 = 1 << 23;
    pub(in crate::wire) const DEPRECATE_EOF: u64 = 1 << 24;
    /// MariaDB: columns say that they are JSON or UUIDs.
    pub(in crate::wire) const MARIADB_EXTENDED_METADATA: u64 = 1 << 35;
}

/// The header at the front of `bytes`, once there are enough of them: the frame's length.
#[inline]
pub(super) fn frame_length(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, _sequence, ..] = bytes else { return None };
    Some(usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16)
}

/// Takes fields off the front of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// A packet that ends before its fields do.
pub(super) const CUT_SHORT: WireError = WireError::Protocol("a packet ends early");

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.fixed().map(|[byte]: [u8; 1]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.fixed().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// A length-encoded integer.
    #[inline]
    pub(super) fn length(&mut self) -> Result<u64, WireError> {
        match self.u8()? {
            small @ 0..=0xFA => Ok(u64::from(small)),
            0xFC => self.u16().map(u64::from),
            0xFD => {
                let [a, b, c] = self.fixed()?;
                Ok(u64::from(u32::from_le_bytes([a, b, c, 0])))
            }
            0xFE => self.fixed().map(u64::from_le_bytes),
            0xFB | 0xFF => Err(WireError::Protocol("an impossible length")),
        }
    }

    /// A length-encoded string.
    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.length()?).map_err(|_| CUT_SHORT)?;
        self.bytes(length)
    }

    /// A string up to a NUL byte.
    pub(super) fn until_nul(&mut self) -> Result<&'a [u8], WireError> {
        let end = memchr::memchr(0, self.0).ok_or(CUT_SHORT)?;
        let text = self.bytes(end)?;
        self.bytes(1)?;
        Ok(text)
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// What a command ended with, from an OK packet or an end-of-rows packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    status: u16,
}

impl Ended {
    /// Reads an OK packet, also one that ends rows. `old` says that rows end in the way from before MySQL 5.7.
    pub(super) fn read(packet: &[u8], old: bool) -> Result<Self, WireError> {
        let mut fields = Fields(packet);
        if old && fields.u8()? == END {
            let _warnings = fields.u16()?;
            return Ok(Self { status: fields.u16()? });
        }
        let mut fields = Fields(packet);
        fields.u8()?;
        let _affected = fields.length()?;
        let _last_id = fields.length()?;
        Ok(Self { status: fields.u16()? })
    }

    /// Whether the session is as it was: no transaction was left open and no setting changed.
    pub(super) fn is_clean(self) -> bool {
        self.status & (IN_TRANSACTION | SESSION_CHANGED) == 0
    }
}

/// Reads an error packet. Before the login there is no SQLSTATE in it.
pub(super) fn server_error(packet: &[u8]) -> Box<ServerError> {
    let mut fields = Fields(packet);
    let _kind = fields.u8();
    let number = fields.u16().unwrap_or_default();
    let state = match fields.rest().split_first() {
        Some((b'#', rest)) => {
            let (state, rest) = rest.split_at_checked(5).unwrap_or((rest, &[]));
            fields = Fields(rest);
            text(state)
        }
        _ => String::new(),
    };
    Box::new(ServerError { number, state, message: text(fields.rest()) })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..TEXT_LIMIT).unwrap_or(bytes)).into_owned()
}

/// A parameter of a prepared statement in its binary form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Param {
    Null,
    Integer(i64),
    Unsigned(u64),
    Double(f64),
    /// Exact digits, as the server's own decimals read them.
    Decimal(String),
    Text(String),
    Bytes(Vec<u8>),
    Date {
        year: u16,
        month: u8,
        day: u8,
    },
    DateTime {
        year: u16,
        month: u8,
        day: u8,
        micros_of_day: u64,
    },
}

const UNSIGNED: u8 = 0x80;

impl Param {
    /// The type and whether it is unsigned.
    fn kind(&self) -> [u8; 2] {
        match self {
            Self::Null => [6, 0],
            Self::Integer(_) => [8, 0],
            Self::Unsigned(_) => [8, UNSIGNED],
            Self::Double(_) => [5, 0],
            Self::Decimal(_) => [246, 0],
            Self::Text(_) => [253, 0],
            Self::Bytes(_) => [252, 0],
            Self::Date { .. } => [10, 0],
            Self::DateTime { .. } => [12, 0],
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Integer(value) => out.extend(value.to_le_bytes()),
            Self::Unsigned(value) => out.extend(value.to_le_bytes()),
            Self::Double(value) => out.extend(value.to_le_bytes()),
            Self::Decimal(text) | Self::Text(text) => push_string(out, text.as_bytes()),
            Self::Bytes(bytes) => push_string(out, bytes),
            Self::Date { year, month, day } => {
                out.push(4);
                out.extend(year.to_le_bytes());
                out.extend([*month, *day]);
            }
            Self::DateTime { year, month, day, micros_of_day } => {
                let seconds = micros_of_day / 1_000_000;
                let small = |value: u64| u8::try_from(value).unwrap_or(0);
                let micros = u32::try_from(micros_of_day % 1_000_000).unwrap_or(0);
                out.push(11);
                out.extend(year.to_le_bytes());
                out.extend([*month, *day]);
                out.extend([small(seconds / 3_600), small(seconds / 60 % 60), small(seconds % 60)]);
                out.extend(micros.to_le_bytes());
            }
        }
    }
}

/// The body of `COM_STMT_EXECUTE`.
pub(super) fn execute(id: u32, params: &[Param]) -> Vec<u8> {
    let mut out = vec![0x17];
    out.extend(id.to_le_bytes());
    // No cursor: rows stream as they are read.
    out.push(0);
    out.extend(1_u32.to_le_bytes());
    if params.is_empty() {
        return out;
    }
    for eight in params.chunks(8) {
        let bit = |(at, param): (usize, &Param)| u8::from(*param == Param::Null) << at;
        out.push(eight.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit));
    }
    out.push(1);
    params.iter().for_each(|param| out.extend(param.kind()));
    params.iter().for_each(|param| param.write(&mut out));
    out
}

/// Appends a length-encoded string.
pub(super) fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = bytes.len() as u64;
    let [a, b, c, ..] = length.to_le_bytes();
    match length {
        0..=0xFA => out.push(a),
        0xFB..=0xFFFF => out.extend([0xFC, a, b]),
        0x1_0000..=0xFF_FFFF => out.extend([0xFD, a, b, c]),
        _ => {
            out.push(0xFE);
            out.extend(length.to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_size_read_back() {
        for length in [0, 250, 251, 0xFFFF, 0x1_0000, 0xFF_FFFF, 0x100_0000] {
            let mut out = Vec::new();
            push_string(&mut out, &vec![7; length]);
            let mut fields = Fields(&out);
            assert_eq!(fields.string().unwrap().len(), length);
            assert!(fields.rest().is_empty());
        }
    }

    #[test]
    fn a_packet_cut_anywhere_is_no_panic() {
        let packet = b"\x00\xfc\x01\x02\x05\x02\x40\x00\x00";
        for end in 0..packet.len() {
            let _ended = Ended::read(&packet[..end], false);
            let _error = server_error(&packet[..end]);
        }
        assert!(!Ended::read(packet, false).unwrap().is_clean());
    }

    #[test]
    fn an_error_has_its_number_its_state_and_its_words() {
        let error = server_error(b"\xff\x7a\x04#42S02Table 'a.b' doesn't exist");
        assert_eq!((error.number, error.state.as_str()), (1146, "42S02"));
        assert_eq!(error.to_string(), "Table 'a.b' doesn't exist (1146)");
        assert_eq!(server_error(b"\xff\x10\x04Too many connections").message, "Too many connections");
    }

    #[test]
    fn a_null_parameter_is_a_bit_and_has_no_value() {
        let body = execute(1, &[Param::Integer(5), Param::Null, Param::Text("a".to_owned())]);
        assert_eq!(body[10..], [0b010, 1, 8, 0, 6, 0, 253, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, b'a']);
    }
}
