//! What jobs ask for: the types of the runner's own parsers, already validated by them.

pub use protocol::{
    Accuracy, AggregateOptions, Bucket, CalendarUnit, Comparison, CountOptions, Dimension, Direction, Filter,
    GeoColumns, Join, Keyset, Measure, MeasureKind, Metric, Number, OrderBy, Projection, QueryOptions,
    ReadOptions, SCORE, Scalar, SearchMethod, SearchOptions, SimilarOptions, SimilarTo, SortKey, Test,
    TextMatch, Timestamp, Where,
};
