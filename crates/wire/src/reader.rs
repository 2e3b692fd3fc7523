//! A reader that never leaves its slice.

/// Bytes that are not what the protocol says they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed: {0}")]
pub struct Malformed(pub &'static str);

/// Reads one message, front to back.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed("it ends in the middle of a field"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("it ends in the middle of a number"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// If there is none.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// 16 bits, big-endian, signed.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    /// 32 bits, big-endian.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// 32 bits, big-endian, signed.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// 16 bits, little-endian.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn u16_le(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// 32 bits, little-endian.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn u32_le(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// 64 bits, little-endian.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn u64_le(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length-encoded integer, as MySQL has it: below 0xfb itself, else 0xfc, 0xfd, 0xfe and 2, 3, 8 bytes, little-endian.
    ///
    /// # Errors
    /// If it ends too early, or begins with 0xfb or 0xff, which stand for other things.
    pub fn lenenc(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            small @ 0..=0xfa => Ok(small.into()),
            0xfc => Ok(self.u16_le()?.into()),
            0xfd => {
                let [a, b, c] = self.array::<3>()?;
                Ok(u32::from_le_bytes([a, b, c, 0]).into())
            }
            0xfe => self.u64_le(),
            _ => Err(Malformed("a number begins with a byte that none begins with")),
        }
    }

    /// Bytes with their length, length-encoded, before them.
    ///
    /// # Errors
    /// If there are fewer than the length says.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.lenenc()?;
        self.take(usize::try_from(length).map_err(|_| Malformed("a length is more than there can be"))?)
    }

    /// A count of things that each take at least `least` bytes: never more than what is left could hold.
    ///
    /// # Errors
    /// If it is negative or cannot be.
    pub fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.i16()?).map_err(|_| Malformed("a count is negative"))?;
        if count.saturating_mul(least) > self.0.len() {
            return Err(Malformed("a count is larger than the message"));
        }
        Ok(count)
    }

    /// Bytes up to a zero, which is taken too.
    ///
    /// # Errors
    /// If no zero follows.
    pub fn c_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Malformed("a text has no end"))?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// UTF-8 text up to a zero, which is taken too.
    ///
    /// # Errors
    /// If no zero follows or it is not UTF-8.
    pub fn c_str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.c_bytes()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// A value with its length before it; `None` for length -1.
    ///
    /// # Errors
    /// If the length is any other negative or more than is left.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed("a value has a negative length"))?;
                self.take(length).map(Some)
            }
        }
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// If something is.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("it is longer than its fields")) }
    }
}
