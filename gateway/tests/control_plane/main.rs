//! The control plane from outside: a real gateway in this process, on a free port and in a folder of its own.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod configs;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod runners;
#[cfg(test)]
mod sources;
