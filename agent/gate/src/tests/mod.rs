//! The gate against the real kernel.

mod fixture;
mod listeners;
mod model;
mod queues;
mod removal;
mod restore;
mod steering;
