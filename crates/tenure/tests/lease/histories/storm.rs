//! Five clients, and what happens to them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tenure::host::{Host, Native};

use super::checker::{Event, History, Record};
use super::protected::Protected;
use crate::place::{PATIENCE, Place};
use crate::worker::Worker;

const CLIENTS: usize = 5;

/// Short, so that much happens; longer than a busy machine keeps a thread waiting.
const TTL: Duration = Duration::from_millis(400);

/// Between two ills.
const TICK: Duration = Duration::from_millis(250);

/// What happens to the clients.
#[derive(Clone, Copy)]
pub(super) struct Ills {
    pub(super) stops: bool,
    pub(super) kills: bool,
    /// Their stores keep silent, fail, forget and hang.
    pub(super) stalls: bool,
}

pub(super) struct Plan {
    /// The leases' address, or `naive:PATH`.
    pub(super) store: String,
    /// What the lease protects.
    pub(super) protected: PathBuf,
    pub(super) fenced: bool,
    pub(super) ills: Ills,
    pub(super) lasts: Duration,
    /// The run goes on, within reason, until so many leases were granted.
    pub(super) grants: usize,
    /// And until so many writes came too late: with a token smaller than that of one before. A fence refuses them.
    pub(super) late: usize,
}

impl Plan {
    /// All on this place, with nothing that happens to anybody.
    pub(super) fn on(place: &Place, protected: &str) -> Plan {
        let ills = Ills { stops: false, kills: false, stalls: false };
        let protected = place.directory().join(protected);
        let (store, lasts) = (place.address.clone(), Duration::ZERO);
        Plan { store, protected, fenced: false, ills, lasts, grants: 30, late: 0 }
    }
}

/// Something else that ails now and then.
pub(super) trait Ailment {
    /// Something begins or ends.
    fn tick(&mut self);
    /// All is well again.
    fn heal(&mut self);
    /// Whether everything has happened that should.
    fn suffered(&self) -> bool;
}

/// What happened.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) grants: usize,
    pub(super) written: usize,
    pub(super) refused: usize,
    /// Written although one with a larger token had been written before.
    pub(super) late: usize,
    pub(super) stops: usize,
    pub(super) kills: usize,
}

struct Client {
    id: u32,
    worker: Worker,
    stopped_until: Option<Instant>,
}

pub(super) struct Storm {
    plan: Plan,
    /// Where the clients note.
    notes: tempfile::TempDir,
    clients: Vec<Client>,
    started: u32,
    stops: usize,
    kills: usize,
}

pub(super) fn below(bound: u64) -> u64 {
    Native.random() % bound
}

impl Storm {
    pub(super) fn start(plan: Plan) -> Storm {
        Protected::make(&plan.protected);
        let notes = tempfile::tempdir().unwrap();
        let mut storm = Storm { plan, notes, clients: Vec::new(), started: 0, stops: 0, kills: 0 };
        storm.clients = (0..CLIENTS).map(|_| storm.client()).collect();
        for client in &mut storm.clients {
            assert_eq!(client.worker.hear(), "ready");
        }
        storm
    }

    fn client(&mut self) -> Client {
        self.started += 1;
        let id = self.started;
        let task = json!({
            "id": id,
            "store": self.plan.store,
            "protected": self.plan.protected,
            "fenced": self.plan.fenced,
            "stalls": self.plan.ills.stalls,
            "ttl_ms": u64::try_from(TTL.as_millis()).unwrap(),
            "notes": self.note(id),
        });
        Client { id, worker: Worker::start("client", &task), stopped_until: None }
    }

    fn note(&self, id: u32) -> PathBuf {
        self.notes.path().join(id.to_string())
    }

    fn records(&self, id: u32) -> Vec<Record> {
        // A client that was killed before it began has noted nothing.
        let text = std::fs::read_to_string(self.note(id)).unwrap_or_default();
        // Each line is one write, so none is cut short by a kill; but a look may come in the middle of one.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| Record::parse(line).unwrap_or_else(|| panic!("{line}"))).collect()
    }

