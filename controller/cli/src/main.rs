//! iaso-cli

fn main() {}
