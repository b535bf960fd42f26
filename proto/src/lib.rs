//! The gRPC protocol between agents, controller and operators, generated from `proto/iaso/v1/`.
//!
//! **Invariants**
//! - Nobody outside an API or session module handles these types: they are converted at the edge, once.
//! - Sets that may grow are strings with documented values, so that an old peer can meet a new value without failing.

/// Version 1 of the protocol.
#[allow(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code: its documentation is in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("iaso.v1");

    /// The encoded `FileDescriptorSet`, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

/// Largest message either side accepts, in bytes. A report beyond it is refused with `RESOURCE_EXHAUSTED`.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Largest chunk of a plugin stream, in bytes.
pub const PLUGIN_CHUNK_BYTES: usize = 256 << 10;
/// Most findings in one report; more are cut, and the cut is a finding of its own.
pub const MAX_FINDINGS: usize = 64;
/// Longest string in a finding, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;
