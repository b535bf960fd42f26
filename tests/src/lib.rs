//! iaso-tests
