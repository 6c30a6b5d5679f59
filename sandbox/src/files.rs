//! Files on their way into a container and out of it. Both ways they are hostile, and nothing here holds a whole file.
//!
//! A tree comes from a folder, from memory or from the engine's archive, and goes into an archive or into a folder
//! ([`sink`]). Only regular files and folders pass: links, devices, pipes and names that lead elsewhere do not.

mod extract;
mod folder;
mod landing;
mod names;
mod owner;
mod pack;
mod pipe;
mod remove;
mod seeds;
mod sink;
mod staged;
mod unpack;
mod usage;
mod walk;

pub(crate) use extract::Results;
pub(crate) use landing::clear_stages;
pub(crate) use owner::Owner;
pub(crate) use seeds::{archive_of, archive_of_folder, archive_of_tmp, archive_within, check};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use sink::{Content, Meta, Sink};
pub(crate) use staged::{Staged, leftovers, remove_leftover};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use unpack::unpack;
pub(crate) use usage::watch;
