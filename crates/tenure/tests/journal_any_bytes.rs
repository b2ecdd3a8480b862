//! Whatever stands in a journal's file, nothing panics or hangs, no record is given out that was not appended, none before the
//! first damage is lost, and after a repair there is no damage.
//!
//! The property is in `journal_any_bytes/property.rs`; the fuzz target in `fuzz/` runs the same one.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::allow_attributes,
    missing_docs,
    reason = "tests look at the real system"
)]

#[path = "journal_any_bytes/property.rs"]
mod property;

use property::{Original, files_survive, original, rotated, survives};
use proptest::prelude::*;

/// What is done to a sound journal.
#[derive(Clone, Debug)]
enum Mutation {
    Flip {
        at: prop::sample::Index,
        bit: u8,
    },
    Cut {
        at: prop::sample::Index,
    },
    Remove {
        at: prop::sample::Index,
        bytes: usize,
    },
    Zero {
        at: prop::sample::Index,
        bytes: usize,
    },
    Insert {
        at: prop::sample::Index,
        bytes: Vec<u8>,
    },
    /// Copies lines to another place.
    CopyLines {
        from: prop::sample::Index,
        lines: usize,
        to: prop::sample::Index,
    },
    SwapLines {
        one: prop::sample::Index,
        other: prop::sample::Index,
    },
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let size = bytes.len() + 1;
        match self {
            Mutation::Flip { at, bit } => {
                let at = at.index(size);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Mutation::Cut { at } => bytes.truncate(at.index(size)),
            Mutation::Remove { at, bytes: count } => {
                let at = at.index(size);
                bytes.drain(at..(at + count).min(size - 1));
            }
            Mutation::Zero { at, bytes: count } => {
                let at = at.index(size);
                bytes[at..(at + count).min(size - 1)].fill(0);
            }
            Mutation::Insert { at, bytes: more } => {
                let at = at.index(size);
                bytes.splice(at..at, more.iter().copied());
            }
            Mutation::CopyLines { from, lines, to } => Mutation::on_lines(bytes, |list| {
                let (from, to) = (from.index(list.len()), to.index(list.len()));
                let copy = list[from..(from + lines).min(list.len())].to_vec();
                list.splice(to..to, copy);
            }),
            Mutation::SwapLines { one, other } => Mutation::on_lines(bytes, |list| {
                let (one, other) = (one.index(list.len()), other.index(list.len()));
                list.swap(one, other);
            }),
        }
    }

    fn on_lines(bytes: &mut Vec<u8>, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let mut lines: Vec<Vec<u8>> =
            bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if !lines.is_empty() {
            change(&mut lines);
        }
        *bytes = lines.concat();
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || any::<prop::sample::Index>();
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        at().prop_map(|at| Mutation::Cut { at }),
        (at(), 1..200_usize).prop_map(|(at, bytes)| Mutation::Remove { at, bytes }),
        (at(), 1..200_usize).prop_map(|(at, bytes)| Mutation::Zero { at, bytes }),
        (at(), prop::collection::vec(any::<u8>(), 1..50))
            .prop_map(|(at, bytes)| Mutation::Insert { at, bytes }),
        (at(), 1..4_usize, at()).prop_map(|(from, lines, to)| Mutation::CopyLines { from, lines, to }),
        (at(), at()).prop_map(|(one, other)| Mutation::SwapLines { one, other }),
    ]
}

