//! iaso-compile

fn main() {}
