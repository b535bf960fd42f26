//! The real `iaso` against a controller that answers as told: exit codes, messages, following, and hostile text.

mod answers;
mod controller;
mod errors;
mod follow;
mod hostile;
mod iaso;
mod plugin;
mod policy;
mod replay;
mod simulate;
