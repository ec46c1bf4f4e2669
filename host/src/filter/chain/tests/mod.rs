//! The chain's behaviour, row by row: scripted filters, a client and an upstream in pieces; what each callback saw, what the
//! upstream and the client got. `model.rs` compares generated exchanges with a model that has whole messages only.

mod body;
mod faults;
mod finish;
mod harness;
mod head;
mod length;
mod model;
mod plans;
mod replies;
mod scripts;
mod tasks;
mod trailers;
