//! What the services that tests deploy have in common: the sockets that they were started with, and a way to their end
//! that fails no request.

mod accept;
mod drain;
mod sockets;

pub use accept::{Terminate, accept, http1};
pub use drain::{Drain, Gone, Guard, Phase};
pub use sockets::{SocketsError, listeners};
