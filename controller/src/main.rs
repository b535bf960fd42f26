//! iaso-controller

fn main() {}
