//! When a command that runs under a lease is asked to end, and when it is killed. Pure.

use std::time::Duration;

use tenure::Moment;

/// How much earlier than the deadline the command is killed, since a process takes its time to end. Half the grace if that is
/// less.
const LEAD: Duration = Duration::from_millis(50);

/// What is known of the lease, and what was done about it.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    grace: Duration,
    /// The end of the lease, by its holder's count.
    deadline: Moment,
    /// When the command was asked to end.
    asked: Option<Moment>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this moment.
    Wait(Moment),
    /// Ask the command to end (SIGTERM).
    Ask,
    /// Kill it.
    Kill,
}

impl Schedule {
    pub(super) fn new(grace: Duration, deadline: Moment) -> Schedule {
        Schedule { grace, deadline, asked: None }
    }

    /// The lease was renewed. That comes too late for a command which was asked to end.
    pub(super) fn renewed(&mut self, deadline: Moment) {
        if self.asked.is_none() {
            self.deadline = deadline;
        }
    }

    /// The command was asked to end.
    pub(super) fn asked(&mut self, now: Moment) {
        self.asked.get_or_insert(now);
    }

    pub(super) fn was_asked(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn deadline(&self) -> Moment {
        self.deadline
    }

    pub(super) fn step(&self, now: Moment) -> Step {
        let (at, step) = match self.asked {
            None => (before(self.deadline, self.grace), Step::Ask),
            Some(asked) => {
                (before(self.deadline, LEAD.min(self.grace / 2)).min(asked + self.grace), Step::Kill)
            }
        };
        if now < at { Step::Wait(at) } else { step }
    }
}

fn before(moment: Moment, time: Duration) -> Moment {
    Moment::from_clock(moment.since_zero().saturating_sub(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_clock(Duration::from_millis(milliseconds))
    }

    const GRACE: Duration = Duration::from_secs(5);

    #[test]
    fn a_command_is_asked_a_grace_before_the_end_and_killed_just_before_it() {
        let mut schedule = Schedule::new(GRACE, at(30_000));
        assert_eq!(schedule.step(at(0)), Step::Wait(at(25_000)));
        schedule.renewed(at(40_000));
        assert_eq!(schedule.step(at(34_999)), Step::Wait(at(35_000)));
        assert_eq!(schedule.step(at(35_000)), Step::Ask);
        schedule.asked(at(35_000));
        schedule.renewed(at(50_000));
        assert_eq!(schedule.step(at(35_000)), Step::Wait(at(39_950)), "a renewal comes too late by then");
        assert_eq!(schedule.step(at(39_950)), Step::Kill);
    }

    #[test]
    fn a_lease_that_is_lost_early_leaves_the_grace_and_no_more() {
        let mut schedule = Schedule::new(GRACE, at(30_000));
        schedule.asked(at(1000));
        assert_eq!(schedule.step(at(1000)), Step::Wait(at(6000)));
        let mut schedule = Schedule::new(GRACE, at(30_000));
        schedule.asked(at(28_000));
        assert_eq!(schedule.step(at(28_000)), Step::Wait(at(29_950)), "the deadline is the latest");
    }

    #[test]
    fn after_a_sleep_of_the_machine_nothing_is_waited_for() {
        let mut schedule = Schedule::new(GRACE, at(30_000));
        assert_eq!(schedule.step(at(90_000)), Step::Ask);
        schedule.asked(at(90_000));
        assert_eq!(schedule.step(at(90_000)), Step::Kill);
        let mut hasty = Schedule::new(Duration::ZERO, at(30_000));
        assert_eq!(hasty.step(at(29_999)), Step::Wait(at(30_000)));
        hasty.asked(at(30_000));
        assert_eq!(hasty.step(at(30_000)), Step::Kill);
    }
}
