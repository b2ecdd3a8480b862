//! `tenure edit`: change a file in an editor, without a lock while it runs.
//!
//! 1. Read the file. 2. Give a copy, in a directory that nobody else may read, to the editor. 3. Check what comes back;
//!    where it is wrong, ask whether to edit again. 4. Put it in place, merged with what others wrote meanwhile. Whatever
//!    fails, the edited text is kept, and its place is said.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tempfile::TempDir;
use tenure::Document;
use tenure::document::{Clash, Value};

use super::update::{catch_file_size_signal, check_durable};
use crate::args::{Edit, wait};
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn edit(args: &Edit) -> Result<ExitCode, Failure> {
    catch_file_size_signal()?;
    // What the terminal sends is meant for the editor; caught, and not ignored, so that the editor gets its default.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGQUIT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .map_err(|error| Failure::new(Exit::Io, format!("cannot catch signals: {error}")))?;
    }
    let document = args.writing.apply(args.format.open(&args.file), args.backup);
    let base = document.read_bytes()?;
    let copy = Copy::of(&args.file, base.as_deref().unwrap_or_default())?;
    loop {
        if let Err(failure) = run_editor(args, &copy) {
            return Err(copy.kept(base.as_deref(), failure));
        }
        let mine = copy.read()?;
        if Some(&mine) == base.as_ref() || (base.is_none() && mine.is_empty()) {
            output::tell(format_args!("{}: not changed", args.file.display()));
            return Ok(ExitCode::SUCCESS);
        }
        match document.parse(&mine) {
            Ok(_) => return commit(args, &document, &copy, base.as_deref(), &mine),
            Err(error) => {
                let failure = Failure::from(error);
                if !edit_again(&failure.message) {
                    return Err(copy.kept(base.as_deref(), failure));
                }
            }
        }
    }
}

fn commit(
    args: &Edit,
    document: &Document,
    copy: &Copy,
    base: Option<&[u8]>,
    mine: &[u8],
) -> Result<ExitCode, Failure> {
    match document.commit_text(wait(args.writing.wait), base, mine) {
        Ok(receipt) => {
            check_durable(&args.file, &receipt)?;
            if receipt.version != tenure::Version::of(Some(mine)) {
                output::tell(format_args!(
                    "{}: merged with what others wrote meanwhile",
                    args.file.display()
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(unmerged) => {
            let mut failure = Failure::from(unmerged.error);
            unmerged.clashes.iter().for_each(|clash| failure.message.push_str(&both_sides(clash)));
            Err(copy.kept(base, failure))
        }
    }
}

/// What both sides made of one place.
fn both_sides(clash: &Clash) -> String {
    let text = |value: &Option<Value>| value.as_ref().map_or("(nothing)".to_owned(), ToString::to_string);
    let (base, theirs, mine) = (text(&clash.base), text(&clash.theirs), text(&clash.mine));
    format!("\n  {}: was {base}\n    others wrote  {theirs}\n    you wrote     {mine}", clash.place)
}

/// Says what is wrong, and asks; nobody answers where there is no terminal.
fn edit_again(problem: &str) -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    output::tell(problem);
    // An answer that can't be asked for, or read, is a no.
    let mut answer = String::new();
    let asked = write!(std::io::stderr(), "Edit again? [Y/n] ")
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    asked.is_ok_and(|length| length > 0) && !answer.trim().to_ascii_lowercase().starts_with('n')
}

fn run_editor(args: &Edit, copy: &Copy) -> Result<(), Failure> {
    let mut command = match args.editor.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&copy.path);
            command
        }
        None => {
            let set = |name| std::env::var_os(name).filter(|editor| !editor.is_empty());
            let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or("vi".into());
            // The variables hold a command line, as git and crontab read them.
            let mut line = editor.clone();
            line.push(" \"$@\"");
            let mut command = Command::new("sh");
            command.arg("-c").arg(line).arg(editor).arg(&copy.path);
            command
        }
    };
    let status = command.status().map_err(|error| {
        let exit =
            if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::NotExecutable };
        Failure::new(exit, format!("cannot run the editor: {error}"))
    })?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(Exit::Data, format!("the editor failed ({status}). Nothing was written"))),
    }
}

/// The copy that the editor works on.
struct Copy {
    directory: std::cell::Cell<Option<TempDir>>,
    path: PathBuf,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a copy for an editor is no document: nobody else may even see it"
)]
impl Copy {
    fn of(file: &Path, bytes: &[u8]) -> Result<Copy, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::CannotCreate, format!("cannot make a copy to edit: {error}"))
        };
        // For its owner alone (mkdtemp(3)); under its own name, by which editors know the format.
        let directory = tempfile::Builder::new().prefix("tenure-edit-").tempdir().map_err(failed)?;
        let path = directory.path().join(file.file_name().unwrap_or_default());
        std::fs::write(&path, bytes).map_err(failed)?;
        Ok(Copy { directory: std::cell::Cell::new(Some(directory)), path })
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        std::fs::read(&self.path).map_err(|error| {
            Failure::new(Exit::NoInput, format!("the editor left no {}: {error}", self.path.display()))
        })
    }

    /// The failure, and where the edited text is, if there is one.
    fn kept(&self, base: Option<&[u8]>, mut failure: Failure) -> Failure {
        let edited = std::fs::read(&self.path).is_ok_and(|mine| mine != base.unwrap_or_default());
        if let Some(directory) = self.directory.take().filter(|_| edited) {
            let _stays = directory.keep();
            failure.message.push_str(&format!("\n  Your text is kept in {}", self.path.display()));
        }
        failure
    }
}
