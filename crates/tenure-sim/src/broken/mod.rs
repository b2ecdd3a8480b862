//! Protocols with one mistake each, which was made somewhere. The checker must catch every one of them.
//!
//! Each is one small file, run on the same host as the shipped protocols. `tools` holds what they have in common.

mod age_by_local_clock;
mod age_only;
mod batch;
mod batch_leader_alone_hears;
mod batch_told_early;
mod batch_unchanged_at_once;
mod break_unguarded;
mod check_then_unlink;
mod create_then_stamp;
mod directory_not_synced;
mod enoent_is_stale;
mod fence;
mod fence_after;
mod fence_lowered;
mod fence_not_synced;
mod fence_unlocked;
mod fixed_temporary;
mod flock_on_replaced;
mod flock_without_inode_check;
mod guard_excl;
mod guard_read_then_dead;
mod guard_unlinked;
mod guard_without_recheck;
mod journal;
mod journal_cut_off;
mod journal_name_not_synced;
mod journal_not_sealed;
mod journal_not_written_again;
mod journal_other_synced;
mod journal_rewritten;
mod journal_spliced;
mod journal_told_early;
mod journal_truncated;
mod journal_unlocked;
mod kept_after;
pub(crate) mod lease;
mod lease_client_clock;
mod lease_fence_two_steps;
mod lease_from_the_answer;
mod lease_new_owner;
mod lease_no_bound;
mod lease_no_deadline;
mod lease_no_margin;
mod lease_not_again;
mod lease_release_unchecked;
mod lease_renewal_unchecked;
mod lease_revived;
mod lease_row_deleted;
mod lease_two_steps;
mod lease_unclamped;
mod locks_as_given;
mod lost_link_reply;
mod never_told;
mod no_backstop;
mod no_descriptor_left;
mod other_boot_is_dead;
mod pid_without_start;
mod release_unchecked;
mod rename_before_fsync;
mod rename_over;
mod rename_without_lock;
mod renew_outside_guard;
mod save_only_lock;
mod short_write_renamed;
mod stamp_failure;
mod tools;
mod unlink_create;
mod unswept;
mod written_in_place;

use crate::scenario::Scenario;

/// All of them.
pub fn all() -> Vec<Scenario> {
    vec![
        unlink_create::scenario(),
        rename_over::scenario(),
        guard_without_recheck::scenario(),
        guard_read_then_dead::scenario(),
        guard_unlinked::scenario(),
        guard_excl::scenario(),
        create_then_stamp::scenario(),
        stamp_failure::scenario(),
        no_descriptor_left::scenario(),
        enoent_is_stale::scenario(),
        age_by_local_clock::scenario(),
        age_only::scenario(),
        pid_without_start::scenario(),
        other_boot_is_dead::scenario(),
        release_unchecked::scenario(),
        check_then_unlink::scenario(),
        break_unguarded::scenario(),
        lost_link_reply::scenario(),
        renew_outside_guard::scenario(),
        never_told::scenario(),
        save_only_lock::scenario(),
        rename_without_lock::scenario(),
        flock_on_replaced::scenario(),
        written_in_place::scenario(),
        short_write_renamed::scenario(),
        fixed_temporary::scenario(),
        directory_not_synced::scenario(),
        rename_before_fsync::scenario(),
        unswept::scenario(),
        kept_after::scenario(),
        locks_as_given::scenario(),
        fence_unlocked::scenario(),
        fence_after::scenario(),
        fence_not_synced::scenario(),
        fence_lowered::scenario(),
        batch_told_early::scenario(),
        batch_leader_alone_hears::scenario(),
        batch_unchanged_at_once::scenario(),
        journal_unlocked::scenario(),
        journal_not_sealed::scenario(),
        journal_rewritten::scenario(),
        journal_truncated::scenario(),
        journal_cut_off::scenario(),
        journal_other_synced::scenario(),
        journal_spliced::scenario(),
        journal_told_early::scenario(),
        journal_name_not_synced::scenario(),
        journal_not_written_again::scenario(),
        flock_without_inode_check::scenario(),
        no_backstop::scenario(),
        lease_two_steps::scenario(),
        lease_from_the_answer::scenario(),
        lease_no_margin::scenario(),
        lease_no_deadline::scenario(),
        lease_revived::scenario(),
        lease_new_owner::scenario(),
        lease_not_again::scenario(),
        lease_client_clock::scenario(),
        lease_row_deleted::scenario(),
        lease_renewal_unchecked::scenario(),
        lease_release_unchecked::scenario(),
        lease_unclamped::scenario(),
        lease_no_bound::scenario(),
        lease_fence_two_steps::scenario(),
    ]
}
