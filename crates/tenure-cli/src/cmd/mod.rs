//! One file for each command.

pub(crate) mod get;
pub(crate) mod manual;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod update;
