//! How contenders are measured side by side.
//!
//! A round takes a number of samples from each contender in turn, A B A B, so that whatever else the machine
//! does meets all of them alike; each round starts with another contender. A round's ratio is that of the
//! medians of its samples. The ratio reported is the median over the rounds, with the smallest and the largest.

use std::error::Error;
use std::path::PathBuf;

use rustix::time::{ClockId, clock_gettime};

/// What a benchmark may fail with: anything, to be shown to the user.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What all benchmarks of a run have in common.
pub(crate) struct Setting {
    /// Whether few rounds are enough.
    pub(crate) quick: bool,
    /// An empty directory to work in, removed after the run.
    pub(crate) directory: PathBuf,
}

impl Setting {
    /// The plan to follow: `full`, or a short form of it.
    pub(crate) fn plan(&self, full: Plan) -> Plan {
        match self.quick {
            true => Plan { rounds: 3, samples: full.samples.min(5), ..full },
            false => full,
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Rounds that count; one more goes before them to warm up.
    pub(crate) rounds: usize,
    /// Samples of each contender in a round.
    pub(crate) samples: usize,
    /// Operations in a sample: more than one where reading the clock would weigh in.
    pub(crate) batch: u32,
}

/// One way of doing what the benchmark measures.
pub(crate) struct Contender<'a> {
    /// How the table calls it.
    pub(crate) name: &'static str,
    /// The largest ratio to the base that is good enough, if one is asked for.
    pub(crate) goal: Option<f64>,
    /// Takes the sample of this number and returns its nanoseconds per operation.
    pub(crate) sample: Box<dyn FnMut(usize) -> Result<f64> + 'a>,
}

/// What a benchmark found.
pub(crate) enum Finding {
    /// The contenders, the base first.
    Measured(Vec<Row>),
    /// Why there was nothing to measure.
    Skipped(String),
}

/// What was measured of one contender.
pub(crate) struct Row {
    /// The contender's name.
    pub(crate) name: &'static str,
    /// The largest ratio that is good enough.
    pub(crate) goal: Option<f64>,
    /// The median time of an operation, in nanoseconds.
    pub(crate) median: f64,
    /// The time that 99 of 100 operations keep below, where operations are timed one by one.
    pub(crate) p99: Option<f64>,
    /// The ratio to the base.
    pub(crate) ratio: f64,
    /// The smallest and the largest ratio of a round.
    pub(crate) ratio_range: (f64, f64),
}

impl Row {
    /// Whether the goal is met; `None` if there is none.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| self.ratio <= goal)
    }
}

/// Nanoseconds on `CLOCK_MONOTONIC`, which all processes share.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A contender whose samples are `plan.batch` runs of `operation`.
pub(crate) fn timed<'a>(
    name: &'static str,
    goal: Option<f64>,
    plan: Plan,
    mut operation: impl FnMut() -> Result<()> + 'a,
) -> Contender<'a> {
    let sample = move |_| {
        let start = now();
        for _ in 0..plan.batch {
            operation()?;
        }
        Ok((now() - start) as f64 / f64::from(plan.batch))
    };
    Contender { name, goal, sample: Box::new(sample) }
}

/// Measures the contenders, of which the first is the base.
pub(crate) fn side_by_side(mut contenders: Vec<Contender<'_>>, plan: Plan) -> Result<Finding> {
    let count = contenders.len();
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); count];
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); count];
    for round in 0..=plan.rounds {
        let mut of_round: Vec<Vec<f64>> = vec![Vec::new(); count];
        for sample in 0..plan.samples {
            for turn in 0..count {
                let contender = (round + turn) % count;
                let taken = (contenders[contender].sample)(round * plan.samples + sample);
                let taken = taken.map_err(|error| format!("{}: {error}", contenders[contender].name))?;
                of_round[contender].push(taken);
            }
        }
        if round == 0 {
            continue;
        }
        let base = quantile(&of_round[0], 0.5);
        for (contender, taken) in of_round.into_iter().enumerate() {
            ratios[contender].push(quantile(&taken, 0.5) / base);
            samples[contender].extend(taken);
        }
    }
    let rows = contenders.iter().zip(samples.iter().zip(&ratios)).map(|(contender, (samples, ratios))| Row {
        name: contender.name,
        goal: contender.goal,
        median: quantile(samples, 0.5),
        p99: (plan.batch == 1).then(|| quantile(samples, 0.99)),
        ratio: quantile(ratios, 0.5),
        ratio_range: (quantile(ratios, 0.0), quantile(ratios, 1.0)),
    });
    Ok(Finding::Measured(rows.collect()))
}

/// The value that the given share of the values does not exceed, between neighbours if need be.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = share * last as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        let table = [(0.0, 1.0), (0.5, 2.5), (1.0, 4.0)];
        for (share, expected) in table {
            assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], share), expected, "{share}");
        }
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn rounds_interleave_and_the_first_one_is_left_out() {
        let order = std::cell::RefCell::new(String::new());
        let contender = |name: &'static str, time: f64| Contender {
            name,
            goal: Some(1.5),
            sample: Box::new({
                let order = &order;
                move |number| {
                    order.borrow_mut().push_str(name);
                    Ok(if number < 2 { 1e9 } else { time })
                }
            }),
        };
        let plan = Plan { rounds: 2, samples: 2, batch: 1 };
        let found = side_by_side(vec![contender("A", 10.0), contender("B", 20.0)], plan).unwrap();
        let Finding::Measured(rows) = found else { panic!("nothing was skipped") };
        assert_eq!(*order.borrow(), "ABABBABAABAB");
        assert_eq!((rows[1].median, rows[1].p99, rows[1].ratio), (20.0, Some(20.0), 2.0));
        assert_eq!((rows[0].is_met(), rows[1].is_met()), (Some(true), Some(false)));
    }
}
