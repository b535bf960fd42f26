//! iaso-engine-check
