//! The server: accepts connections, starts and stops.
//!
//! A [`Proxy`] is everything that `proxy.yaml` describes: sockets, stack, credentials. It owns the tasks that it starts, and
//! they end with it. It prints nothing and handles no signals; the command does.

mod accept;
mod answer;
mod background;
mod caller_stream;
mod capacity;
mod connection;
mod context;
pub mod descriptors;
mod freeze_watch;
mod groups;
mod head;
mod health;
mod hostname;
mod inherited;
mod limiter;
mod listening;
pub mod memory;
mod operators;
mod outbound;
mod owner;
mod proxy;
mod running;
mod socket;
mod socket_watch;
mod state;
mod status;
mod tls;
mod trial;
mod worker;

pub use capacity::fit_limits;
pub use head::{Head, HeadFault, Recogniser};
pub use health::{Check, Health};
pub use inherited::Inherited;
pub(crate) use limiter::{ConnectionLimiter, Permit};
pub use operators::{OperatorCommand, Operators};
pub use proxy::{Proxy, StartError};
pub use running::{Drained, Running, Unfinished};
pub use socket::{SocketFile, bind_unix};
pub use status::ProxyStatus;
