//! The only unsafe line of the agent: turning compiled bytes into code.

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::digest::Digest;

/// Compiled bytes whose digest is the expected one.
pub(crate) struct Verified<'a>(&'a [u8]);

impl<'a> Verified<'a> {
    /// The bytes, if they are the expected ones; else the digest that they have.
    pub(crate) fn new(bytes: &'a [u8], expected: &Digest) -> Result<Self, Digest> {
        let found = Digest::of(bytes);
        if found == *expected {
            Ok(Self(bytes))
        } else {
            Err(found)
        }
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// Loads compiled code. wasmtime checks that it was made for this engine.
#[allow(
    unsafe_code,
    reason = "compiled code cannot be validated; the digest says that it is what our own compiler made, see `Verified`"
)]
pub(crate) fn load(engine: &Engine, code: &Verified<'_>) -> wasmtime::Result<Component> {
    // SAFETY: the bytes came from `iaso-compile` and have not changed since: whoever expects this digest got it from there.
    unsafe { Component::deserialize(engine, code.bytes()) }
}
