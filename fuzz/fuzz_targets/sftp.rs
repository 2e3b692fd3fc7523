//! SFTP packets as a client and a target send them, in any pieces: the first byte of each piece says which way and how long.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| proxy::fuzzing::sftp(bytes));
