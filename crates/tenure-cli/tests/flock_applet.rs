//! Promise: `tenure flock`, and `tenure` under the name `flock`, take the command lines of util-linux's flock(1), answer them
//! with the same code, print the same, and leave the same files.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests look at the real system"
)]

mod common;
mod three;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use common::{TENURE, directory, run};
use three::{OURS, PEER, Programs};

/// The shell's command lines, in which `flock` is one of the three programs.
const LINES: &str = r#"
flock
flock -n
flock -x -s
flock --
flock a
flock abc
flock 9x
flock 0x1
flock -
flock ' 1'
flock +1
flock 1
flock 007
flock 99
flock -1
flock -- -1
flock -- --
flock 4294967297
flock 99999999999999999999
flock a true
flock -- a true
flock - true
flock '' true
flock a ''
flock a a
flock a a b c
flock a ./nothing
flock a no-such-program
flock a /
flock a -- true
flock a --comm 'echo hi'
flock a ./script one two
flock a script one two
flock -F a ./script one two
flock a ./garbage
flock -F a ./nothing
flock a -c 'echo hi; exit 7'
flock a --command 'echo hi >&2'
flock a -c
flock a -c 'echo hi' more
flock a -c -- true
flock a -c true --
flock a -c ''
flock -c a 'echo hi'
flock -ca true
SHELL=/bin/echo flock a -c 'x  y'
SHELL= flock a -c 'echo "$0"'
unset SHELL; flock a -c 'echo "$0"'
SHELL=./nothing flock a -c 'echo "$0"'
flock a sh -c 'exit 255'
flock a sh -c 'kill -9 $$'
flock a sh -c 'kill -TERM $$'
flock -F a sh -c 'kill -TERM $$'; echo $?
flock a echo -n --verbose -x
flock a cat
echo untouched | flock a cat
{ echo one; echo two; } | { flock a true; cat; }
flock -o a sh -c 'ls -l /proc/self/fd 2>/dev/null | grep -c /a$'
flock a sh -c 'ls -l /proc/self/fd 2>/dev/null | grep -c /a$'
flock -F a sh -c 'ls -l /proc/self/fd 2>/dev/null | grep -c /a$'
flock -s -x a true
flock -xsun a echo hi
flock -e -o a true
flock -oF a true
flock -o -F
flock -u a echo hi
flock -? a true
flock -Z a true
flock -xZ a true
flock -x-n a true
flock -Z -h
flock -w x -h
flock -h -Z >/dev/null
flock -hn >/dev/null
flock -V -w x >/dev/null
flock --h >/dev/null
flock -h >/dev/full
flock -V >/dev/full
flock --verbose a true >/dev/full
flock --bogus a true
flock --bogus=3 a true
flock --= a
flock --=x a
flock --n a true
flock --n=3 a true
flock --no a true
flock --no-f a true
flock --nonb a true
flock --nonblock a true
flock --nonblocking a true
flock --nb a true
flock --v a true
flock --ver
flock --verb a true >/dev/null
flock --c a true
flock --cl a true
flock --co a true
flock --con 3 a true
flock --conflict-exit-code=3 a true
flock --e a true
flock --ex a true
flock --s a true
flock --shared=3 a true
flock --shar=3 a true
flock --u a true
flock --t 5 a true
flock --timeo=5 a true
flock --wait
flock --wai
flock --wait=0 a true
flock --wait= a true
flock --wait a true
flock -w
flock -xw
flock -w0 a true
flock -nw0 a true
flock -xw5 a true
flock -w 0.25 a true
flock -w .5 a true
flock -w 1. a true
flock -w +.5 a true
flock -w ' 1' a true
flock -w '1 ' a true
flock -w 1e3 a true
flock -w 1e400 a true
flock -w 1e-400 a true
flock -w -0.00000001 a true
flock -w -0.5 a true
flock -w -1 a true
flock -n -w -1 a true
flock -w -1 1
flock -w nan a true
flock -w inf a true
flock -w 9999999999 a true
flock -w 9223372036854774784 a true
flock -w 9223372036854775807 a true
flock -w 99999999999999999999 a true
flock -w abc a true
flock -w '' a true
flock -w . a true
flock -w 1e a true
flock -w .5s a true
flock -w 0,5 a true
flock -w -- -1 a true
flock -E
flock -E 0 a true
flock -E255 a true
flock -E 256 a true
flock -E 300 a true
flock -E -1 a true
flock -E -0 a true
flock -E +5 a true
flock -E ' 5' a true
flock -E '5 ' a true
flock -E 5x a true
flock -E x a true
flock -E '' a true
flock -E + a true
flock -E 0x10 a true
flock -E 2147483648 a true
flock -E 99999999999999999999 a true
flock missing/file true
flock a/file true
flock loop true
flock dangling true
flock -n link true
flock folder ls folder
flock -s folder true
flock folder/ true
flock new/ true
flock /dev/null echo hi
flock /proc/version echo hi
flock /proc/new true
flock "$(printf '%0300d' 1)" true
exec 9>nine; flock 9; echo $?
exec 9>nine; flock -s 9; flock -x 9; flock -u 9; echo $?
exec 9<folder; flock -n 9; echo $?
exec 9>nine; flock 9 true
flock -n a flock -n a true
flock -n a flock -n -E 7 a true
flock -s a flock -ns a echo both
flock -s a flock -nx -E 9 a echo both
flock -n a flock -w 0 -E 0 a echo no
flock -n a flock -w 0.01 -E 4 a echo no
flock -n a flock -n --verbose a echo no
flock -n a flock -w 0.01 --verbose a echo no
flock -n a flock -w 0.00001 --verbose a echo no
flock -u a flock -n a echo yes
flock -u a flock -u -n a echo yes
flock -no a flock -n a echo no
flock a sh -c 'exec 9<a; flock -n 9; echo $?'
flock --verbose a true
flock --verbose -u a true
flock --verbose a ./nothing
flock --verbose 1 >out
trap '' CHLD; flock a sh -c 'exit 3'
trap '' CHLD; flock a sh -c 'grep SigIgn /proc/$$/status | tail -c 8'
trap '' INT TERM; flock a sh -c 'grep SigIgn /proc/$$/status | tail -c 8'
trap '' PIPE; flock a sh -c 'grep SigIgn /proc/$$/status | tail -c 8'
trap '' PIPE; flock -F a sh -c 'grep SigIgn /proc/$$/status | tail -c 8'
trap '' PIPE; flock -c x a | true
flock -w 5 a sh -c 'grep -E "Sig(Ign|Blk|Cgt)" /proc/$$/status | tail -c 8'
flock -F -w 5 a sh -c 'sleep 0.05; grep SigIgn /proc/$$/status | tail -c 8'
exec <&-; flock a true
exec <&-; flock 0
exec <&-; flock a cat
exec >&-; flock 1
exec >&-; flock a sh -c 'echo hi 2>/dev/null'
exec >&-; flock -h
exec 2>&-; flock a ./nothing
exec 2>&-; flock -n a flock -n --verbose a true
(exec <&- >&- 2>&-; flock a sh -c "ls /proc/self/fd >out 2>/dev/null"); cat out
umask 077; flock a true; stat -c %a a
umask 0; flock a true; stat -c %a a
umask 022; flock -n folder/b true; stat -c %a folder/b
env -i "$(command -v flock)" a /bin/echo hi
"#;

