//! Clients that say half of something, and letters that drive terminals: the same at both databases' doors.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;

/// So many connections that each said one of these beginnings, and no more.
pub(crate) fn lingering(port: u16, beginnings: &[Vec<u8>], count: usize) -> Vec<TcpStream> {
    let linger = |half: &Vec<u8>| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(half).unwrap();
        stream
    };
    beginnings.iter().cycle().take(count).map(linger).collect()
}

/// What the door said to each of them until it showed them out, which it did.
pub(crate) fn heard(lingering: Vec<TcpStream>) -> Vec<Vec<u8>> {
    let until_shown_out = |mut stream: TcpStream| {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let waited = read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        assert!(!waited, "it was not shown out; it heard {answer:?}");
        answer
    };
    lingering.into_iter().map(until_shown_out).collect()
}

/// Somebody who sends a byte at a time after a beginning: that is no more than half of something either. How many were taken.
pub(crate) fn dripping(port: u16, beginning: Vec<u8>) -> JoinHandle<Option<i32>> {
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(&beginning).unwrap();
        (0..600).find(|_| {
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(&[1]).is_err()
        })
    })
}

/// Clears a screen, writes backwards, and begins a line anew.
pub(crate) const NASTY: &str = "\u{1b}[2J\u{202e}\r\nPAY";

pub(crate) fn drives_nothing(text: &str) -> bool {
    !text.contains(|letter: char| (letter.is_control() && letter != '\n') || ('\u{202a}'..='\u{202e}').contains(&letter))
}
