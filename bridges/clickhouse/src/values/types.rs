//! Names of types, as the server writes them.

/// A type whose values can be read. Each of them has at least one byte, so that bytes bound the work that they ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    Int8,
    Int16,
    Int32,
    Int64,
    Int128,
    Int256,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    UInt128,
    UInt256,
    Float32,
    Float64,
    BFloat16,
    Bool,
    /// Digits behind the point.
    Decimal32(u8),
    Decimal64(u8),
    Decimal128(u8),
    Decimal256(u8),
    String,
    FixedString(usize),
    /// A text that holds bytes: see [`Type::into_bytes`].
    Bytes,
    FixedBytes(usize),
    Uuid,
    Date,
    Date32,
    DateTime,
    /// Digits behind the second.
    DateTime64(u8),
    Time,
    Time64(u8),
    /// Labels by number, in order.
    Enum8(Vec<(i16, Box<str>)>),
    Enum16(Vec<(i16, Box<str>)>),
    Ipv4,
    Ipv6,
    /// So many of some unit.
    Interval,
    /// Of which there are no values.
    Nothing,
    Nullable(Box<Type>),
    Array(Box<Type>),
    /// Names or none.
    Tuple(Vec<(Option<Box<str>>, Type)>),
    Map(Box<Type>, Box<Type>),
}

/// How deep types may lie in each other; a name that goes deeper is not one that a person wrote.
const MAX_DEPTH: usize = 64;

