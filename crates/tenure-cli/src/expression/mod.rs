//! jq expressions, run by jaq in a thread of their own.
//!
//! jaq differs from jq in how it changes what is null or missing, and in what it deletes; the values that it works on
//! here (`value`, `place`) and a few functions (`functions`, `delete`) do as jq does.
//!
//! The thread has a deep stack, since recursion is what jq programs are made of; and a caller that stops
//! waiting for it can go on, since no step inside jaq can be interrupted. The process ends soon after.

mod delete;
mod functions;
mod place;
mod value;

use std::sync::mpsc;
use std::time::Duration;

use jaq_core::load::{Arena, File, Loader, lex, parse};
use jaq_core::{Compiler, Ctx, ValT, Vars, load};
use jaq_json::{Num, Val};
use tenure::document::{DEPTH_MAX, Fields, Value};

use crate::args;
use crate::exit::{Exit, Failure};

use functions::Data;
use value::Jq;

/// Address space only; pages are used as the recursion needs them.
const STACK_BYTES: usize = 512 * 1024 * 1024;

/// A compiled expression, waiting for its input.
pub(crate) struct Expression {
    inputs: mpsc::Sender<Value>,
    answers: mpsc::Receiver<Answer>,
    time_limit: Duration,
}

/// What an expression made of one input: the input as jaq reads it, and the results.
type Answer = Result<(Value, Vec<Value>), String>;

impl Expression {
    /// Compiles what the command line names; `.` if it names nothing.
    pub(crate) fn from_args(args: &args::Expression) -> Result<Expression, Failure> {
        let code = match (&args.code, &args.from_file) {
            (Some(code), _) => code.clone(),
            (None, Some(file)) => read_code(file)?,
            (None, None) => ".".to_owned(),
        };
        Expression::compile(code, variables(args)?, args.time_limit)
    }

    /// Compiles `code`, in which `variables` (their names begin with `$`) are known.
    pub(crate) fn compile(
        code: String,
        variables: Vec<(String, Value)>,
        time_limit: Duration,
    ) -> Result<Expression, Failure> {
        let (inputs, input_receiver) = mpsc::channel();
        let (answer_sender, answers) = mpsc::channel();
        let (compiled_sender, compiled) = mpsc::channel();
        let work = move || serve(&code, &variables, &compiled_sender, &input_receiver, &answer_sender);
        let thread = std::thread::Builder::new().name("expression".to_owned()).stack_size(STACK_BYTES);
        thread
            .spawn(work)
            .map_err(|error| Failure::new(Exit::Io, format!("cannot start a thread: {error}")))?;
        match compiled.recv() {
            Ok(Ok(())) => Ok(Expression { inputs, answers, time_limit }),
            Ok(Err(problem)) => Err(Failure::new(Exit::Usage, problem)),
            Err(_) => Err(Failure::new(Exit::Internal, "jaq panicked while compiling the expression")),
        }
    }

    /// Runs the expression: the input as the expression saw it, and every result.
    pub(crate) fn run(&self, input: &Value) -> Answer {
        let panicked = "jaq panicked on this expression";
        self.inputs.send(input.clone()).map_err(|_| panicked.to_owned())?;
        match self.answers.recv_timeout(self.time_limit) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(panicked.to_owned()),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(format!(
                "the expression was stopped: it ran longer than {:?} (see --time-limit)",
                self.time_limit
            )),
        }
    }

    /// Runs the expression, which must yield exactly one result.
    pub(crate) fn run_single(&self, input: &Value) -> Result<(Value, Value), String> {
        let (before, results) = self.run(input)?;
        match <[Value; 1]>::try_from(results) {
            Ok([result]) => Ok((before, result)),
            Err(results) => Err(format!(
                "the expression yields {} results, but the new document must be exactly one",
                if results.is_empty() { "no".to_owned() } else { results.len().to_string() }
            )),
        }
    }
}

/// What `--arg` and `--argjson` set.
pub(crate) fn variables(args: &args::Expression) -> Result<Vec<(String, Value)>, Failure> {
    let mut variables = Vec::new();
    for pair in args.arg.chunks_exact(2) {
        variables.push((format!("${}", pair[0]), Value::String(pair[1].clone())));
    }
    for pair in args.argjson.chunks_exact(2) {
        let value = parse_json(&pair[1]);
        let unfit = |problem| Failure::new(Exit::Usage, format!("--argjson {}: {problem}", pair[0]));
        variables.push((format!("${}", pair[0]), value.map_err(unfit)?));
    }
    Ok(variables)
}

/// Reads `-f FILE`, which may be a pipe.
#[expect(clippy::disallowed_methods, reason = "an expression is no document: nobody shares or changes it")]
fn read_code(file: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => {
                return Failure::new(Exit::NoInput, format!("{}: no such file", file.display()));
            }
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            std::io::ErrorKind::InvalidData => Exit::Usage,
            _ => Exit::Io,
        };
        Failure::new(exit, format!("{}: cannot read the expression: {error}", file.display()))
    })
}

/// Parses a JSON text as a document would be.
fn parse_json(text: &str) -> Result<Value, String> {
    Value::parse_json(text).map_err(|problem| problem.to_string())
}

