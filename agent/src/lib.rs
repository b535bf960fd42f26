//! iaso-agent
