//! One translator from filters, orders and aggregates to the SQL of every dialect. Pure.
