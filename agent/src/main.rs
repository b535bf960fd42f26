//! iaso-agent

fn main() {}