    /// One who holds the lease at the moment, as it seems.
    fn holder(&self) -> Option<usize> {
        let holds = |client: &Client| {
            let last = self.records(client.id).last().map(|record| record.event);
            matches!(last, Some(Event::Granted { .. } | Event::Believes { .. }))
        };
        self.clients.iter().position(|client| client.stopped_until.is_none() && holds(client))
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for client in &mut self.clients {
            if client.stopped_until.is_some_and(|until| until <= now) {
                client.worker.signal(Signal::CONT);
                client.stopped_until = None;
            }
        }
        // Mostly the one whom it hurts.
        let any = usize::try_from(below(CLIENTS as u64)).unwrap();
        let at = if below(4) == 0 { any } else { self.holder().unwrap_or(any) };
        let ills = self.plan.ills;
        match below(8) {
            0 if ills.kills => {
                self.clients[at].worker.kill();
                self.clients[at] = self.client();
                self.kills += 1;
            }
            1..5 if ills.stops && self.clients[at].stopped_until.is_none() => {
                let client = &mut self.clients[at];
                client.worker.signal(Signal::STOP);
                client.stopped_until = Some(now + TTL / 2 + TTL * u32::try_from(below(4)).unwrap());
                self.stops += 1;
            }
            _ => {}
        }
    }

    /// Lets it all happen, and then end.
    pub(super) fn run(mut self, ailments: &mut [&mut dyn Ailment]) -> (History, Counts) {
        let start = Instant::now();
        // What did not happen shows nothing, and a machine may be slow; but it must end.
        let longest = self.plan.lasts + PATIENCE * 2;
        while start.elapsed() < self.plan.lasts || !self.has_seen_enough(ailments) {
            assert!(start.elapsed() < longest, "too little happens: {:?}", self.count());
            std::thread::sleep(TICK / 2 + TICK * u32::try_from(below(100)).unwrap() / 100);
            self.tick();
            ailments.iter_mut().for_each(|ailment| ailment.tick());
        }
        ailments.iter_mut().for_each(|ailment| ailment.heal());
        for client in std::mem::take(&mut self.clients) {
            client.worker.signal(Signal::CONT);
            client.worker.finish();
        }
        let counts = self.count();
        let left = Protected::left(&self.plan.protected);
        (History { records: self.all_records(), left }, counts)
    }

    fn all_records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = (1..=self.started).flat_map(|id| self.records(id)).collect();
        records.sort_by_key(|record| record.at);
        records
    }

    fn count(&self) -> Counts {
        let records = self.all_records();
        let count =
            |wanted: fn(&Event) -> bool| records.iter().filter(|record| wanted(&record.event)).count();
        Counts {
            grants: count(|event| matches!(event, Event::Granted { .. })),
            written: count(|event| matches!(event, Event::Written { .. })),
            refused: count(|event| matches!(event, Event::Refused { .. })),
            late: late(&records),
            stops: self.stops,
            kills: self.kills,
        }
    }

    fn has_seen_enough(&self, ailments: &[&mut dyn Ailment]) -> bool {
        let Plan { ills, grants, late, .. } = self.plan;
        let counts = self.count();
        counts.grants >= grants
            && counts.written >= grants / 2
            && counts.stops >= usize::from(ills.stops)
            && counts.kills >= usize::from(ills.kills)
            && counts.refused + counts.late >= late
            && ailments.iter().all(|ailment| ailment.suffered())
    }
}

fn late(records: &[Record]) -> usize {
    let mut tokens = HashMap::new();
    let (mut newest, mut late) = (0, 0);
    for record in records {
        match record.event {
            Event::Writing { token, element } => drop(tokens.insert(element, token)),
            Event::Written { element } => {
                late += usize::from(tokens[&element] < newest);
                newest = newest.max(tokens[&element]);
            }
            _ => {}
        }
    }
    late
}
