//! Filters and aggregates in process, in bounded memory, with the meaning of the SQL plans.
