//! Tests the compile without an API server.

mod limits;
mod overrides;
