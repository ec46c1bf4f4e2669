//! The proxy between real sockets: a raw client, a scripted origin, one worker.

mod exchange;
mod filters;
mod harness;
mod heads;
mod malformed;
mod upstream;
