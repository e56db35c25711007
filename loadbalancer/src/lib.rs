//! Services and backends become frontends and slots.