/// What was printed, without the time that a lock took, with our second name made the first, and sorted: flock(1) keeps
/// its `--verbose` lines back until the command has written its own.
fn comparable(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| {
        let line = line.replace("tenure flock", "flock");
        match line.split_once("lock took ") {
            Some((before, time)) => {
                let (seconds, unit) = time.split_once(' ').unwrap();
                assert!(seconds.parse::<f64>().is_ok() && seconds.len() == 8, "{line}");
                format!("{before}lock took T {unit}")
            }
            None => line,
        }
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// Runs every line by all three programs; `prefix` stands before each.
fn assert_same(prefix: &str, lines: &str) {
    let programs = Programs::new();
    let mut different = Vec::new();
    for line in lines.lines().map(|line| format!("{prefix}{line}")).filter(|line| line.contains("flock")) {
        let (theirs, their_files) = programs.run(PEER, &line);
        for program in OURS {
            let (ours, our_files) = programs.run(program, &line);
            let same = theirs.status == ours.status
                && comparable(&theirs.stdout) == comparable(&ours.stdout)
                && comparable(&theirs.stderr) == comparable(&ours.stderr)
                && their_files == our_files;
            if !same {
                different.push(format!(
                    "{line}\n  {theirs:?} {their_files:?}\n  {program}: {ours:?} {our_files:?}"
                ));
            }
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

#[test]
fn command_lines_are_answered_as_flock_1_answers_them() {
    assert_same("", LINES);
}

/// The superuser's privileges are dropped: they open everything.
#[test]
fn files_that_may_not_be_opened_are_answered_as_flock_1_answers_them() {
    let drop_privileges = match rustix::process::geteuid().is_root() {
        true => {
            "test -n \"$dropped\" || exec env dropped=1 setpriv --inh-caps=-all --bounding-set=-all bash \"$0\"; "
        }
        false => "",
    };
    let lines = [("444", "true"), ("222", "true"), ("000", "true"), ("444", "sh -c 'echo hi >>a'")]
        .map(|(mode, command)| format!("echo text >a; chmod {mode} a; flock -x a {command}; echo $?; cat a"));
    let folder =
        "chmod 500 folder; flock folder true; echo $?; flock folder/new true; echo $?; chmod 700 folder";
    assert_same(drop_privileges, &[&lines.join("\n"), folder].join("\n"));
}

/// Faults that can't be had otherwise: what the calls on the lock file answer is up to strace.
#[test]
fn failing_calls_are_answered_as_flock_1_answers_them() {
    let faults = [
        ("open,openat", "ENOMEM", "1+"),
        ("open,openat", "EMFILE", "1+"),
        ("open,openat", "ENFILE", "1+"),
        ("open,openat", "EROFS", "1+"),
        ("open,openat", "ENOSPC", "1+"),
        ("open,openat", "EIO", "1+"),
        ("open,openat", "EISDIR", "1"),
        ("flock", "EBADF", "1"),
        ("flock", "EBADF", "1+"),
        ("flock", "EIO", "1"),
        ("flock", "ENOLCK", "1+"),
        ("flock", "ENOMEM", "1+"),
        ("flock", "EINVAL", "1+"),
        ("flock", "EINTR", "1..5"),
    ];
    let lines = faults.iter().flat_map(|(call, fault, when)| {
        ["", "-s", "-w 5"].map(|options| {
            format!(
                "touch a; strace -qq -P a -o log -e trace=open,openat,flock -e signal=none \
                 -e inject={call}:error={fault}:when={when} \"$(command -v flock)\" {options} a sh -c 'echo hi' \
                 2>said; echo $?; grep -v ^strace: said >&2; \
                 sed 's/^[0-9]* //; s/^open(/openat(/; s/AT_FDCWD, //; s/|O_LARGEFILE//; s/([0-9]*,/(FD,/; s/ *=.*//' log"
            )
        })
    });
    assert_same("", &lines.collect::<Vec<_>>().join("\n"));
}

/// A message that begins with the name as it was called, where `getopt_long` speaks, and with its last part elsewhere.
#[test]
fn it_goes_by_the_name_that_it_was_called() {
    let programs = Programs::new();
    for line in ["-Z", "--ver", "", "-E x 1", "99"] {
        let call = |program: &str| {
            let (ended, _) = programs
                .run(program, &format!("{}/flock {line}", programs.folder.path().join(program).display()));
            ended.stderr.replace(&format!("/{program}/"), "/")
        };
        assert_eq!(call(OURS[0]), call(PEER), "{line}");
    }
    let other = run(Command::new("bash").args(["-c", &format!("exec -a flocks '{TENURE}' -Z")]));
    assert!(other.stderr.contains("Usage: "), "another name is not flock: {}", other.stderr);
}

#[test]
fn help_and_version_tell_what_flock_1_tells() {
    let programs = Programs::new();
    let (theirs, _) = programs.run(PEER, "flock --help");
    let word = |text: &str| text.trim_matches(|c: char| !c.is_alphabetic() && c != '-').to_owned();
    let options = |text: &str| -> Vec<String> {
        text.split_whitespace().map(word).filter(|word| word.starts_with('-')).collect()
    };
    for program in OURS {
        for line in ["flock -h", "flock --help", "flock -x --hel whatever"] {
            let (ours, _) = programs.run(program, line);
            assert_eq!((ours.code(), ours.stderr.as_str()), (Some(0), ""));
            assert!(ours.stdout.contains("\nUsage:\n"), "{}", ours.stdout);
            let told = options(&ours.stdout);
            assert!(options(&theirs.stdout).len() > 20);
            for option in options(&theirs.stdout) {
                assert!(told.contains(&option), "{option}: {}", ours.stdout);
            }
        }
        let (ours, _) = programs.run(program, "flock -V");
        let name = if program == OURS[0] { "flock" } else { "tenure flock" };
        assert_eq!(ours.stdout, format!("{name} from tenure {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn a_verbose_line_comes_before_what_the_command_prints() {
    let programs = Programs::new();
    for options in ["--verbose", "--verbose -F"] {
        let (ended, _) = programs.run(OURS[0], &format!("flock {options} a echo hi"));
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert!(lines[0].starts_with("flock: getting lock took 0."), "{lines:?}");
        assert_eq!(lines[1..], ["flock: executing echo", "hi"]);
    }
}

/// Paths and arguments are bytes.
#[test]
fn a_name_that_is_no_text_is_left_as_it_is() {
    let strange = |prefix: &str| OsString::from_vec([prefix.as_bytes(), b"\xff\xfe"].concat());
    let at = directory();
    let call = |program: &Path, arguments: &[&OsStr]| {
        let output = Command::new(program).args(arguments).current_dir(&at).output().unwrap();
        (output.status.code(), output.stdout, output.stderr)
    };
    let programs = Programs::new();
    let program = |name: &str| programs.folder.path().join(name).join("flock");
    let (file, missing, option) = (strange("a"), strange("missing/"), strange("--"));
    let table: [&[&OsStr]; 5] = [
        &[&file, "echo".as_ref(), &file],
        &[&missing, "true".as_ref()],
        &["a".as_ref(), &missing],
        &["-w".as_ref(), &file, "a".as_ref(), "true".as_ref()],
        &[&file],
    ];
    for arguments in table {
        assert_eq!(call(&program(OURS[0]), arguments), call(&program(PEER), arguments), "{arguments:?}");
    }
    assert!(at.path().join(&file).exists());
    assert_eq!(call(&program(OURS[0]), &[&option]).0, Some(64));
}
