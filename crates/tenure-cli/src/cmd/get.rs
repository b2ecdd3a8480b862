//! `tenure get`: read without a lock.

use std::process::ExitCode;

use tenure::document::Value;
use tenure::{Document, Version};

use crate::args::Get;
use crate::exit::{Exit, Failure};
use crate::expression::Expression;
use crate::output;

pub(crate) fn get(args: &Get) -> Result<ExitCode, Failure> {
    let expression = Expression::from_args(&args.expression)?;
    let (value, version) = Document::open(&args.file).read_versioned()?;
    if version == Version::of(None) {
        return Err(Failure::new(Exit::NoInput, format!("{}: no such file", args.file.display())));
    }
    let (_, results) = expression
        .run(&value)
        .map_err(|problem| Failure::new(Exit::Data, format!("{}: {problem}", args.file.display())))?;
    if args.json {
        let fields = [("version", output::string(version)), ("results", Value::Array(results))];
        output::print_value(&output::object(fields), false)?;
    } else {
        for result in &results {
            output::print_value(result, args.expression.raw)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
