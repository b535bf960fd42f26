//! iaso-controller