impl Type {
    /// The type of that name; nothing for one whose values cannot be read as they are.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parser = Parser { rest: name.trim() };
        let kind = parser.kind(0)?;
        parser.rest.is_empty().then_some(kind)
    }

    /// The same with bytes in the place of text.
    pub(crate) fn into_bytes(self) -> Self {
        match self {
            Self::String => Self::Bytes,
            Self::FixedString(length) => Self::FixedBytes(length),
            Self::Nullable(inner) => Self::Nullable(Box::new(inner.into_bytes())),
            Self::Array(inner) => Self::Array(Box::new(inner.into_bytes())),
            other => other,
        }
    }

    /// What remains where nulls are left out.
    pub(crate) fn not_null(&self) -> &Self {
        if let Self::Nullable(inner) = self { inner } else { self }
    }

    /// The labels of an enum, in order.
    pub(crate) fn labels(&self) -> Vec<String> {
        match self.not_null() {
            Self::Enum8(labels) | Self::Enum16(labels) => {
                labels.iter().map(|(_, label)| label.to_string()).collect()
            }
            _ => Vec::new(),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn kind(&mut self, depth: usize) -> Option<Type> {
        if depth > MAX_DEPTH {
            return None;
        }
        let name = self.word()?;
        if self.eat('(') {
            let kind = self.with_arguments(name, depth + 1)?;
            return self.eat(')').then_some(kind);
        }
        plain(name)
    }

    fn with_arguments(&mut self, name: &str, depth: usize) -> Option<Type> {
        Some(match name {
            "Nullable" => match self.kind(depth)? {
                // Of `LowCardinality(Nullable(..))` there is one null.
                nullable @ Type::Nullable(_) => nullable,
                other => Type::Nullable(Box::new(other)),
            },
            "LowCardinality" => self.kind(depth)?,
            "Array" => Type::Array(Box::new(self.kind(depth)?)),
            "Nested" => Type::Array(Box::new(self.tuple(depth)?)),
            "Tuple" => self.tuple(depth)?,
            "Map" => {
                let key = self.kind(depth)?;
                self.comma()?;
                Type::Map(Box::new(key), Box::new(self.kind(depth)?))
            }
            "FixedString" => Type::FixedString(self.number().filter(|length| *length > 0)?),
            "Decimal" => self.decimal()?,
            "DateTime" => {
                self.quoted('\'')?;
                Type::DateTime
            }
            "DateTime64" => {
                let scale = self.scale(9)?;
                if self.eat(',') {
                    self.space();
                    self.quoted('\'')?;
                }
                Type::DateTime64(scale)
            }
            "Time64" => Type::Time64(self.scale(9)?),
            "Enum8" => Type::Enum8(self.labels()?),
            "Enum16" => Type::Enum16(self.labels()?),
            "SimpleAggregateFunction" => {
                self.function()?;
                self.comma()?;
                self.kind(depth)?
            }
            "QBit" => {
                let element = self.kind(depth)?;
                self.comma()?;
                let _length: usize = self.number()?;
                Type::Array(Box::new(element))
            }
            _ => return None,
        })
    }

    /// One of no fields is no type here: its values have no bytes, and a list of them could be as long as it liked.
    fn tuple(&mut self, depth: usize) -> Option<Type> {
        let mut fields = Vec::new();
        loop {
            self.space();
            let name = self.field_name()?;
            fields.push((name, self.kind(depth)?));
            if !self.eat(',') {
                return Some(Type::Tuple(fields));
            }
        }
    }

    /// A name is what stands before a type with a space between them.
    fn field_name(&mut self) -> Option<Option<Box<str>>> {
        if self.rest.starts_with('`') {
            let name = self.quoted('`')?;
            self.space();
            return Some(Some(name.into_boxed_str()));
        }
        let end = self.rest.find(|character: char| !is_word(character))?;
        let (name, after) = self.rest.split_at(end);
        let Some(after) = after.strip_prefix(' ') else { return Some(None) };
        self.rest = after;
        Some(Some(name.into()))
    }

    fn decimal(&mut self) -> Option<Type> {
        let precision: u8 = self.number()?;
        let mut scale = 0;
        if self.eat(',') {
            self.space();
            scale = self.number()?;
        }
        Some(match precision {
            ..=9 => Type::Decimal32(scale),
            10..=18 => Type::Decimal64(scale),
            19..=38 => Type::Decimal128(scale),
            39.. => Type::Decimal256(scale),
        })
    }

    fn labels(&mut self) -> Option<Vec<(i16, Box<str>)>> {
        let mut labels = Vec::new();
        loop {
            self.space();
            let label = self.quoted('\'')?;
            self.space();
            if !self.eat('=') {
                return None;
            }
            self.space();
            labels.push((self.number()?, label.into_boxed_str()));
            if !self.eat(',') {
                labels.sort_by_key(|(number, _)| *number);
                return Some(labels);
            }
        }
    }

    /// The name of an aggregate function, with its parameters if it has any.
    fn function(&mut self) -> Option<()> {
        self.word()?;
        if self.eat('(') {
            let end = self.rest.find(')')?;
            self.rest = self.rest.get(end + 1..)?;
        }
        Some(())
    }

    fn scale(&mut self, most: u8) -> Option<u8> {
        self.number().filter(|scale| *scale <= most)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        let end = self.rest.find(|character: char| !character.is_ascii_digit() && character != '-');
        let (digits, after) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = after;
        digits.parse().ok()
    }

    fn word(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|character: char| !is_word(character)).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        self.rest = after;
        (!word.is_empty()).then_some(word)
    }

    /// Text between quotes, with backslashes before what would end it.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest.strip_prefix(quote)?.chars();
        loop {
            match characters.next()? {
                '\\' => text.push(unescaped(characters.next()?)),
                character if character == quote => break,
                character => text.push(character),
            }
        }
        self.rest = characters.as_str();
        Some(text)
    }

    fn comma(&mut self) -> Option<()> {
        if !self.eat(',') {
            return None;
        }
        self.space();
        Some(())
    }

    fn eat(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn unescaped(character: char) -> char {
    match character {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        '0' => '\0',
        other => other,
    }
}

fn plain(name: &str) -> Option<Type> {
    let array = |inner| Type::Array(Box::new(inner));
    Some(match name {
        "Int8" => Type::Int8,
        "Int16" => Type::Int16,
        "Int32" => Type::Int32,
        "Int64" => Type::Int64,
        "Int128" => Type::Int128,
        "Int256" => Type::Int256,
        "UInt8" => Type::UInt8,
        "UInt16" => Type::UInt16,
        "UInt32" => Type::UInt32,
        "UInt64" => Type::UInt64,
        "UInt128" => Type::UInt128,
        "UInt256" => Type::UInt256,
        "Float32" => Type::Float32,
        "Float64" => Type::Float64,
        "BFloat16" => Type::BFloat16,
        "Bool" => Type::Bool,
        "String" => Type::String,
        "UUID" => Type::Uuid,
        "Date" => Type::Date,
        "Date32" => Type::Date32,
        "DateTime" => Type::DateTime,
        "Time" => Type::Time,
        "IPv4" => Type::Ipv4,
        "IPv6" => Type::Ipv6,
        "Nothing" => Type::Nothing,
        "Point" => point(),
        "Ring" | "LineString" => array(point()),
        "Polygon" | "MultiLineString" => array(array(point())),
        "MultiPolygon" => array(array(array(point()))),
        interval if interval.starts_with("Interval") => Type::Interval,
        _ => return None,
    })
}

fn point() -> Type {
    Type::Tuple(vec![(None, Type::Float64), (None, Type::Float64)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lie_in_each_other_read() {
        let parsed = Type::parse(
            "Map(LowCardinality(String), Array(Tuple(a Nullable(UInt8), b DateTime64(3, 'UTC'))))",
        );
        let fields = vec![
            (Some("a".into()), Type::Nullable(Box::new(Type::UInt8))),
            (Some("b".into()), Type::DateTime64(3)),
        ];
        let value = Type::Array(Box::new(Type::Tuple(fields)));
        assert_eq!(parsed, Some(Type::Map(Box::new(Type::String), Box::new(value))));
        assert_eq!(Type::parse("Decimal(76, 5)"), Some(Type::Decimal256(5)));
        assert_eq!(Type::parse("SimpleAggregateFunction(sum, Int64)"), Some(Type::Int64));
        assert_eq!(
            Type::parse("SimpleAggregateFunction(groupArrayArray(3), Array(Int8))"),
            Type::parse("Array(Int8)")
        );
        assert_eq!(Type::parse("Enum8('a\\'b' = -1, ', )' = 2)").unwrap().labels(), ["a'b", ", )"]);
        assert_eq!(Type::parse("IntervalDay"), Some(Type::Interval));
    }

    #[test]
    fn what_cannot_be_read_as_it_is_is_not_guessed_at() {
        for name in [
            "",
            "JSON",
            "JSON(max_dynamic_paths=0)",
            "Dynamic",
            "Variant(Int64, String)",
            "Array(JSON)",
            "AggregateFunction(sum, Int64)",
            "Geometry",
            "Array(Int8",
            "Array(Int8))",
            "DateTime64(12)",
            "Object('json')",
            "Tuple()",
            "Array(Tuple())",
            "Tuple(a UInt8, )",
            "Nested()",
            "FixedString(0)",
        ] {
            assert_eq!(Type::parse(name), None, "{name}");
        }
        assert_eq!(Type::parse(&"Array(".repeat(100_000)), None);
    }
}