/// The thread: compile once, then answer each input.
fn serve(
    code: &str,
    variables: &[(String, Value)],
    compiled: &mpsc::Sender<Result<(), String>>,
    inputs: &mpsc::Receiver<Value>,
    answers: &mpsc::Sender<Answer>,
) {
    let arena = Arena::default();
    let loaded = Loader::new(functions::definitions()).load(&arena, File { code, path: () });
    let program = loaded.map_err(|errors| load_problem(code, &errors)).and_then(|modules| {
        let compiler: Compiler<_, Data> = Compiler::default().with_funs(functions::functions());
        let compiler = compiler.with_global_vars(variables.iter().map(|(name, _)| name.as_str()));
        compiler.compile(modules).map_err(|errors| {
            let (name, kind) = &errors[0].1[0];
            place(code, name, &format!("undefined {} `{name}`", kind.as_str()))
        })
    });
    // A caller that has gone away has no use for an answer: every send may fail in peace.
    let filter = match program {
        Ok(filter) => {
            let _caller_gone = compiled.send(Ok(()));
            filter
        }
        Err(problem) => {
            let _caller_gone = compiled.send(Err(problem));
            return;
        }
    };
    while let Ok(input) = inputs.recv() {
        if answers.send(evaluate(&filter, variables, &input)).is_err() {
            return;
        }
    }
}

/// Runs the compiled expression on one input.
fn evaluate(filter: &jaq_core::Filter<Data>, variables: &[(String, Value)], input: &Value) -> Answer {
    let value = to_val(input)?;
    let before = from_val(&value, DEPTH_MAX)?;
    let values = variables.iter().map(|(_, value)| to_val(value).map(Jq::from));
    let context = Ctx::<Data>::new(&filter.lut, Vars::new(values.collect::<Result<Vec<_>, _>>()?));
    let results = filter.id.run((context, value.into())).map(|result| match result {
        Ok(value) => from_val(value.val(), DEPTH_MAX),
        Err(exception) => Err(match exception.get_err() {
            Ok(error) => failure(&error.to_string()),
            Err(_) => "the expression ends by `halt` or `break` instead of a result".to_owned(),
        }),
    });
    Ok((before, results.collect::<Result<Vec<_>, _>>()?))
}

/// jaq's own words, with the way out of what is met most often where something is missing.
fn failure(error: &str) -> String {
    let hint = match error.starts_with("cannot use null as iterable") {
        true => " (`.[]?` passes over null, and so over what is missing)",
        false => "",
    };
    format!("the expression fails: {error}{hint}")
}

fn load_problem(code: &str, errors: &load::Errors<&str, ()>) -> String {
    match errors.first().map(|(_, error)| error) {
        Some(load::Error::Lex(errors)) => {
            let (expected, found): &lex::Error<&str> = &errors[0];
            place(code, found, &format!("expected {}", expected.as_str()))
        }
        Some(load::Error::Parse(errors)) => {
            let (expected, found): &parse::Error<&str> = &errors[0];
            place(code, found, &format!("expected {}", expected.as_str()))
        }
        Some(load::Error::Io(errors)) => format!("cannot load the module {}: {}", errors[0].0, errors[0].1),
        None => "the expression can't be parsed".to_owned(),
    }
}

/// Shows where in the expression `rest`, a part of it, begins.
fn place(code: &str, rest: &str, problem: &str) -> String {
    let (start, here) = (code.as_ptr() as usize, rest.as_ptr() as usize);
    let offset = here.checked_sub(start).filter(|offset| *offset <= code.len());
    let Some(before) = offset.and_then(|offset| code.get(..offset)) else {
        return format!("the expression is not valid: {problem}");
    };
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = code[line_start..].lines().next().unwrap_or_default();
    let column = before[line_start..].chars().count();
    let number = before.matches('\n').count() + 1;
    let caret = " ".repeat(column);
    format!(
        "the expression is not valid: line {number}, column {}: {problem}\n  {line}\n  {caret}^",
        column + 1
    )
}

fn to_val(value: &Value) -> Result<Val, String> {
    Ok(match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(*value),
        Value::Number(text) => Val::from_num(text).map_err(|error| error.to_string())?,
        Value::String(text) | Value::Foreign(text) => Val::from(text.clone()),
        Value::Array(items) => {
            items.iter().map(to_val).collect::<Result<Vec<_>, _>>().map(|items| Val::Arr(items.into()))?
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| Ok((Val::from(key.clone()), to_val(value)?)));
            Val::from_map(fields.collect::<Result<Vec<_>, String>>()?).map_err(|error| error.to_string())?
        }
    })
}

fn from_val(value: &Val, depth_left: usize) -> Result<Value, String> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| "the expression yields a string that is not UTF-8".to_owned())
    };
    let deeper =
        || depth_left.checked_sub(1).ok_or(format!("the result is nested more than {DEPTH_MAX} deep"));
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Num(Num::Float(float)) if !float.is_finite() => {
            return Err(format!("the expression yields {float}, which JSON has no number for"));
        }
        Val::Num(number) => Value::Number(number.to_string()),
        Val::TStr(bytes) => Value::String(text(bytes)?),
        Val::BStr(_) => {
            return Err("the expression yields a byte string, which JSON does not have".to_owned());
        }
        Val::Arr(items) => {
            let left = deeper()?;
            Value::Array(items.iter().map(|item| from_val(item, left)).collect::<Result<_, _>>()?)
        }
        Val::Obj(fields) => {
            let left = deeper()?;
            let mut object = Fields::with_capacity(fields.len());
            for (key, value) in fields.iter() {
                let Val::TStr(key) = key else {
                    return Err(format!(
                        "the expression yields an object with the key {key}, which is not a string"
                    ));
                };
                object.insert(text(key)?, from_val(value, left)?);
            }
            Value::Object(object)
        }
    })
}

#[cfg(test)]
mod tests;
