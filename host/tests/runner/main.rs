//! The runner in this process against a gateway that the test plays frame by frame.
//!
//! The modules say `cfg(test)`, which they are anyway, because the lints ask for it where tests may unwrap.

#[cfg(test)]
mod command;
#[cfg(test)]
mod conversation;
#[cfg(test)]
mod driver;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod observing;
#[cfg(test)]
mod reconnect;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod sources;
