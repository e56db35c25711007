//! JSON as Go's `encoding/json` reads and writes it.
//!
//! Why not serde_json: Go matches field names in any case, lets the last of a repeated field win,
//! takes `null` as "leave it", and escapes `<`, `>`, `&`, U+2028 and U+2029. Each of these decides
//! whether a peer's value is accepted, or whether two writers agree on the bytes.

mod reader;
mod writer;

pub(crate) use reader::{Reader, field_name, next_field_name, parse};
pub(crate) use writer::Writer;
