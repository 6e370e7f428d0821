//! The wire protocol `handover.v1`: generated code, and the one place where wire types become domain types.

pub mod convert;
pub mod status;
pub mod version;

/// What the compiler made of `proto/handover/v1/*.proto`.
#[allow(missing_docs, unreachable_pub, rustdoc::all, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("handover.v1");

    /// The protocol's own description: a serialised `FileDescriptorSet`.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
