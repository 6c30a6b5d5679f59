//! serde's view of a [`RowWriter`].

use std::fmt::Display;

use bridge_core::RowWriter;
use serde::ser::{self, Impossible, Serialize, Serializer};

/// What `serde_json` calls the struct in which it hides raw JSON.
const RAW: &str = "$serde_json::private::RawValue";

/// Why a value cannot be a row.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotJson(String);

impl ser::Error for NotJson {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Writes one row; only what becomes an object is one.
pub(super) struct RowSerializer<'a>(&'a mut RowWriter);

impl<'a> RowSerializer<'a> {
    pub(super) fn new(out: &'a mut RowWriter) -> Self {
        Self(out)
    }
}

/// Writes one value within a row.
struct ValueSerializer<'a>(&'a mut RowWriter);

/// Writes what must be text: a key, or raw JSON.
struct TextSerializer<'a> {
    out: &'a mut RowWriter,
    role: Role,
}

/// What a text stands for.
#[derive(Clone, Copy)]
enum Role {
    Key,
    /// An object whose braces are the row's.
    Row,
    Value,
}

/// An object or a list that is being written.
pub(super) struct Container<'a> {
    out: &'a mut RowWriter,
    end: End,
}

/// What stands behind the last element.
#[derive(Clone, Copy)]
enum End {
    Row,
    Object,
    Array,
    /// Of a variant: `{"name":[…]}`.
    ArrayInObject,
    /// Of a variant: `{"name":{…}}`.
    ObjectInObject,
    /// Of a variant that is a row.
    ObjectInRow,
    /// Raw JSON in a row's place: its braces are the row's.
    RawRow,
    /// Raw JSON in a value's place.
    RawValue,
}

macro_rules! refuse_as_row {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _value: $type) -> Result<(), NotJson> { Err(no_object()) })*
    };
}

impl<'a> Serializer for RowSerializer<'a> {
    type Ok = ();
    type Error = NotJson;
    type SerializeSeq = Impossible<(), NotJson>;
    type SerializeTuple = Impossible<(), NotJson>;
    type SerializeTupleStruct = Impossible<(), NotJson>;
    type SerializeTupleVariant = Impossible<(), NotJson>;
    type SerializeMap = Container<'a>;
    type SerializeStruct = Container<'a>;
    type SerializeStructVariant = Container<'a>;

