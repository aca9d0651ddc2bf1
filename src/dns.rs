//! TXT records for DNS-01 (RFC 8555 §8.4): where they belong, who sets them, who sees them.
//!
//! A [`Provider`] sets and unsets one value at one name; [`PROVIDERS`] lists all that are built. An
//! [`Engine`], one for each resolver, does everything else with them. Whoever drives an order goes
//! this way for each authorization:
//!
//! 1. [`Engine::task`]: DNS is asked once where the record belongs; the [`Task`] is stored, before
//!    anything is set, so that whatever happens the record can be taken away
//! 2. [`Engine::chosen`] → [`Account`]: of a [`Chosen::Static`] the variables are
//!    [`Variables::of_process`], of a [`Chosen::Solver`] the values of its Secrets, read now, in
//!    [`Variables::given`]
//! 3. [`Engine::turn`]: most providers do many records at once; one that cannot gives a [`Turn`] to
//!    keep until step 6 is done
//! 4. [`Engine::set`] → [`Handle`], to be stored with its task. A crash between the two loses
//!    nothing: the same step again makes no second record, and [`Engine::unset`] works without
//! 5. [`Engine::wait_visible`] for the tasks of the order together; meanwhile [`Engine::asks`] says
//!    for the status if a person must act. Then the CA is told
//! 6. [`Engine::unset`] as soon as the authorization is valid or invalid, with the handle if there
//!    is one; after success task and handle are forgotten. It may be done twice
//!
//! HTTP goes out through an [`Exchange`], mostly a [`crate::http::Client::for_apis`] with the
//! process's proxy: roots and server name of a CA are not those of a provider.
//!
//! Task and handle are serde values. Each step is bounded in time and may be done again after any
//! error: [`Error::Unreachable`] and [`Error::Lookup`] tell of no answer, [`Error::Busy`] that a
//! provider asks to wait, [`Error::Settings`], [`Error::Alias`] and [`Error::NoZone`] of what a
//! person must mend, [`Error::Refused`] of a provider's no, [`Error::NotVisible`] that the record
//! is set but some server has it not. Root and wildcard of a domain share a name and have two
//! values: two tasks. An account is read anew for each step, so that rotated credentials need no
//! restart.

mod answer;
mod answers;
mod api;
mod engine;
mod error;
mod lookup;
mod provider;
mod providers;
mod servers;
mod tsig;
mod variables;
mod visible;
mod wire;

pub use crate::dns::api::{Api, Call, Reply, escape};
pub use crate::dns::engine::{Account, Chosen, Engine, Turn};
pub use crate::dns::error::Error;
pub use crate::dns::provider::{
    Context, Done, Entry, Exchange, FindZone, Handle, Provider, Task, Timing, Visibility, Zones,
};
pub use crate::dns::providers::{PROVIDERS, provider};
pub use crate::dns::variables::Variables;
pub use crate::dns::wire::Transport;

#[cfg(test)]
mod tests;
