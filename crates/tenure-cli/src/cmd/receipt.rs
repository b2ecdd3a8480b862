//! What the commands that write a journal say of it.

use std::path::Path;

use tenure::Reached;
use tenure::document::Value;
use tenure::journal::{Receipt, Recovery};

use crate::exit::{Exit, Failure};
use crate::output;

/// Tells of a recovery, prints the receipt if asked to, and fails if it leaves something in doubt.
pub(super) fn answer(path: &Path, receipt: &Receipt, json: bool) -> Result<(), Failure> {
    if let Some(recovery) = &receipt.recovery {
        output::tell(format_args!("{}: {recovery}", path.display()));
    }
    if json {
        output::print(&format!("{}\n", object(receipt)))?;
    }
    if receipt.durability == Reached::Unknown {
        let problem = "the records stand in the journal and are read, but syncing failed, so they may not survive a power loss";
        return Err(Failure::new(Exit::Io, format!("{}: {problem}", path.display())));
    }
    Ok(())
}

fn object(receipt: &Receipt) -> Value {
    let durability = match receipt.durability {
        Reached::Power => "power",
        Reached::Process => "process",
        Reached::Unknown => "unknown",
    };
    output::object([
        ("sequences", range(receipt.sequences)),
        ("cursor", output::string(receipt.cursor)),
        ("durability", output::string(durability)),
        ("recovery", receipt.recovery.as_ref().map_or(Value::Null, recovery)),
    ])
}

fn recovery(recovery: &Recovery) -> Value {
    output::object([
        ("offset", output::number(recovery.offset)),
        ("bytes", output::number(recovery.bytes)),
        ("quarantine", output::string(recovery.quarantine.display())),
        ("cause", output::string(&recovery.cause)),
    ])
}

/// The first and the last sequence, or null.
pub(super) fn range(sequences: Option<(u64, u64)>) -> Value {
    let range = |(first, last)| Value::Array(vec![output::number(first), output::number(last)]);
    sequences.map_or(Value::Null, range)
}
