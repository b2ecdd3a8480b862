//! `tenure edit`: change a file in an editor, without a lock while it runs.
//!
//! 1. Read the file. 2. Give a copy, in a directory that nobody else may read, to the editor. 3. Check what comes back;
//!    where it is wrong, ask whether to edit again. 4. Put it in place, merged with what others wrote meanwhile. Whatever
//!    fails, the edited text is kept, and its place is said.
//!
//! Ctrl-C belongs to the editor while it runs; after it, it is a no to the question, and the end of a wait.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::event::{PollFd, PollFlags, poll};
use tempfile::TempDir;
use tenure::document::{Clash, Value};
use tenure::{Cancel, Document};

use super::update::{catch_file_size_signal, check_durable};
use crate::args::{Edit, wait};
use crate::exit::{Exit, Failure};
use crate::output;

pub(crate) fn edit(args: &Edit) -> Result<ExitCode, Failure> {
    catch_file_size_signal()?;
    let keys =
        Keys::catch().map_err(|error| Failure::new(Exit::Io, format!("cannot catch signals: {error}")))?;
    let document = args.writing.apply(args.format.open(&args.file), args.backup);
    let base = document.read_bytes()?;
    // Before the work, not after it.
    if base.is_none() && !has_directory(&args.file) {
        let problem = "its directory does not exist; create that first";
        return Err(Failure::new(Exit::CannotCreate, format!("{}: {problem}", args.file.display())));
    }
    let copy = Copy::of(&args.file, base.as_deref().unwrap_or_default())?;
    loop {
        let ran = run_editor(args, &copy);
        keys.forget();
        if let Err(failure) = ran {
            return Err(copy.kept(base.as_deref(), failure));
        }
        let mine = copy.read(&args.file)?;
        if Some(&mine) == base.as_ref() || (base.is_none() && mine.is_empty()) {
            output::tell(format_args!("{}: not changed", args.file.display()));
            return Ok(ExitCode::SUCCESS);
        }
        match document.parse(&mine) {
            Ok(_) => return commit(args, &document, &copy, base.as_deref(), &mine, keys),
            Err(error) => {
                let mut failure = Failure::from(error);
                match edit_again(&failure.message, &keys) {
                    Answer::Yes => continue,
                    // The problem has been said with the question.
                    Answer::No => failure.message = format!("{}: not changed", args.file.display()),
                    Answer::Nobody => {}
                }
                return Err(copy.kept(base.as_deref(), failure));
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
    keys: Keys,
) -> Result<ExitCode, Failure> {
    let wait = wait(args.writing.wait).or(&keys.into_cancel());
    match document.commit_text(wait, base, mine) {
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

enum Answer {
    Yes,
    No,
    Nobody,
}

/// Says what is wrong, and asks; nobody answers where there is no terminal.
fn edit_again(problem: &str, keys: &Keys) -> Answer {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Answer::Nobody;
    }
    output::tell(problem);
    // An answer that can't be asked for, or read, is a no.
    let mut answer = String::new();
    let asked = write!(std::io::stderr(), "Edit again? [Y/n] ").and_then(|()| {
        let length =
            if keys.pressed_before_input() { 0 } else { std::io::stdin().lock().read_line(&mut answer)? };
        // A key leaves the cursor behind the question.
        if length == 0 { writeln!(std::io::stderr()).map(|()| length) } else { Ok(length) }
    });
    let yes = asked.is_ok_and(|length| length > 0) && !answer.trim().to_ascii_lowercase().starts_with('n');
    if yes { Answer::Yes } else { Answer::No }
}

/// The signals of the terminal's keys: one byte for each.
struct Keys(UnixStream);

impl Keys {
    /// Caught, and not ignored, so that the editor gets their default.
    fn catch() -> std::io::Result<Keys> {
        let (pressed, handler) = UnixStream::pair()?;
        pressed.set_nonblocking(true)?;
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGQUIT] {
            signal_hook::low_level::pipe::register(signal, handler.try_clone()?)?;
        }
        Ok(Keys(pressed))
    }

    /// What came while the editor ran was meant for it.
    fn forget(&self) {
        while (&self.0).read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
    }

    /// Waits for one of the keys, or for a line on standard input.
    fn pressed_before_input(&self) -> bool {
        let stdin = std::io::stdin();
        let mut either = [PollFd::new(&self.0, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        // The handler has left its byte when it interrupts this.
        let _no_answer_either = rustix::io::retry_on_intr(|| poll(&mut either, None));
        !either[0].revents().is_empty()
    }

    /// What one of the keys cancels from now on.
    fn into_cancel(self) -> Cancel {
        let cancel = Cancel::new();
        let cancelled = cancel.clone();
        std::thread::spawn(move || {
            let mut key = [PollFd::new(&self.0, PollFlags::IN)];
            if rustix::io::retry_on_intr(|| poll(&mut key, None)).is_ok() {
                cancelled.cancel();
            }
        });
        cancel
    }
}

fn run_editor(args: &Edit, copy: &Copy) -> Result<(), Failure> {
    let (mut command, editor, by_shell) = match args.editor.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&copy.path);
            (command, format!("`{}`", program.display()), false)
        }
        None => {
            let set = |name: &'static str| {
                let line = std::env::var_os(name)?;
                (!line.as_encoded_bytes().trim_ascii().is_empty()).then_some((line, format!(" (${name})")))
            };
            let fallback = || ("vi".into(), " ($VISUAL and $EDITOR are not set)".to_owned());
            let (editor, from) = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(fallback);
            // The variables hold a command line, as git and crontab read them.
            let mut line = editor.clone();
            line.push(" \"$@\"");
            let mut command = Command::new("sh");
            command.arg("-c").arg(line).arg(&editor).arg(&copy.path);
            (command, format!("`{}`{from}", editor.display()), true)
        }
    };
    let file = args.file.display();
    let way_out = "Name another: tenure edit FILE -- EDITOR";
    let status = command.status().map_err(|error| {
        let exit =
            if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::NotExecutable };
        Failure::new(exit, format!("{file}: cannot run the editor {editor}: {error}. {way_out}"))
    })?;
    let (exit, way_out) = match status.code() {
        Some(0) => return Ok(()),
        // What the shell says of a command that it can't run.
        Some(126) if by_shell => (Exit::NotExecutable, way_out),
        Some(127) if by_shell => (Exit::NotFound, way_out),
        _ => (Exit::Data, "Nothing was written"),
    };
    Err(Failure::new(exit, format!("{file}: the editor {editor} failed ({status}). {way_out}")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a look that decides nothing: whether the file can be written is found when it is"
)]
fn has_directory(file: &Path) -> bool {
    file.parent().is_none_or(|directory| directory.as_os_str().is_empty() || directory.is_dir())
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

    fn read(&self, file: &Path) -> Result<Vec<u8>, Failure> {
        std::fs::read(&self.path).map_err(|error| {
            let problem = "the editor left no text. Nothing was written";
            let message = format!("{}: {problem} ({}: {error})", file.display(), self.path.display());
            self.kept(None, Failure::new(Exit::NoInput, message))
        })
    }

    /// The failure, and where the edited text is, if there is one, or what else the editor left: a text that was saved
    /// under another name, or what a killed editor keeps for its recovery.
    fn kept(&self, base: Option<&[u8]>, mut failure: Failure) -> Failure {
        let text = std::fs::read(&self.path).ok();
        let edited = text.as_deref().is_some_and(|mine| mine != base.unwrap_or_default());
        let Some(directory) = self.directory.take() else { return failure };
        // A directory that is gone, or can't be listed, has nothing for anybody.
        let left = std::fs::read_dir(directory.path()).map_or(0, Iterator::count);
        let (what, place) = match edited {
            true => ("Your text", self.path.as_path()),
            false => ("What the editor left", directory.path()),
        };
        if edited || left > usize::from(text.is_some()) {
            failure.message.push_str(&format!("\n  {what} is kept in {}", place.display()));
            let _stays = directory.keep();
        }
        failure
    }
}
