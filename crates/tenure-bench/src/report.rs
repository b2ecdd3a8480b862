//! The results as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::measure::{Finding, Row, Setting};

/// Results by the name of their benchmark.
type Results = [(&'static str, Finding)];

const COLUMNS: usize = 7;
const HEADER: [&str; COLUMNS] = ["benchmark", "contender", "median", "p99", "ratio", "min..max", "goal"];

/// One aligned table of all benchmarks, and a line for each that was skipped.
pub(crate) fn table(results: &Results) -> String {
    let mut lines = vec![HEADER.map(str::to_owned)];
    let mut skipped = String::new();
    for (name, finding) in results {
        match finding {
            Finding::Measured(rows) => {
                lines.extend(rows.iter().enumerate().map(|(i, row)| line(name, i, row)))
            }
            Finding::Skipped(reason) => skipped += &format!("{name}: skipped, {reason}\n"),
        }
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            // Names stand to the left, figures to the right. Writing to a string can't fail.
            let _infallible = match column {
                0 | 1 | 6 => write!(row, "{cell:<width$}  "),
                _ => write!(row, "{cell:>width$}  "),
            };
        }
        text += row.trim_end();
        text.push('\n');
    }
    text + &skipped
}

fn line(benchmark: &str, index: usize, row: &Row) -> [String; COLUMNS] {
    let is_base = index == 0;
    let (low, high) = row.ratio_range;
    [
        if is_base { benchmark.to_owned() } else { String::new() },
        row.name.to_owned(),
        time(row.median),
        row.p99.map(time).unwrap_or_default(),
        if is_base { "base".to_owned() } else { format!("{}x", ratio(row.ratio)) },
        if is_base { String::new() } else { format!("{}..{}", ratio(low), ratio(high)) },
        match (row.goal, row.is_met()) {
            (Some(goal), Some(true)) => format!("{goal:.2}x met"),
            (Some(goal), _) => format!("{goal:.2}x MISSED"),
            (None, _) => String::new(),
        },
    ]
}

/// Two digits behind the point, as long as they mean something.
fn ratio(ratio: f64) -> String {
    if ratio < 100.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// Nanoseconds in the unit that leaves one to three digits before the point.
fn time(nanos: f64) -> String {
    match nanos {
        ..1e3 => format!("{nanos:.0} ns"),
        ..1e6 => format!("{:.2} us", nanos / 1e3),
        ..1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

/// The results with what is worth knowing of the machine.
pub(crate) fn json(results: &Results, setting: &Setting) -> Value {
    let benchmarks = results.iter().map(|(name, finding)| match finding {
        Finding::Measured(rows) => {
            json!({ "name": name, "contenders": rows.iter().map(entry).collect::<Vec<_>>() })
        }
        Finding::Skipped(reason) => json!({ "name": name, "skipped": reason }),
    });
    // A machine that does not tell leaves null.
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "quick": setting.quick,
        "kernel": kernel.as_deref().map(str::trim),
        "cpus": std::thread::available_parallelism().ok().map(usize::from),
        "benchmarks": benchmarks.collect::<Vec<_>>(),
    })
}

fn entry(row: &Row) -> Value {
    json!({
        "name": row.name,
        "median_ns": row.median,
        "p99_ns": row.p99,
        "ratio": row.ratio,
        "ratio_min": row.ratio_range.0,
        "ratio_max": row.ratio_range.1,
        "goal": row.goal,
        "met": row.is_met(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_get_a_fitting_unit() {
        let table = [(999.0, "999 ns"), (1_500.0, "1.50 us"), (2_340_000.0, "2.34 ms"), (1e9, "1.00 s")];
        for (nanos, text) in table {
            assert_eq!(time(nanos), text);
        }
    }
}
