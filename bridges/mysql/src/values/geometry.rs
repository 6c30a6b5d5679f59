//! Geometries: the server's SRID and well-known binary (OGC 06-103r4, clause 8) as GeoJSON (RFC 7946, section 3.1).
//!
//! Positions are as they are stored, x before y, which for SRID 4326 is longitude before latitude as GeoJSON wants it.

use bridge_core::RowWriter;

use super::BadValue;

const BAD: BadValue = BadValue("geometry");
/// Collections in collections; the server's own parser stops earlier.
const MAX_DEPTH: u8 = 32;
const SRID_BYTES: usize = 4;

pub(super) fn write(bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    let mut wkb = Wkb { rest: bytes.get(SRID_BYTES..).ok_or(BAD)?, little: true };
    wkb.geometry(out, MAX_DEPTH)?;
    if wkb.rest.is_empty() { Ok(()) } else { Err(BAD) }
}

struct Wkb<'a> {
    rest: &'a [u8],
    little: bool,
}

impl Wkb<'_> {
    fn geometry(&mut self, out: &mut RowWriter, depth: u8) -> Result<(), BadValue> {
        let depth = depth.checked_sub(1).ok_or(BAD)?;
        let kind = self.header()?;
        let (name, members) = match kind {
            1 => ("Point", "coordinates"),
            2 => ("LineString", "coordinates"),
            3 => ("Polygon", "coordinates"),
            4 => ("MultiPoint", "coordinates"),
            5 => ("MultiLineString", "coordinates"),
            6 => ("MultiPolygon", "coordinates"),
            7 => ("GeometryCollection", "geometries"),
            _ => return Err(BAD),
        };
        out.begin_object();
        out.object_key("type");
        out.plain_text(name);
        out.object_key(members);
        match kind {
            7 => self.list(out, |wkb, out| wkb.geometry(out, depth))?,
            4..=6 => self.list(out, |wkb, out| {
                let part = wkb.header()?;
                if kind.checked_sub(3) == Some(part) { wkb.coordinates(part, out) } else { Err(BAD) }
            })?,
            _ => self.coordinates(kind, out)?,
        }
        out.end_object();
        Ok(())
    }

    fn coordinates(&mut self, kind: u32, out: &mut RowWriter) -> Result<(), BadValue> {
        match kind {
            1 => self.position(out),
            2 => self.list(out, Self::position),
            _ => self.list(out, |wkb, out| wkb.list(out, Self::position)),
        }
    }

    fn position(&mut self, out: &mut RowWriter) -> Result<(), BadValue> {
        out.begin_array();
        for _ in 0..2 {
            out.double(self.double()?);
        }
        out.end_array();
        Ok(())
    }

    fn list(
        &mut self,
        out: &mut RowWriter,
        mut each: impl FnMut(&mut Self, &mut RowWriter) -> Result<(), BadValue>,
    ) -> Result<(), BadValue> {
        out.begin_array();
        // A count that lies ends where the bytes do.
        for _ in 0..self.u32()? {
            each(self, out)?;
        }
        out.end_array();
        Ok(())
    }

    fn header(&mut self) -> Result<u32, BadValue> {
        let ([order], rest) = self.rest.split_first_chunk::<1>().ok_or(BAD)?;
        self.rest = rest;
        self.little = *order == 1;
        self.u32()
    }

    fn u32(&mut self) -> Result<u32, BadValue> {
        let (bytes, rest) = self.rest.split_first_chunk::<4>().ok_or(BAD)?;
        self.rest = rest;
        Ok(if self.little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
    }

    fn double(&mut self) -> Result<f64, BadValue> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(BAD)?;
        self.rest = rest;
        Ok(if self.little { f64::from_le_bytes(*bytes) } else { f64::from_be_bytes(*bytes) })
    }
}

#[cfg(test)]
mod tests {
    use crate::values::tests::written;
    use crate::wire::ColumnType::Geometry;

    fn point(x: f64, y: f64) -> Vec<u8> {
        [&[1, 1, 0, 0, 0][..], &x.to_le_bytes(), &y.to_le_bytes()].concat()
    }

    fn stored(wkb: &[u8]) -> Vec<u8> {
        [&[0xE6, 0x10, 0, 0], wkb].concat()
    }

    #[test]
    fn a_point_is_longitude_before_latitude() {
        let json = written(Geometry, 0, &stored(&point(-71.0589, 42.3601))).unwrap();
        assert_eq!(json, r#"{"type":"Point","coordinates":[-71.0589,42.3601]}"#);
    }

    #[test]
    fn collections_hold_geometries() {
        let wkb = [&[1, 7, 0, 0, 0, 1, 0, 0, 0, 1, 4, 0, 0, 0, 1, 0, 0, 0][..], &point(1.0, 2.5)].concat();
        let json = written(Geometry, 0, &stored(&wkb)).unwrap();
        assert_eq!(
            json,
            r#"{"type":"GeometryCollection","geometries":[{"type":"MultiPoint","coordinates":[[1,2.5]]}]}"#
        );
    }

    #[test]
    fn a_geometry_that_lies_is_refused() {
        let whole = stored(&point(1.0, 2.0));
        for end in 0..whole.len() {
            assert!(written(Geometry, 0, &whole[..end]).is_err(), "{end}");
        }
        let nested: Vec<u8> = [1, 7, 0, 0, 0, 1, 0, 0, 0].repeat(1_000);
        assert!(written(Geometry, 0, &stored(&nested)).is_err());
        assert!(written(Geometry, 0, &stored(&[1, 2, 0, 0, 0, 255, 255, 255, 255])).is_err());
        let part_of_no_kind = [1, 4, 0, 0, 0, 1, 0, 0, 0, 1, 255, 255, 255, 255];
        assert!(written(Geometry, 0, &stored(&part_of_no_kind)).is_err());
    }
}
