//! Everything together: real processes, real databases, faults and benchmarks.
