//! iaso-host
