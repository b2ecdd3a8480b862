//! `Journal` where calls fail.

use tenure::Durability;

use super::document::FAULTS;
use super::journal::{BASE, append_one, append_pair, append_thrice, bare, follow, torn};
use crate::op::Fault;
use crate::scenario::{Scenario, Setting};
use crate::world::power::Durability as Loss;

/// A write that stops half way, and the disk that is full.
const FULL: &[Fault] = &[Fault::NoSpace, Fault::Short];

/// The scenarios of failing calls.
pub(super) fn all() -> Vec<Scenario> {
    let twice = |setting: Setting| Setting { faults: 2, ..setting };
    vec![
        Scenario {
            name: "journal-faults",
            about: "a call fails while one process appends thrice and another once",
            hazards: "J7 J8",
            body: |ctx| match ctx.host.process {
                0 => append_thrice(ctx, Durability::Power),
                _ => append_one(ctx),
            },
            settings: vec![
                twice(Setting::of(1, 1).fault(FAULTS).power(Loss::Minimal)),
                Setting::of(2, 1).fault(&[Fault::Sync]).power(Loss::Minimal).long(),
                Setting::of(2, 1).fault(FAULTS).long(),
                Setting::of(2, 1).crashes(1).fault(&[Fault::Sync]).power(Loss::Minimal).long(),
            ],
            sometimes: &["a sync that failed", "a refusal"],
            ..BASE
        },
        Scenario {
            name: "journal-suspect",
            about: "a sync fails, and the file is left for another, while two processes append",
            hazards: "J8",
            body: append_one,
            settings: vec![
                Setting::of(1, 1).fault(&[Fault::Sync]).power(Loss::Minimal),
                Setting::of(2, 1).fault(&[Fault::Sync]).power(Loss::Minimal).long(),
            ],
            sometimes: &["a sync that failed"],
            ..BASE
        },
        Scenario {
            name: "journal-full",
            about: "the disk is full in the middle of a batch: another reads, or appends",
            hazards: "J7",
            body: |ctx| match ctx.host.process {
                0 => append_pair(ctx),
                1 => follow(ctx, 2),
                _ => append_one(ctx),
            },
            settings: vec![
                twice(Setting::of(2, 1).fault(FULL)),
                twice(Setting::of(2, 1).crashes(1).fault(FULL).power(Loss::Minimal)).long(),
                twice(Setting::of(3, 1).fault(FULL)).long(),
            ],
            sometimes: &["a refusal"],
            ..BASE
        },
        Scenario {
            name: "journal-first-faults",
            about: "a call fails in the first appends to a journal that does not exist yet",
            hazards: "J7 J8",
            setup: bare,
            body: append_one,
            settings: vec![
                Setting::of(1, 1).fault(FAULTS).power(Loss::Minimal),
                Setting::of(2, 1).fault(FAULTS),
                Setting::of(2, 1).fault(&[Fault::LostReply]),
            ],
            sometimes: &["a refusal"],
            ..BASE
        },
        Scenario {
            name: "journal-torn-faults",
            about: "a call fails while what a power loss left is moved away",
            hazards: "J2 J7",
            setup: torn,
            body: append_one,
            settings: vec![
                twice(Setting::of(1, 1).fault(FAULTS).power(Loss::Minimal)),
                Setting::of(2, 1).fault(FAULTS),
            ],
            sometimes: &["a tail", "a refusal"],
            ..BASE
        },
    ]
}
