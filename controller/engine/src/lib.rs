//! iaso-engine
