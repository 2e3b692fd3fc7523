//! Sessions through the SSH door with a real OpenSSH server behind it and stock clients in front. Only the gatekeeper is the tests' own.

mod asking;
mod clients;
mod cuts;
mod forwards;
mod gate;
mod refusals;
mod signing_in;
mod strain;
