//! Any bytes as a journal's file: the property that the tests of the library check, too.
#![no_main]

#[path = "../../crates/tenure/tests/journal_any_bytes/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| property::survives(bytes, None));
