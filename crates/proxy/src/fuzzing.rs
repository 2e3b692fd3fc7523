//! Ways in for fuzz targets to what is private here. Nothing of the gate calls this.

use bytes::Bytes;

use crate::ssh::sftp::Observer;

/// A stream of SFTP in both directions, cut into pieces: of each piece the first byte says which way it goes and whether it is
/// short, the second how long it is.
pub fn sftp(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    let mut observer = Observer::new(first & 1 == 1);
    while let [how, length, after @ ..] = rest {
        let length = usize::from(*length) << if how & 2 == 2 { 6 } else { 0 };
        let (piece, later) = after.split_at(length.min(after.len()));
        let piece = Bytes::copy_from_slice(piece);
        let seen = if how & 1 == 1 { observer.up(piece) } else { observer.down(piece) };
        if seen.is_err() {
            break;
        }
        rest = later;
    }
    drop(observer.finish());
}
