//! Any bytes as a document, and edits of it: the property that the tests of the library check, too.
//!
//! The first byte chooses the format, the next sixteen the edits.
#![no_main]

#[path = "../../crates/tenure/tests/document_any_bytes/property.rs"]
mod property;

use tenure::document::Format;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(([format, choices @ ..], text)) = bytes.split_first_chunk::<17>() else { return };
    let format = [Format::Json, Format::Jsonc, Format::Toml, Format::Yaml][usize::from(format % 4)];
    property::survives(format, text, choices);
});
