//! Group keys: raw values, calendar and numeric buckets, cells.

use protocol::{Bucket, Dimension, GeoColumns, Invalid};

use super::Decode;
use super::rows::Rows;
use crate::conform::is_compared_as_text;
use crate::dialect::Cell;
use crate::filter::Place;
use crate::select::Conditions;
use crate::{Column, Dialect, Kind, SqlError, SqlText};

/// A dimension, ready to be written.
pub(crate) struct DimensionPlan<'a> {
    pub(crate) dimension: &'a Dimension,
    pub(crate) decode: Decode,
    key: Key<'a>,
}

#[expect(clippy::large_enum_variant, reason = "a statement has a few of them, and none is moved often")]
enum Key<'a> {
    Raw(Place<'a>),
    /// The instant of the column, and the text of its bucket.
    Calendar(Place<'a>, &'static str, &'static str),
    Step(Place<'a>, f64),
    Breaks(Place<'a>, &'a [f64]),
    Cell {
        cell: Cell,
        precision: u8,
        at: Coordinates<'a>,
    },
}

enum Coordinates<'a> {
    LatLng(Place<'a>, Place<'a>),
    /// A point, and how latitude and longitude are taken from it.
    Point(Place<'a>, &'static str, &'static str),
}

impl<'a> DimensionPlan<'a> {
    pub(crate) fn new(
        dialect: &Dialect,
        rows: &Rows<'a>,
        dimension: &'a Dimension,
    ) -> Result<Self, SqlError> {
        let column = |name: &'a str| rows.column(name, dimension.from.as_deref());
        let field =
            || column(&dimension.field).map_err(|error| Invalid { field: "field".to_owned(), ..error });
        let (key, decode) = match &dimension.bucket {
            None => {
                let place = field()?;
                let decode = raw_decode(&place.column);
                (Key::Raw(place), decode)
            }
            Some(Bucket::Calendar(unit)) => {
                let place = field()?;
                let instant = (dialect.aggregates.instant)(place.column.kind)
                    .ok_or_else(|| Invalid::new("field", "a column of dates or timestamps"))?;
                (Key::Calendar(place, instant, (dialect.aggregates.calendar)(*unit)), Decode::Text)
            }
            Some(Bucket::Step(step)) => (Key::Step(numeric(dialect, field()?)?, *step), Decode::Step(*step)),
            Some(Bucket::Breaks(breaks)) => {
                (Key::Breaks(numeric(dialect, field()?)?, breaks), Decode::Breaks(breaks.clone()))
            }
            Some(Bucket::Geohash { precision, columns }) => {
                let cell = dialect.aggregates.geohash.ok_or_else(|| {
                    dialect.unsupported("a geohash bucket (the dialect does not implement geohashExpr)")
                })?;
                (Key::cell(dialect, cell, *precision, columns, column)?, Decode::Text)
            }
            Some(Bucket::H3 { resolution, columns }) => {
                let cell = dialect.aggregates.h3.ok_or_else(|| {
                    dialect.unsupported("an h3 bucket (the dialect does not implement h3Expr)")
                })?;
                (Key::cell(dialect, cell, *resolution, columns, column)?, Decode::Text)
            }
        };
        Ok(Self { dimension, decode, key })
    }

    /// Whether the bucket can be null although its columns are not: text that is no date, an infinite one.
    pub(crate) fn may_fail_to_null(&self) -> bool {
        matches!(self.key, Key::Calendar(..))
    }

    /// Writes the key of a row.
    pub(crate) fn write(&self, sql: &mut SqlText<'_>) {
        match &self.key {
            Key::Raw(place) => place.write_comparable(sql),
            Key::Calendar(place, instant, bucket) => {
                sql.template(bucket, |sql, _| {
                    sql.template(instant, |sql, _| place.write(sql));
                });
            }
            Key::Step(place, step) => {
                let floor = sql.dialect().aggregates.floor;
                sql.template(floor, |sql, _| {
                    write_double(sql, place);
                    sql.syntax(" / ").number(*step);
                });
            }
            Key::Breaks(place, breaks) => write_interval(sql, place, breaks),
            Key::Cell { cell, precision, at } => {
                sql.template(cell.cell, |sql, hole| match hole {
                    1 => at.write_lat(sql),
                    2 => at.write_lng(sql),
                    _ => {
                        sql.whole(u64::from(*precision));
                    }
                });
            }
        }
    }

    /// Writes what a row must have to have the key: values, and within the bounds.
    pub(crate) fn write_conditions(&self, sql: &mut SqlText<'_>, conditions: &mut Conditions) {
        for place in self.key.places() {
            conditions.begin(sql);
            place.write(sql);
            sql.syntax(" IS NOT NULL");
            conditions.end(sql);
        }
        match &self.key {
            Key::Breaks(place, [first, .., last]) => {
                conditions.begin(sql);
                write_double(sql, place);
                sql.syntax(" >= ").number(*first).syntax(" AND ");
                write_double(sql, place);
                sql.syntax(" < ").number(*last);
                conditions.end(sql);
            }
            // Steps do not reach what is infinite or no number.
            Key::Step(place, _) if can_be_infinite(sql.dialect(), place.column.kind) => {
                conditions.begin(sql);
                write_double(sql, place);
                sql.syntax(" BETWEEN ").number(f64::MIN).syntax(" AND ").number(f64::MAX);
                conditions.end(sql);
            }
            // There are no cells off the globe.
            Key::Cell { at: Coordinates::LatLng(lat, lng), .. } => {
                for (place, bound) in [(lat, 90.0), (lng, 180.0)] {
                    conditions.begin(sql);
                    write_double(sql, place);
                    sql.syntax(" BETWEEN ").number(-bound).syntax(" AND ").number(bound);
                    conditions.end(sql);
                }
            }
            Key::Raw(_) | Key::Calendar(..) | Key::Step(..) | Key::Breaks(..) | Key::Cell { .. } => {}
        }
    }
}

impl<'a> Key<'a> {
    fn cell(
        dialect: &Dialect,
        cell: Cell,
        precision: u8,
        columns: &'a GeoColumns,
        column: impl Fn(&'a str) -> Result<Place<'a>, Invalid>,
    ) -> Result<Self, SqlError> {
        let named = |name: &'a str, field: &str| {
            column(name).map_err(|error| Invalid { field: format!("bucket.{field}"), ..error })
        };
        let at = match columns {
            GeoColumns::LatLng { lat, lng } => {
                Coordinates::LatLng(named(lat, "latField")?, named(lng, "lngField")?)
            }
            GeoColumns::Point(point) => {
                let (lat, lng) = cell
                    .point
                    .ok_or_else(|| dialect.unsupported("a point column (cannot decode \"geoField\")"))?;
                Coordinates::Point(named(point, "geoField")?, lat, lng)
            }
        };
        Ok(Self::Cell { cell, precision, at })
    }

    /// The columns that the key is made of.
    fn places(&self) -> Vec<&Place<'a>> {
        match self {
            Self::Raw(place) | Self::Calendar(place, ..) | Self::Step(place, _) | Self::Breaks(place, _) => {
                vec![place]
            }
            Self::Cell { at: Coordinates::LatLng(lat, lng), .. } => vec![lat, lng],
            Self::Cell { at: Coordinates::Point(point, ..), .. } => vec![point],
        }
    }
}

impl Coordinates<'_> {
    fn write_lat(&self, sql: &mut SqlText<'_>) {
        match self {
            Self::LatLng(lat, _) => lat.write(sql),
            Self::Point(point, lat, _) => {
                sql.template(lat, |sql, _| point.write(sql));
            }
        }
    }

    fn write_lng(&self, sql: &mut SqlText<'_>) {
        match self {
            Self::LatLng(_, lng) => lng.write(sql),
            Self::Point(point, _, lng) => {
                sql.template(lng, |sql, _| point.write(sql));
            }
        }
    }
}

