//! `routecert` gets and keeps certificates for the routes of a Kubernetes cluster, and serves them.
//!
//! The binary has two long-running halves. The **controller** watches IngressRoutes, derives which
//! certificates they lead to, gets them from an ACME server (RFC 8555) and stores them as TLS
//! Secrets. The **proxy** ends TLS with those Secrets, answers the CA's challenges and forwards
//! to one upstream. They never name each other: they meet in the [`store`]. [`cli`] starts one of
//! them or both.
//!
//! # The way of the data
//!
//! Each arrow is one function; what comes out of it goes into the next.
//!
//! - object or file → [`source::all`] watches every kind of routes, and what they refer to
//! - → [`route::read`], of files [`route::file::routes`] → [`route::Route`]: the only place that
//!   looks into a route, with [`rule`] and [`name`] inside; a refusal is a value too
//! - → [`world::World::apply`] → [`world::Changed`]: the certificates that changed; identity is
//!   [`cert::Id::of`]; inside are derivation, who owns a host, which wildcard covers which names,
//!   and which Secrets are to be filled. `routecert plan` is the way up to here
//! - → [`plan::decide`] → [`plan::Decision`]: for one certificate the step, the reason, when to
//!   look again, what to show
//! - → [`budget::Budget::grant`]: those whose turn it is, as far as the CA's limits allow
//! - → [`issue::drive`] carries out one order: [`order::next`] says what to store and the one thing
//!   to do, [`acme::Account`] does it at the CA, and again
//! - → [`store::Store::keep`]: key and chain in one conditional write
//! - → [`store::Store::certificates`] → [`store::Change`]: changes, never snapshots of everything;
//!   the controller reads them again, for status, copies and AcmeCertificates
//! - → [`proxy::run`]: one entry swapped, then picked by name in every handshake
//!
//! Challenges go beside it: [`store::Table::present`] → ConfigMaps → [`store::Store::challenges`] →
//! the proxy, where [`challenge::Answer::for_host`] is the reply to HTTP-01 and
//! [`challenge::alpn_certificate`] that to TLS-ALPN-01. TXT records go by [`dns::Engine`].
//!
//! # Layers
//!
//! A module names only modules of lower layers; a test (`tests/it/layers.rs`) holds this, for the
//! inside of [`controller`] and [`proxy`] too, and that the pure modules have no effects.
//!
//! | layer | modules | |
//! |---|---|---|
//! | 0 | [`name`], [`provider`], [`metrics`] | the first two pure |
//! | 1 | [`rule`], [`cert`] | pure |
//! | 2 | [`resolver`] | pure |
//! | 3 | [`mod@http`] | outgoing HTTPS |
//! | 4 | [`api`], [`config`], [`challenge`], [`dns`] | the first three pure, but for the files that [`config::read`] reads |
//! | 5 | [`route`], [`order`], [`cluster`] | the first two pure |
//! | 6 | [`source`], [`world`], [`budget`], [`acme`], [`store`] | `world` and `budget` pure |
//! | 7 | [`plan`], [`issue`] | `plan` pure |
//! | 8 | [`controller`], [`proxy`] | |
//! | 9 | [`admin`] | |
//! | 10 | [`cli`] | |
//!
//! # Records and the order of writes
//!
//! Two namespaces. The **controller's** holds what no proxy may read: a state Secret for each
//! certificate ([`order::State`]), a Secret for each account ([`store::AccountRecord`]), the Lease.
//! The **certificates** namespace holds the certificates and the challenge table, eight ConfigMaps.
//! Every write of a record names the version that it replaces; whoever loses reads again.
//!
//! For one certificate ([`issue::drive`]):
//!
//! 1. the state is read afresh; a key is made; newOrder; **S1** state with order URL and key
//! 2. DNS-01: **S2** the records as intended; they are set; **S3** as made, with what unsets them
//! 3. **C1** the other answers in the challenge table; our watch shows them; the CA is told and
//!    polled, and each answer taken away as soon as its authorization is settled (**C2**)
//! 4. finalize with the stored key; download
//! 5. **K1** the certificate Secret
//! 6. **S4** state: counted, the order over, the failures forgotten; then copies and status
//!
//! Without a cluster (`routecert run` with `providers.file`) the same records are in files, behind
//! the same [`store::Store`]: certificates in Traefik's `acme.json`, states and accounts in
//! `.state` beside it, the challenge table in memory. A lock on the file takes the place of the
//! Lease, the log that of status. What is in an `acme.json`, and what [`cli`] imports, counts as
//! issued by the resolver that it is filed under, and is removed only after a route has wanted it.
//!
//! An account's key is stored before it is registered, its URL after; a stored key is looked for at
//! the CA before it is registered. Killed anywhere, the next
//! driver reads the state and asks the CA for the stored order. Before S1 nothing but one
//! unfinished order is lost; after K1 only S4 is missing.
//!
//! # Invariants
//!
//! - Decisions are values of pure functions; effects carry them out. Time and chance are arguments.
//! - Nothing that is needed lives only in memory. Key and chain change in one write.
//! - Only the holder of the Lease acts: a [`cluster::Fence`] on its monotonic clock closes before
//!   anybody else may begin, and is asked before each effect.
//! - A source that cannot be read is not a deleted route.
//! - A Secret of a route's namespace that is not ours is never overwritten: ours is one that the
//!   state lists by UID or whose key we hold, never one whose label says so.
//! - A host's certificate, and so its key, goes to one namespace: the one that holds it, else that of
//!   the oldest route.
//! - Status, Events and AcmeCertificates are output: nothing is decided by them.
//! - On the way of a handshake there is no lock and no I/O; an unknown name costs no more than a
//!   known one. A Secret that cannot be used changes nothing that is served.
//! - One route or Secret changed costs what it names. Nothing polls the cluster but the Lease; what
//!   is due stands in one ordered set of wake times.
//! - Input from outside is bounded before it is parsed. Text of a CA is cut and cleaned
//!   ([`order::shown`]) before anybody sees it. Keys never show in a log or in `Debug`.

pub mod acme;
pub mod admin;
pub mod api;
pub mod budget;
pub mod cert;
pub mod challenge;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod dns;
pub mod http;
pub mod issue;
pub mod metrics;
pub mod name;
pub mod order;
pub mod plan;
pub mod provider;
pub mod proxy;
pub mod resolver;
pub mod route;
pub mod rule;
pub mod source;
pub mod store;
pub mod world;
