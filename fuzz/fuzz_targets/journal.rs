//! Any bytes as a journal's file: the property that the tests of the library check, too.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

#[path = "../../crates/tenure/tests/journal_any_bytes/property.rs"]
mod property;

fuzz_target!(|bytes: &[u8]| {
    property::survives(bytes, None);
    property::files_survive(bytes);
});

// Without right sums hardly a mutation would come past them: three in four get them.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if !seed.is_multiple_of(4) {
        mend_sums(&mut data[..size]);
    }
    size
});

/// Gives each header and each record that has room for one its right sum.
fn mend_sums(journal: &mut [u8]) {
    let mut seed = 0;
    for line in journal.split_mut(|byte| *byte == b'\n') {
        if line.starts_with(property::HEADER) {
            let Some(at) = line.len().checked_sub(8).filter(|at| line[at - 1] == b' ') else { continue };
            let sum = crc32c::crc32c(&line[..at - 1]);
            line[at..].copy_from_slice(format!("{sum:08x}").as_bytes());
            // A header without a number is none, and whatever its records' sums are, nobody reads them.
            let number = line.split(|byte| *byte == b' ').nth(3).unwrap_or_default();
            let number =
                std::str::from_utf8(number).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
            seed = crc32c::crc32c(&number.unwrap_or_default().to_be_bytes());
        } else if line.len() > 9 {
            let sum = crc32c::crc32c_append(seed, &line[9..]);
            line[..8].copy_from_slice(format!("{sum:08x}").as_bytes());
            line[8] = b' ';
        }
    }
}
