//! One file for each command.

pub(crate) mod append;
pub(crate) mod break_lock;
pub(crate) mod edit;
pub(crate) mod flock;
pub(crate) mod get;
mod kind;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod manual;
mod receipt;
pub(crate) mod repair;
pub(crate) mod reset;
pub(crate) mod rotate;
pub(crate) mod run;
pub(crate) mod run_lease;
mod show;
mod signals;
pub(crate) mod status;
pub(crate) mod undo;
pub(crate) mod update;
pub(crate) mod verify;
