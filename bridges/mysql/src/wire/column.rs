//! Columns of a result, as the server describes them.

use super::WireError;
use super::packet::Fields;

/// The character set of what is no text.
const BINARY: u16 = 63;
const UNSIGNED: u16 = 0x0020;
/// Compared byte by byte. Columns of bits do not say this of themselves.
const BINARY_VALUE: u16 = 0x0080;
/// An alias has up to 256 characters of four bytes. What is longer is cut.
const NAME_LIMIT: usize = 1024;
/// MariaDB's kinds of extended metadata.
const EXTENDED_TYPE: u8 = 0;
const EXTENDED_FORMAT: u8 = 1;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: Box<str>,
    pub(crate) kind: ColumnType,
    /// Digits behind the point; 31 where their number varies.
    pub(crate) decimals: u8,
}

/// What a column's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// Always null.
    Null,
    Tiny {
        signed: bool,
    },
    Short {
        signed: bool,
    },
    Long {
        signed: bool,
    },
    LongLong {
        signed: bool,
    },
    Year,
    Float,
    Double,
    /// Digits as text.
    Decimal,
    Date,
    DateTime,
    Time,
    /// Bits, the highest byte first.
    Bit,
    /// Bits that are digits as text: what MariaDB's `MIN` and `MAX` make of them.
    BitDigits,
    /// One value, or so the server says.
    Json,
    /// SRID and well-known binary.
    Geometry,
    /// Singles.
    Vector,
    Text,
    Bytes,
}

impl Column {
    /// Reads a column definition; `extended` says that MariaDB's metadata is in it.
    pub(super) fn read(packet: &[u8], extended: bool) -> Result<Self, WireError> {
        let mut fields = Fields(packet);
        for _catalog_schema_table_origin in 0..4 {
            fields.string()?;
        }
        let name = fields.string()?;
        let name = String::from_utf8_lossy(name.get(..NAME_LIMIT).unwrap_or(name)).into();
        fields.string()?;
        let extended = if extended { Extended::read(fields.string()?)? } else { Extended::Nothing };
        fields.length()?;
        let charset = fields.u16()?;
        let _width = fields.u32()?;
        let code = fields.u8()?;
        let flags = fields.u16()?;
        let decimals = fields.u8()?;
        Ok(Self { name, kind: ColumnType::of(code, charset, flags, extended)?, decimals })
    }
}

impl ColumnType {
    fn of(code: u8, charset: u16, flags: u16, extended: Extended) -> Result<Self, WireError> {
        let signed = flags & UNSIGNED == 0;
        Ok(match code {
            6 => Self::Null,
            1 => Self::Tiny { signed },
            2 => Self::Short { signed },
            3 | 9 => Self::Long { signed },
            8 => Self::LongLong { signed },
            13 => Self::Year,
            4 => Self::Float,
            5 => Self::Double,
            0 | 246 => Self::Decimal,
            10 | 14 => Self::Date,
            7 | 12 | 17 | 18 => Self::DateTime,
            11 | 19 => Self::Time,
            16 if flags & BINARY_VALUE != 0 => Self::BitDigits,
            16 => Self::Bit,
            245 => Self::Json,
            255 => Self::Geometry,
            242 => Self::Vector,
            // Strings of every length, sets and enumerations.
            15 | 247..=254 => match extended {
                Extended::Json if charset != BINARY => Self::Json,
                Extended::Vector => Self::Vector,
                _ if charset == BINARY => Self::Bytes,
                _ => Self::Text,
            },
            _ => return Err(WireError::Protocol("a column of an unknown type")),
        })
    }

    /// How many bytes a value has in a binary row, where that is always the same.
    #[inline]
    pub(super) fn width(self) -> Width {
        match self {
            Self::Null => Width::Fixed(0),
            Self::Tiny { .. } => Width::Fixed(1),
            Self::Short { .. } | Self::Year => Width::Fixed(2),
            Self::Long { .. } | Self::Float => Width::Fixed(4),
            Self::LongLong { .. } | Self::Double => Width::Fixed(8),
            Self::Date | Self::DateTime | Self::Time => Width::Short,
            Self::Decimal
            | Self::Bit
            | Self::BitDigits
            | Self::Json
            | Self::Geometry
            | Self::Vector
            | Self::Text
            | Self::Bytes => Width::Encoded,
        }
    }
}

/// Where a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Fixed(usize),
    /// After as many bytes as its first byte says.
    Short,
    /// A length-encoded string.
    Encoded,
}

/// What MariaDB says beyond the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extended {
    Nothing,
    Json,
    Vector,
}

impl Extended {
    fn read(metadata: &[u8]) -> Result<Self, WireError> {
        let mut fields = Fields(metadata);
        let mut found = Self::Nothing;
        while !fields.rest().is_empty() {
            match (fields.u8()?, fields.string()?) {
                (EXTENDED_FORMAT, b"json") => found = Self::Json,
                (EXTENDED_TYPE, b"vector") => found = Self::Vector,
                _ => {}
            }
        }
        Ok(found)
    }
}