/// Batches, of which some have a stamp.
fn batches() -> impl Strategy<Value = Vec<(Vec<Vec<u8>>, bool)>> {
    let record = prop_oneof![
        4 => "[a-z\\\\\n]{0,12}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..30),
    ];
    prop::collection::vec((prop::collection::vec(record, 1..4), any::<bool>()), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        survives(&bytes, None);
    }

    #[test]
    fn a_mutated_journal_is_survived(
        batches in batches(),
        mutations in prop::collection::vec(mutation(), 0..4),
        is_power: bool,
    ) {
        let Original { mut bytes, records } = original(&batches, is_power);
        let sound = bytes.clone();
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        survives(&bytes, Some((&sound, &records)));
    }

    #[test]
    fn a_mutated_rotated_journal_is_survived(
        batches in batches(),
        mutations in prop::collection::vec(mutation(), 0..4),
    ) {
        let mut bytes = rotated(&batches);
        mutations.iter().for_each(|mutation| mutation.apply(&mut bytes));
        files_survive(&bytes);
    }
}

/// Whoever reads from the beginning would take what follows for damage, and whoever begins behind it for a tail.
#[test]
fn no_record_says_that_it_was_synced_itself_or_what_follows() {
    let header = "# tenure-journal 1 4f1c9a2be07d5533 1 1 8dc3f6f1\n";
    survives(format!("{header}0aa50839 1 1/1 3 one\nno record\n").as_bytes(), None);
}

/// The reader found it damaged, and a repair found nothing to take out.
#[test]
fn a_record_of_a_later_file_among_earlier_ones_can_be_repaired() {
    files_survive(
        b"# tenure-journal 1 4f1c9a2be07d5533 1 1 8dc3f6f1\n\
          3d4c873a 2 1/2 1 b\n\
          dac15a6d 1 1/1 0 a\n\
          # tenure-journal 1 4f1c9a2be07d5533 1 2 9e930505\n\
          3d4c873a 2 1/2 1 b\n\
          831ca729 3 2/2 1 c\n",
    );
}

/// Nobody says that it was synced, so the next append moves it away; whoever came from the file before went past its flaw.
#[test]
fn nobody_reads_behind_a_torn_beginning_of_a_file() {
    files_survive(
        b"# tenure-journal 1 4f1c9a2be07d5533 1 1 8dc3f6f1\n\
          dac15a6d 1 1/1 0 a\n\
          # tenure-journal 1 4f1c9a2be07d5533 1 2 9e930505\n\
          no record\n\
          757f37ce 2 1/1 1 b\n",
    );
}

/// As when the present file was put back from an old copy.
#[test]
fn files_in_the_wrong_order_are_counted() {
    files_survive(
        b"# tenure-journal 1 4f1c9a2be07d5533 1 1 8dc3f6f1\n\
          757f37ce 2 1/1 1 b\n\
          # tenure-journal 1 4f1c9a2be07d5533 1 5 4a5961ee\n\
          # tenure-journal 1 4f1c9a2be07d5533 1 1 8dc3f6f1\n\
          dac15a6d 1 1/1 0 a\n",
    );
}

/// The first file was left when a sync of it had failed, and what came next was damaged and taken out.
#[test]
fn the_torn_end_of_a_file_that_was_left_is_no_damage() {
    files_survive(
        b"# tenure-journal 1 4f1c9a2be07d5533 1 1 8dc3f6f1\n\
          dac15a6d 1 1/1 0 a\n\
          d03ea5b0 2 1/1 0 b\n\
          torn\n\
          # tenure-journal 1 4f1c9a2be07d5533 1 2 9e930505\n\
          no record\n\
          # tenure-journal 1 4f1c9a2be07d5533 1 4 b832e2ed\n\
          2fef9a79 4 1/1 3 d\n",
    );
}

/// Record 3 of the file that was left is not the one of the next file: whoever has read it hears so.
#[test]
fn a_record_that_was_replaced_is_not_taken_for_another() {
    files_survive(
        b"# tenure-journal 1 4f1c9a2be07d5533 1 1 8dc3f6f1\n\
          dac15a6d 1 1/1 0 a\n\
          d03ea5b0 2 1/1 0 b\n\
          d66bf0fb 3 1/1 0 c\n\
          # tenure-journal 1 4f1c9a2be07d5533 1 2 9e930505\n\
          torn\n\
          57d6c3c2 3 2/2 1 d\n",
    );
}
