//! A change that takes long: it works on a snapshot while nobody is kept waiting, and is committed afterwards.
//!
//! 1. [`Document::edit`] reads the document without a lock and remembers its version. 2. The caller works on the
//!    [`Draft`] for as long as it likes. 3. [`Draft::commit`] takes the lock and reads again. If the document is what it
//!    was, the draft is written. If others changed it meanwhile, both changes are made where they do not meet; where they
//!    do, nothing is written, and the caller gets the draft back with what clashes. [`Draft::commit_or_redo`] applies a
//!    function to the fresh document instead.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::three_way::{self, Clash};
use super::value::Value;
use super::{Document, Outcome, Receipt, Version, content, merge, update};
use crate::error::{Error, Result};
use crate::host::{Host, Native};
use crate::wait::Patience;

/// A document's content, to be changed at leisure. Dropping it changes nothing.
pub struct Draft<T, H: Host = Native> {
    document: Document<H>,
    version: Version,
    /// The document as it was read.
    base: Value,
    /// The caller's model of it.
    before: Value,
    model: T,
}

/// A commit that did not happen, with the draft: nothing is lost.
pub struct Uncommitted<T, H: Host = Native> {
    draft: Draft<T, H>,
    error: Error,
    clashes: Vec<Clash>,
}

impl<H: Host> Document<H> {
    /// Takes a snapshot to work on without a lock, for changes that take longer than others should wait.
    ///
    /// # Errors
    ///
    /// As for [`Document::read`]; [`Error::is_corrupt`] also for a text that could be read but not edited.
    ///
    /// # Examples
    ///
    /// ```
    /// use tenure::{Document, Wait, document::Value};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("global.yaml.json");
    /// let document = Document::open(&path);
    /// let mut draft = document.edit::<serde_json::Value>()?;
    /// draft["version"] = "2.0".into(); // after a download of minutes, say
    /// document.update(Wait::Forever, |state: &mut serde_json::Value| state["user"] = "eve".into())?;
    /// draft.commit(Wait::Forever)?;
    /// assert_eq!(document.read_value()?.to_string(), r#"{"user":"eve","version":"2.0"}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn edit<T: Serialize + DeserializeOwned>(&self) -> Result<Draft<T, H>> {
        let bytes = content::found(self)?;
        let base = content::editable_value(self, bytes.as_deref())?;
        let model: T = content::model(self, bytes.as_deref(), &base)?;
        let before = content::to_value(self.path(), &model)?;
        let version = Version::of(bytes.as_deref());
        Ok(Draft { document: self.clone(), version, base, before, model })
    }
}

impl<T: Serialize + DeserializeOwned, H: Host> Draft<T, H> {
    /// The version that the draft began with.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Writes the draft, together with what others changed since it was read.
    ///
    /// # Errors
    ///
    /// All of [`Document::update`]; [`Error::is_conflict`] if others changed the same fields: see
    /// [`Uncommitted::clashes`].
    pub fn commit(self, wait: impl Into<Patience>) -> std::result::Result<Receipt, Box<Uncommitted<T, H>>> {
        let mut clashes = Vec::new();
        match self.try_commit(&wait.into(), &mut clashes) {
            Ok(receipt) => Ok(receipt),
            Err(error) => Err(Box::new(Uncommitted { draft: self, error, clashes })),
        }
    }

    /// Writes the draft if nobody changed the document since it was read; otherwise reads it anew and runs `change` on
    /// that, as [`Document::update`] does. The draft's own changes are then dropped: `change` must make them again.
    ///
    /// # Errors
    ///
    /// All of [`Document::update`].
    pub fn commit_or_redo<O: Outcome>(
        self,
        wait: impl Into<Patience>,
        mut change: impl FnMut(&mut T) -> O,
    ) -> Result<Receipt> {
        let after = content::to_value(self.document.path(), &self.model)?;
        update::step(&self.document, &wait.into(), &mut |bytes| match Version::of(bytes) == self.version {
            true => content::carry_over(&self.document, bytes, &self.base, &self.before, &after),
            false => content::with_model(&self.document, bytes, &mut change),
        })
    }

    fn try_commit(&self, wait: &Patience, clashes: &mut Vec<Clash>) -> Result<Receipt> {
        let path = self.document.path();
        let rejected = |problem: &str| Error::rejected(path, problem, None);
        let after = content::to_value(path, &self.model)?;
        let mine = merge::merge(&self.base, &self.before, &after).map_err(rejected)?;
        update::step(&self.document, wait, &mut |bytes| {
            if Version::of(bytes) == self.version {
                return content::carry_over(&self.document, bytes, &self.base, &self.before, &after);
            }
            let theirs = content::editable_value(&self.document, bytes)?;
            match three_way::merge(&self.base, &theirs, &mine) {
                Ok(merged) => content::carry_over(&self.document, bytes, &theirs, &theirs, &merged),
                Err(found) => {
                    let places: Vec<&str> = found.iter().map(|clash| clash.place.as_str()).collect();
                    let problem = format!(
                        "was changed by others in the same places: {}. Nothing was written",
                        places.join(", ")
                    );
                    *clashes = found;
                    Err(Error::conflict(path, problem))
                }
            }
        })
    }
}

impl<T, H: Host> Deref for Draft<T, H> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.model
    }
}

impl<T, H: Host> DerefMut for Draft<T, H> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.model
    }
}

impl<T, H: Host> Uncommitted<T, H> {
    /// Why the draft was not written.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What both sides changed; empty if the commit failed for another reason.
    pub fn clashes(&self) -> &[Clash] {
        &self.clashes
    }

    /// The draft, to be committed again, or saved elsewhere.
    pub fn into_draft(self) -> Draft<T, H> {
        self.draft
    }
}

impl<T, H: Host> From<Box<Uncommitted<T, H>>> for Error {
    fn from(uncommitted: Box<Uncommitted<T, H>>) -> Error {
        uncommitted.error
    }
}

impl<T, H: Host> fmt::Display for Uncommitted<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T, H: Host> std::error::Error for Uncommitted<T, H> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<T, H: Host> fmt::Debug for Uncommitted<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uncommitted")
            .field("error", &self.error)
            .field("clashes", &self.clashes)
            .finish_non_exhaustive()
    }
}

impl<T, H: Host> fmt::Debug for Draft<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("document", &self.document)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
