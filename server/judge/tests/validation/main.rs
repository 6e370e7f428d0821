//! The judge against simulated canaries: its error bounds, and the figures of its specification.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
#![allow(unreachable_pub, dead_code, missing_docs, reason = "the power example shares the simulation")]

mod figures;
mod null;
mod simulation;