    refuse_as_row! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<(), NotJson> {
        Err(no_object())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotJson> {
        Err(no_object())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), NotJson> {
        Err(no_object())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        self.0.begin_row();
        self.0.object_key(variant);
        value.serialize(ValueSerializer(self.0))?;
        end_row(self.0)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, NotJson> {
        Err(no_object())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, NotJson> {
        Err(no_object())
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, NotJson> {
        Err(no_object())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NotJson> {
        Err(no_object())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Container<'a>, NotJson> {
        self.0.begin_row();
        Ok(Container { out: self.0, end: End::Row })
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Container<'a>, NotJson> {
        self.0.begin_row();
        Ok(Container { out: self.0, end: if name == RAW { End::RawRow } else { End::Row } })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Container<'a>, NotJson> {
        self.0.begin_row();
        self.0.object_key(variant);
        self.0.begin_object();
        Ok(Container { out: self.0, end: End::ObjectInRow })
    }
}

impl<'a> Serializer for ValueSerializer<'a> {
    type Ok = ();
    type Error = NotJson;
    type SerializeSeq = Container<'a>;
    type SerializeTuple = Container<'a>;
    type SerializeTupleStruct = Container<'a>;
    type SerializeTupleVariant = Container<'a>;
    type SerializeMap = Container<'a>;
    type SerializeStruct = Container<'a>;
    type SerializeStructVariant = Container<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), NotJson> {
        self.0.boolean(value);
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), NotJson> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), NotJson> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), NotJson> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), NotJson> {
        self.0.integer_safe(value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), NotJson> {
        match i64::try_from(value) {
            Ok(value) => self.serialize_i64(value),
            Err(_) => self.collect_str(&value),
        }
    }

    fn serialize_u8(self, value: u8) -> Result<(), NotJson> {
        self.serialize_i64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), NotJson> {
        self.serialize_i64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), NotJson> {
        self.serialize_i64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), NotJson> {
        self.0.unsigned_safe(value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Result<(), NotJson> {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => self.collect_str(&value),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), NotJson> {
        self.0.single(value);
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), NotJson> {
        self.0.double(value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), NotJson> {
        self.0.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), NotJson> {
        self.0.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), NotJson> {
        self.0.bytes(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), NotJson> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotJson> {
        self.0.null();
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NotJson> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), NotJson> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        self.0.begin_object();
        self.0.object_key(variant);
        value.serialize(ValueSerializer(self.0))?;
        self.0.end_object();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Container<'a>, NotJson> {
        self.0.begin_array();
        Ok(Container { out: self.0, end: End::Array })
    }

    fn serialize_tuple(self, length: usize) -> Result<Container<'a>, NotJson> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Container<'a>, NotJson> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Container<'a>, NotJson> {
        self.0.begin_object();
        self.0.object_key(variant);
        self.0.begin_array();
        Ok(Container { out: self.0, end: End::ArrayInObject })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Container<'a>, NotJson> {
        self.0.begin_object();
        Ok(Container { out: self.0, end: End::Object })
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Container<'a>, NotJson> {
        if name == RAW {
            return Ok(Container { out: self.0, end: End::RawValue });
        }
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Container<'a>, NotJson> {
        self.0.begin_object();
        self.0.object_key(variant);
        self.0.begin_object();
        Ok(Container { out: self.0, end: End::ObjectInObject })
    }
}

impl Container<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        value.serialize(ValueSerializer(self.out))
    }

    fn named<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), NotJson> {
        match self.end {
            End::RawRow => value.serialize(TextSerializer { out: self.out, role: Role::Row }),
            End::RawValue => value.serialize(TextSerializer { out: self.out, role: Role::Value }),
            End::Row
            | End::Object
            | End::Array
            | End::ArrayInObject
            | End::ObjectInObject
            | End::ObjectInRow => {
                self.out.object_key(key);
                self.element(value)
            }
        }
    }

    fn finish(self) -> Result<(), NotJson> {
        match self.end {
            End::Row | End::RawRow => return end_row(self.out),
            End::Object => self.out.end_object(),
            End::Array => self.out.end_array(),
            End::ArrayInObject => {
                self.out.end_array();
                self.out.end_object();
            }
            End::ObjectInObject => {
                self.out.end_object();
                self.out.end_object();
            }
            End::ObjectInRow => {
                self.out.end_object();
                return end_row(self.out);
            }
            End::RawValue => {}
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Container<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.finish()
    }
}

impl ser::SerializeTuple for Container<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Container<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Container<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.finish()
    }
}

impl ser::SerializeMap for Container<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotJson> {
        key.serialize(TextSerializer { out: self.out, role: Role::Key })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.finish()
    }
}

impl ser::SerializeStruct for Container<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        self.named(key, value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Container<'_> {
    type Ok = ();
    type Error = NotJson;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        self.named(key, value)
    }

    fn end(self) -> Result<(), NotJson> {
        self.finish()
    }
}

impl TextSerializer<'_> {
    fn write(self, text: &str) -> Result<(), NotJson> {
        match self.role {
            Role::Key => self.out.object_key(text),
            Role::Value => self.out.json(text),
            Role::Row => {
                let members = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
                match members.ok_or_else(no_object)?.trim() {
                    "" => {}
                    members => self.out.json(members),
                }
            }
        }
        Ok(())
    }
}

macro_rules! write_as_text {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<(), NotJson> { self.write(&value.to_string()) })*
    };
}

