//! iaso-providers
