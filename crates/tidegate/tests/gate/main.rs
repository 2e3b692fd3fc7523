//! The whole program from outside: the demo's server as it is built, driven by stock clients and named people through its ready
//! file alone.

mod demo;

mod bad_input;
mod crash;
mod doors;
mod evidence;
mod journey;
