//! The real parts that the integration tests and the demo stand on; both mount this tree.

pub mod alone;
pub mod ca;
pub mod client;
pub mod cluster;
pub mod faults;
pub mod front;
pub mod keys;
pub mod lets_encrypt;
pub mod named;
pub mod process;
pub mod routecert;
pub mod stand;
pub mod step_ca;
pub mod tools;
pub mod upstream;
pub mod wait;