/// Values without an order of their own are grouped by the engine's text of them.
fn raw_decode(column: &Column) -> Decode {
    if is_compared_as_text(column) { Decode::Text } else { Decode::Native(column.kind) }
}

fn numeric<'a>(dialect: &Dialect, place: Place<'a>) -> Result<Place<'a>, Invalid> {
    if is_numeric(dialect, place.column.kind) {
        return Ok(place);
    }
    Err(Invalid::new("field", "a column of numbers"))
}

/// Whether values of this kind are numbers, or may be where columns hold what they like.
pub(crate) fn is_numeric(dialect: &Dialect, kind: Kind) -> bool {
    kind.is_numeric()
        || kind == Kind::Unknown
        || (kind == Kind::Boolean && dialect.booleans_are_integers)
        || (dialect.dates_are_text && matches!(kind, Kind::Text | Kind::Other))
}

fn can_be_infinite(dialect: &Dialect, kind: Kind) -> bool {
    dialect.infinities && matches!(kind, Kind::Float { .. } | Kind::Decimal | Kind::Unknown)
}

pub(crate) fn write_double(sql: &mut SqlText<'_>, place: &Place<'_>) {
    let double = sql.dialect().aggregates.double;
    sql.template(double, |sql, _| place.write(sql));
}

/// The number of the interval, from 0: how many inner bounds the value has reached.
fn write_interval(sql: &mut SqlText<'_>, place: &Place<'_>, breaks: &[f64]) {
    let inner = breaks.get(1..breaks.len().saturating_sub(1)).unwrap_or_default();
    if inner.is_empty() {
        sql.syntax("0");
        return;
    }
    sql.syntax("CASE");
    for (number, bound) in inner.iter().enumerate() {
        sql.syntax(" WHEN ");
        write_double(sql, place);
        sql.syntax(" < ").number(*bound).syntax(" THEN ").whole(u64::try_from(number).unwrap_or(u64::MAX));
    }
    sql.syntax(" ELSE ").whole(u64::try_from(inner.len()).unwrap_or(u64::MAX)).syntax(" END");
}