impl Serializer for TextSerializer<'_> {
    type Ok = ();
    type Error = NotJson;
    type SerializeSeq = Impossible<(), NotJson>;
    type SerializeTuple = Impossible<(), NotJson>;
    type SerializeTupleStruct = Impossible<(), NotJson>;
    type SerializeTupleVariant = Impossible<(), NotJson>;
    type SerializeMap = Impossible<(), NotJson>;
    type SerializeStruct = Impossible<(), NotJson>;
    type SerializeStructVariant = Impossible<(), NotJson>;

    write_as_text! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_char: char,
    }

    fn serialize_str(self, value: &str) -> Result<(), NotJson> {
        self.write(value)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), NotJson> {
        self.write(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_f32(self, _: f32) -> Result<(), NotJson> {
        Err(no_key())
    }

    fn serialize_f64(self, _: f64) -> Result<(), NotJson> {
        Err(no_key())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), NotJson> {
        Err(no_key())
    }

    fn serialize_none(self) -> Result<(), NotJson> {
        Err(no_key())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), NotJson> {
        Err(no_key())
    }

    fn serialize_unit(self) -> Result<(), NotJson> {
        Err(no_key())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NotJson> {
        Err(no_key())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), NotJson> {
        Err(no_key())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, NotJson> {
        Err(no_key())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, NotJson> {
        Err(no_key())
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, NotJson> {
        Err(no_key())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NotJson> {
        Err(no_key())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, NotJson> {
        Err(no_key())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, NotJson> {
        Err(no_key())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, NotJson> {
        Err(no_key())
    }
}

fn end_row(out: &mut RowWriter) -> Result<(), NotJson> {
    out.end_row().map_err(|error| NotJson(error.to_string()))
}

fn no_object() -> NotJson {
    NotJson("a row is an object".to_owned())
}

fn no_key() -> NotJson {
    NotJson("a key is text, a number or a boolean".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;
    use serde_json::value::RawValue;

    use super::*;

    fn written<T: Serialize + ?Sized>(row: &T) -> Result<String, NotJson> {
        let mut out = RowWriter::new(usize::MAX);
        row.serialize(RowSerializer::new(&mut out))?;
        Ok(out.take().unwrap().rows)
    }

    #[derive(Serialize)]
    enum Shape {
        Point,
        Circle(f64),
        Box(u8, u8),
        Ring { inner: f32, outer: f32 },
    }

    #[derive(Serialize)]
    struct Everything<'a> {
        none: Option<u8>,
        some: Option<&'a str>,
        unit: (),
        shapes: Vec<Shape>,
        pair: (char, bool),
        by_number: BTreeMap<i32, i64>,
        nested: Nested,
        raw: &'a RawValue,
        nothing: [u8; 0],
    }

    #[derive(Serialize)]
    struct Nested {
        list: Vec<Vec<u16>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
    }

    fn everything(raw: &RawValue) -> Everything<'_> {
        Everything {
            none: None,
            some: Some("quote\" and\nline"),
            unit: (),
            shapes: vec![
                Shape::Point,
                Shape::Circle(0.5),
                Shape::Box(1, 2),
                Shape::Ring { inner: 0.5, outer: 2.5 },
            ],
            pair: ('ü', true),
            by_number: [(-1, 10), (2, 20)].into(),
            nested: Nested { list: vec![vec![], vec![1, 2]], left_out: None },
            raw,
            nothing: [],
        }
    }

    #[test]
    fn what_serde_knows_is_written_as_serde_json_would() {
        let raw = RawValue::from_string("[1.50, {}]".to_owned()).unwrap();
        let row = everything(&raw);
        let text = written(&row).unwrap();
        let expected = serde_json::to_value(&row).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected, "{text}");
        // Raw JSON keeps the digits that a parser would drop.
        assert!(text.contains("[1.50, {}]"), "{text}");
    }

    #[test]
    fn numbers_lose_no_digit_and_bytes_are_base64() {
        struct Bytes;
        impl Serialize for Bytes {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&[0, 255, 16])
            }
        }
        #[derive(Serialize)]
        struct Row {
            large: i64,
            larger: u128,
            nan: f64,
            bytes: Bytes,
        }
        let row = Row { large: (1 << 53) + 1, larger: u128::MAX, nan: f64::NAN, bytes: Bytes };
        assert_eq!(
            written(&row).unwrap(),
            r#"{"large":"9007199254740993","larger":"340282366920938463463374607431768211455","nan":null,"bytes":"AP8Q"}"#
        );
    }

    #[test]
    fn raw_objects_are_rows_as_they_stand() {
        let raw = |text: &str| written(&RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(raw(r#"{ "a": 1.10, "b": [] }"#).unwrap(), r#"{"a": 1.10, "b": []}"#);
        assert_eq!(raw("{}").unwrap(), "{}");
        for no_object in ["[]", "1", "\"{}\"", "null"] {
            assert!(raw(no_object).is_err(), "{no_object}");
        }
    }

    #[test]
    fn only_objects_are_rows() {
        assert!(written(&1).is_err());
        assert!(written("text").is_err());
        assert!(written(&[1, 2]).is_err());
        assert!(written(&None::<Nested>).is_err());
        assert_eq!(written(&Some(BTreeMap::from([("a", 1)]))).unwrap(), r#"{"a":1}"#);
        assert_eq!(written(&Shape::Circle(1.0)).unwrap(), r#"{"Circle":1}"#);
        assert_eq!(
            written(&Shape::Ring { inner: 1.0, outer: 2.0 }).unwrap(),
            r#"{"Ring":{"inner":1,"outer":2}}"#
        );
    }
}
