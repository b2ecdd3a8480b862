//! The contract, on every store: each function is a test of a store that nobody has used before.

macro_rules! on_each_store {
    ($($module:ident: $($name:ident)*;)*) => {
        mod sqlite {
            use crate::place::Place;
            $($(
                #[test]
                fn $name() {
                    crate::$module::$name(&Place::sqlite());
                }
            )*)*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            use crate::place::Place;
            $($(
                #[test]
                fn $name() {
                    crate::$module::$name(&Place::postgres());
                }
            )*)*
        }
    };
}

on_each_store! {
    holding:
        one_holder_at_a_time
        a_refusal_says_who_since_when_and_until_when
        names_that_differ_are_different_leases
        what_no_store_could_keep_is_refused
        tokens_grow_whatever_ends_a_lease
        an_owner_that_asks_again_has_it_already
        only_the_owner_with_its_token_renews_and_releases
        a_lease_ends_with_its_time_and_not_before
        the_keeper_renews_beyond_the_time_to_live
        what_is_dropped_is_released
        at_least_keeps_it_from_others
        at_most_ends_it
        at_most_ends_it_whoever_renews
        the_list_shows_every_name
        threads_get_in_one_by_one
        a_forked_child_neither_holds_nor_releases
        a_forked_child_tells_of_no_loss;
    losing:
        who_is_robbed_is_told_by_every_way_once
        who_is_told_may_ask_the_lease
        a_future_that_is_dropped_leaves_nothing_behind
        the_keeper_hears_of_it_by_itself
        a_store_that_does_not_answer_costs_the_lease
        a_store_that_hangs_costs_it_too
        nobody_waits_for_a_renewal_that_hangs
        who_is_told_may_use_and_drop_the_lease
        a_reason_is_shown_without_what_moves_a_terminal
        a_store_that_is_away_for_a_moment_costs_nothing
        a_grant_whose_answer_was_lost_is_given_back
        a_release_that_fails_leaves_the_rest_to_time
        a_stop_of_the_process_is_noticed;
    handles:
        a_handle_outlives_its_lease
        a_handle_of_a_lost_lease_says_so
        a_handle_is_released_and_resumed_by_anyone
        a_detached_lease_ends_with_its_time;
    waiting:
        a_release_wakes_who_waits
        a_wait_ends_when_its_caller_says
        a_wait_can_be_cancelled
        who_waits_is_told_for_whom
        a_store_that_is_away_does_not_end_a_wait
        many_waiters_all_get_their_turn;
    opening:
        many_open_a_store_that_is_not_there_yet;
}
