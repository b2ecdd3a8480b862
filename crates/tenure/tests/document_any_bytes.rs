//! Whatever stands in a document's file, nothing panics, an edit leads to exactly its target or is clearly refused, and the way
//! back leads to what was there.
//!
//! The property is in `document_any_bytes/property.rs`; the fuzz target in `fuzz/` runs the same one.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::allow_attributes,
    missing_docs,
    reason = "tests look at the real system"
)]

#[path = "document_any_bytes/property.rs"]
mod property;

use property::survives;
use proptest::prelude::*;
use tenure::document::Format;

/// Pieces that documents are made of, in any order.
fn text(pieces: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces.split('·').collect::<Vec<_>>()), 0..24)
        .prop_map(|pieces| pieces.concat())
}

fn check(format: Format, text: &str, choices: &[u8]) {
    survives(format, text.as_bytes(), choices);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, choices: [u8; 16]) {
        for format in [Format::Json, Format::Jsonc, Format::Toml, Format::Yaml] {
            survives(format, &bytes, &choices);
        }
    }

    #[test]
    fn json_is_survived(text in text("{·}·[·]·,·:·\"a\"·\"b\": ·1·-0.5e3·null·true·{\"c\": [1, 2]}·\n·  "), choices: [u8; 16]) {
        check(Format::Json, &text, &choices);
        check(Format::Jsonc, &text, &choices);
    }

    #[test]
    fn toml_is_survived(
        text in text("a = 1\n·b = [1, 2]\n·c.d = {x = 1}\n·[t]\n·[t.u]\n·[[v]]\n·[[v.w]]\n·# c\n·\n·e = \"\"\"\nx\"\"\"\n·f = 1979-05-27\n·\r\n"),
        choices: [u8; 16],
    ) {
        check(Format::Toml, &text, &choices);
    }

    #[test]
    fn yaml_is_survived(text in text("a:·b:·- ·? ·: · ·  ·\n·\n  ·1·'x'·[·]·{·}·, ·|\n·>-\n·# c\n·---\n·...\n·&a ·*a·!!str ·\r\n"), choices: [u8; 16]) {
        check(Format::Yaml, &text, &choices);
    }
}
