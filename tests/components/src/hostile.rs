//! Plugins that do what a plugin must not.

use crate::{checker, module};

/// An import that needs the grant `net.icmp`.
pub const PING: &str =
    r#"(import "iaso:plugin/net@0.1.0" "ping" (func $ping (param i32 i32 i32 i32 i32 i32 i32)))"#;
/// A body of `run` that uses it.
pub const USE_PING: &str = "(call $ping (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 128)) (i32.const 16)";

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hostile {
    /// Loops for ever.
    Loops,
    /// Takes memory for as long as there is some.
    EatsMemory,
    /// Runs into unreachable code.
    Traps,
    /// Imports what it was not granted.
    Ungranted,
    /// Is text.
    NotWasm,
    /// Is WebAssembly, and not a component.
    CoreModule,
}

impl Hostile {
    /// Everything that a compiler takes, with the class of fault that the agent must name.
    pub const COMPILED: [(Self, &'static str); 4] = [
        (Self::Loops, "deadline"),
        (Self::EatsMemory, "out-of-memory"),
        (Self::Traps, "trap"),
        (Self::Ungranted, "missing-grant"),
    ];

    /// A name for it, as a plugin is named.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loops => "loops",
            Self::EatsMemory => "eats-memory",
            Self::Traps => "traps",
            Self::Ungranted => "ungranted",
            Self::NotWasm => "not-wasm",
            Self::CoreModule => "core-module",
        }
    }

    /// Its bytes.
    ///
    /// # Panics
    /// Never, unless this crate is wrong.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Loops => checker("", "(loop $l (br $l)) (i32.const 16)"),
            Self::EatsMemory => checker("", EAT),
            Self::Traps => checker("", "unreachable"),
            Self::Ungranted => checker(PING, USE_PING),
            Self::NotWasm => b"#!/bin/sh\nexit 0\n".to_vec(),
            Self::CoreModule => {
                wat::parse_str(module("", crate::OK_EMPTY)).expect("the text is good")
            }
        }
    }
}

const EAT: &str = "(loop $l (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $l)) (i32.const 16)";
