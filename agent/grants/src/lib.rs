//! iaso-grants
