//! Random programs of threads: their queues are scheduling points like calls, and what they tell a part of its history.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tenure::host::{Answer, Draft, FileId, Host, Mode, Outcome, Site, Standing, Ticket, Wishes};
use tenure_sim::host::Sim;
use tenure_sim::scenario::Setting;
use tenure_sim::world::World;

use super::{Kind, Numbers, Step, compare_all};

/// Where a thread stands in the queues that it shares with others: of a document, and for a lock. It does only what may be
/// done there.
#[derive(Default)]
pub(super) struct Queued {
    joined: bool,
    leads: bool,
    ticket: Option<Ticket>,
}

/// How many kinds of steps [`Queued`] has.
const QUEUE_STEPS: usize = 11;

impl Queued {
    pub(super) fn step(&mut self, host: Sim, waker: &Waker, what: usize) {
        let site = Site { directory: FileId { device: 1, inode: 1 }, name: "n".into() };
        let (lock, thread) = (FileId { device: 1, inode: 2 }, host.thread());
        let content = |text: &str| Some(Arc::new(text.as_bytes().to_vec()));
        let wake = |wakers: Vec<Waker>| wakers.into_iter().for_each(Waker::wake);
        match what {
            0..3 if !self.joined => {
                self.leads = host.local(|local| local.join(&site, thread, thread == 1)) == Ok(true);
                self.joined = true;
            }
            3..5 if self.joined => match host.local(|local| local.standing(&site, thread, waker)) {
                Standing::Turn(draft) => {
                    let answer = match draft.unwritten {
                        true => Answer::Failed,
                        false => Answer::Changed(content("changed").unwrap(), Wishes::default()),
                    };
                    wake(
                        host.local(|local| local.answer(&site, thread, answer, waker)).into_iter().collect(),
                    );
                }
                Standing::Told(_) => (self.joined, self.leads) = (false, false),
                Standing::Leads | Standing::Collected(_) => self.leads = true,
                Standing::Waits | Standing::Answered => self.leads = false,
            },
            5 if self.leads => {
                let draft = Draft {
                    content: content("as it was"),
                    unwritten: false,
                    sync: false,
                    wishes: Wishes::default(),
                };
                let handed = host.local(|local| local.hand_on(&site, thread, lock, draft, waker));
                wake(handed.into_iter().flatten().collect());
            }
            6 if self.leads => {
                let (next, left) = host.local(|local| local.pass_on(&site, thread));
                wake(next.into_iter().collect());
                (self.joined, self.leads) = (!left, false);
            }
            7 if self.leads => {
                let outcome: Arc<dyn Outcome> = Arc::new(thread);
                wake(host.local(|local| local.tell(&site, thread, &outcome)));
                (self.joined, self.leads) = (false, false);
            }
            8 if self.joined && host.local(|local| local.give_up(&site, thread)) => {
                (self.joined, self.leads) = (false, false);
            }
            9 if self.joined => {
                wake(host.local(|local| local.quit(&site, thread)));
                (self.joined, self.leads) = (false, false);
            }
            10 => match self.ticket.take() {
                Some(ticket) => wake(host.local(|local| local.leave(lock, ticket))),
                None => {
                    let entered = host.local(|local| local.enter(lock, thread, Mode::Exclusive));
                    self.ticket = entered.ok().map(|(ticket, _)| ticket);
                }
            },
            _ => {}
        }
    }
}

/// Programs of threads, which use little but what they share. The last may be a process of its own.
pub(super) fn programs(seed: u64) -> (Vec<Vec<Step>>, Setting, bool) {
    let mut numbers = Numbers(seed);
    let count = if numbers.is(3) { 3 } else { 2 };
    let programs = (0..count).map(|_| {
        let steps = 2 + numbers.below(if count == 3 { 2 } else { 5 });
        let mut program = vec![Step::Queue(0)];
        program.extend((0..steps).map(|_| match numbers.below(8) {
            0 => Step::Wait(true),
            1 => numbers.step(count, false),
            _ => Step::Queue(numbers.below(QUEUE_STEPS)),
        }));
        program
    });
    let programs = programs.collect();
    let mut setting = Setting::of(count, 1);
    match numbers.below(5) {
        0 => setting.crashes = 1,
        1 => (setting.ticks, setting.jump) = (1, Duration::from_millis(250)),
        _ => {}
    }
    (programs, setting, count == 3 && numbers.is(2))
}

pub(super) fn setup(world: &mut World) {
    super::setup(world);
    (1..world.processes.len()).for_each(|thread| world.make_thread(thread, 0));
}

pub(super) fn setup_with_a_stranger(world: &mut World) {
    super::setup(world);
    (1..world.processes.len() - 1).for_each(|thread| world.make_thread(thread, 0));
}

#[test]
fn random_threads_are_told_the_same_under_every_reduction() {
    let compared = compare_all(0..60, 2_000, Kind::Threads);
    assert!(compared > 30, "only {compared} of the programs are small enough");
}
