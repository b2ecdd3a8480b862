//! One change of several documents.
//!
//! 1. Take the locks of all, in the order of directory and name, so that two who want the same documents never wait for
//!    each other. 2. Read all. 3. Run the updater on all values. 4. Write every new version to a file of its own,
//!    complete and synced, and raise the fences. 5. Look whether all documents and locks are as they were; start again if
//!    not. 6. Rename them into place, one after the other. 7. Sync the directories; release.
//!
//! Up to step 5, any failure leaves all documents as they were. The renames of step 6 are not one step: a crash between
//! two leaves the first ones changed and the others not, each whole. Readers without a lock may see that, too.

use super::content::{self, Outcome};
use super::replace::{Found, Place, Prepared};
use super::value::Value;
use super::{Document, Receipt, Version, combine, fence, update, versions};
use crate::error::{Error, Result};
use crate::host::{FileId, Host, directory_of};
use crate::lock::Held;
use crate::wait::Patience;

use std::ffi::OsString;
use std::path::PathBuf;

/// Changes several documents together: `change` gets their values, in the order of `documents`, and all locks are held
/// while it runs. Either it fails and nothing is written, or every changed document is.
///
/// **Not atomic as a set:** each document is replaced whole, but if the machine stops between two of the replacements, the
/// first are changed and the others not. An order in which that is harmless is the caller's to choose: the documents are
/// replaced in the order given.
///
/// # Errors
///
/// As for [`Document::transform`]; [`Error::is_rejected`] if one document is named twice. If a replacement fails after
/// another was done, the error says which documents are changed already.
///
/// # Examples
///
/// ```
/// use tenure::{Document, Wait, document::{Value, update_all}};
///
/// # let directory = tempfile::tempdir()?;
/// let queue = Document::open(directory.path().join("queue.json")).initial(&["job"])?;
/// let done = Document::open(directory.path().join("done.json")).initial(&[""; 0])?;
/// update_all(&[done, queue], Wait::Forever, |values| match values {
///     [Value::Array(done), Value::Array(queue)] => Ok(done.append(queue)),
///     _ => Err("both must be arrays"),
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn update_all<H: Host, O: Outcome>(
    documents: &[Document<H>],
    wait: impl Into<Patience>,
    mut change: impl FnMut(&mut [Value]) -> O,
) -> Result<Vec<Receipt>> {
    let patience = wait.into();
    let Some(first) = documents.first() else { return Ok(Vec::new()) };
    for _ in 0..update::ROUNDS_MAX {
        let locked = lock_all(documents, &patience)?;
        let mut steps = locked.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut values: Vec<Value> = steps.iter().map(|step| step.value.clone()).collect();
        change(&mut values).outcome().map_err(|error| content::failed(&first.path, error))?;
        for (step, new) in steps.iter_mut().zip(&values) {
            step.prepare(new)?;
        }
        if raise_fences(&steps)? && all_current(&steps)? {
            return replace_all(&mut steps);
        }
    }
    Err(update::replaced_each_time(first))
}

/// A document with its lock.
struct Locked<'d, H: Host> {
    document: &'d Document<H>,
    target: PathBuf,
    held: Held<H>,
}

/// What is done to one document.
struct Step<'l, H: Host> {
    locked: &'l Locked<'l, H>,
    place: Place<'l, H>,
    found: Option<Found<H::File>>,
    value: Value,
    /// The new version, unless the old one stays.
    prepared: Option<(Prepared<H>, Version)>,
}

/// All locks, in the order of the documents, taken in an order that is the same for everyone.
fn lock_all<'d, H: Host>(documents: &'d [Document<H>], patience: &Patience) -> Result<Vec<Locked<'d, H>>> {
    let mut order = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        content::format(document)?;
        let target = update::resolve(&document.host, &document.path)?;
        order.push((key(document, &target)?, index, target));
    }
    order.sort();
    if let Some(pair) = order.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let document = &documents[pair[1].1];
        return Err(Error::rejected(&document.path, "is named twice in one update", None));
    }
    let mut locked = Vec::new();
    for (_, index, target) in order {
        let document = &documents[index];
        let held = combine::lock(document, &target)?.acquire(patience.clone())?;
        locked.push((index, Locked { document, target, held }));
    }
    locked.sort_by_key(|(index, _)| *index);
    Ok(locked.into_iter().map(|(_, locked)| locked).collect())
}

