use proptest::prelude::*;

use super::random_text::any_document;
use super::random_value::any_value;
use super::*;
use crate::document::difference::difference;

/// The text with the edit that leads to the target.
pub(super) fn edited(text: &str, target: &Value) -> String {
    let file = parse(text).unwrap();
    difference(&file, target).map_or_else(|| text.to_owned(), |found| edit(text, &found, target).unwrap())
}

/// The numbers of the comments in a text, in their order.
pub(super) fn comments(text: &str) -> Vec<&str> {
    let numbered = text.match_indices("# c").map(|(at, _)| {
        let rest = &text[at + 3..];
        &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())]
    });
    numbered.filter(|number| !number.is_empty()).collect()
}

pub(super) fn is_subsequence<T: PartialEq>(
    few: impl IntoIterator<Item = T>,
    many: impl IntoIterator<Item = T>,
) -> bool {
    let mut many = many.into_iter();
    few.into_iter().all(|one| many.any(|other| one == other))
}

/// Something like the value: it, with a few places replaced, removed or added.
fn mutated(value: &Value, others: &[Value], seed: &mut impl Iterator<Item = u8>) -> Value {
    let choice = seed.next().unwrap_or(0);
    let other = |choice: u8| others[usize::from(choice) % others.len()].clone();
    match value {
        _ if choice % 16 == 1 => other(choice / 16),
        Value::Array(items) => {
            let mut made = Vec::new();
            for item in items {
                match seed.next().unwrap_or(0) % 12 {
                    0 => {}
                    1 => made.extend([other(choice), item.clone()]),
                    _ => made.push(mutated(item, others, seed)),
                }
            }
            if choice % 5 == 2 {
                made.push(other(choice / 5));
            }
            Value::Array(made)
        }
        Value::Object(fields) => {
            let mut made = crate::document::Fields::new();
            for (key, value) in fields {
                if seed.next().unwrap_or(0) >= 32 {
                    made.insert(key.clone(), mutated(value, others, seed));
                }
            }
            if choice % 3 == 2 {
                made.insert("new".to_owned(), other(choice / 3));
            }
            Value::Object(made)
        }
        _ if choice % 4 == 2 => other(choice / 4),
        scalar => scalar.clone(),
    }
}

proptest! {
    #[test]
    fn a_document_reads_as_what_was_written((text, value) in any_document()) {
        prop_assume!(!text.trim_start_matches('\u{feff}').trim().is_empty());
        let read = parse(&text);
        prop_assert_eq!(read.as_ref(), Ok(&value), "{}", text);
        prop_assert_eq!(super::read(&text), Ok(value));
    }

    #[test]
    fn a_new_document_reads_as_its_value(value in any_value()) {
        let text = fresh(&value).unwrap();
        prop_assert!(text.ends_with('\n'));
        prop_assert_eq!(parse(&text), Ok(value), "{}", text);
    }

    #[test]
    fn an_edit_leads_to_its_target(
        (text, value) in any_document(),
        others in prop::collection::vec(any_value(), 1..4),
        seed in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        prop_assume!(!text.trim_start_matches('\u{feff}').trim().is_empty());
        let target = mutated(&value, &others, &mut seed.into_iter());
        let edited = edited(&text, &target);
        prop_assert_eq!(parse(&edited), Ok(target.clone()), "{}\n=>\n{}\n", text, edited);
        prop_assert!(is_subsequence(comments(&edited), comments(&text)), "{}\n=>\n{}\n", text, edited);
        if value == target {
            prop_assert_eq!(text, edited);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "([ab:#\\-?,'\"\\[\\]{}\n\r\t.0-1&*!|>%~é\u{feff}]| |\n  |: |- ){0,30}", target in any_value()) {
        let _ = super::read(&text);
        let Ok(value) = parse(&text) else { return Ok(()) };
        if let Some(found) = difference(&value, &target) {
            let edited = edit(&text, &found, &target).unwrap();
            prop_assert_eq!(parse(&edited), Ok(target.clone()), "{:?} => {:?}", text, edited);
        }
    }
}
