//! One file for each command.

pub(crate) mod break_lock;
pub(crate) mod edit;
pub(crate) mod flock;
pub(crate) mod get;
mod kind;
pub(crate) mod lock;
pub(crate) mod manual;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod undo;
pub(crate) mod update;