/// Names a document whatever path leads to it.
fn key<H: Host>(document: &Document<H>, target: &std::path::Path) -> Result<(FileId, OsString)> {
    let fail = |errno| Error::host("look at the directory of the file", target, errno);
    let directory = document.host.stat(&directory_of(target)).map_err(fail)?;
    Ok((directory.id, target.file_name().unwrap_or_default().to_owned()))
}

fn read<'l, H: Host>(locked: &'l Locked<'l, H>) -> Result<Step<'l, H>> {
    let Locked { document, target, .. } = locked;
    let place = Place { host: &document.host, path: target, durability: document.durability };
    crate::scratch::sweep(&document.host, target);
    let found = place.read()?;
    update::refuse_hard_links(target, found.as_ref())?;
    let bytes = found.as_ref().map(|found| found.bytes.as_slice());
    fence::admit(document, target, None)?;
    update::expect_version(document, bytes)?;
    let value = content::editable_value(document, bytes)?;
    Ok(Step { locked, place, found, value, prepared: None })
}

impl<H: Host> Step<'_, H> {
    fn prepare(&mut self, new: &Value) -> Result<()> {
        let (document, old) = (self.locked.document, self.found.as_ref().map(|found| found.bytes.as_slice()));
        let bytes = content::carry_over(document, old, &self.value, &self.value, new)?;
        if let Some(bytes) = bytes.filter(|bytes| Some(bytes.as_slice()) != old) {
            let prepared = self.place.prepare(&bytes, self.found.as_ref(), document.mode)?;
            if let (Some(count), Some(found)) = (document.versions_kept, &self.found) {
                versions::keep(&self.place, found, count)?;
            }
            self.prepared = Some((prepared, Version::of(Some(&bytes))));
        }
        Ok(())
    }
}

/// All fences, before the first document is replaced.
fn raise_fences<H: Host>(steps: &[Step<'_, H>]) -> Result<bool> {
    for step in steps {
        if !step.locked.held.is_mine() {
            return Err(update::forked(&step.locked.target));
        }
        if !fence::raise(&step.place, step.found.as_ref(), step.locked.document.wishes())? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn all_current<H: Host>(steps: &[Step<'_, H>]) -> Result<bool> {
    for step in steps {
        if !step.locked.held.is_current()? || !step.place.is_unchanged(step.found.as_ref())? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn replace_all<H: Host>(steps: &mut [Step<'_, H>]) -> Result<Vec<Receipt>> {
    let mut done: Vec<String> = Vec::new();
    for step in steps.iter_mut() {
        let Some((prepared, _)) = &mut step.prepared else { continue };
        let gone =
            || Error::conflict(step.place.path, "its lock file was deleted while it was being changed");
        let committed = step.place.commit(prepared).and_then(|done| if done { Ok(()) } else { Err(gone()) });
        committed.map_err(|error| error.after(&done))?;
        done.push(step.place.path.display().to_string());
    }
    let receipts = steps.iter().map(|step| {
        Ok(match &step.prepared {
            Some((prepared, version)) => {
                Receipt { changed: true, version: *version, durability: step.place.settle(prepared) }
            }
            None => {
                let bytes = step.found.as_ref().map(|found| found.bytes.as_slice());
                let durability = step.place.settle_unchanged(step.found.as_ref())?;
                Receipt { changed: false, version: Version::of(bytes), durability }
            }
        })
    });
    receipts.collect::<Result<Vec<_>>>().map_err(|error| error.after(&done))
}
