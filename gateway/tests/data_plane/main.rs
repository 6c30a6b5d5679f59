//! The data plane from outside: a real gateway in this process, runners that follow a script over a real WebSocket, and
//! applications that speak plain HTTP. All frames here are written by hand, so that nothing is proven with our own encoder.

#[cfg(test)]
mod exec;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hello;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod liveness;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod runner;
