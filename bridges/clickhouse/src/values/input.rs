//! Bytes that have come so far.

/// Why a value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At least so many bytes are missing.
    More(usize),
    /// The bytes are not what their type says.
    Bad(&'static str),
    /// As JSON it is longer than a row may be.
    TooLarge,
    /// Text that is no UTF-8, where it must find its row again.
    NotText,
}

/// Reads values off the front of some bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

/// Bytes of the longest length.
const LENGTH_BYTES: usize = 9;

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are not read yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// What was read between here and `later`.
    pub(crate) fn read_to(&self, later: &Self) -> &'a [u8] {
        self.rest.get(..self.rest.len() - later.rest.len()).unwrap_or_default()
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        match self.rest.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(Stop::More(N - self.rest.len())),
        }
    }

    /// The next `length` bytes.
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(Stop::More(length - self.rest.len())),
        }
    }

    /// Bytes behind their length.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.count()?;
        self.take(length)
    }

    /// A length: seven bits a byte, the low ones first.
    #[inline]
    pub(crate) fn count(&mut self) -> Result<usize, Stop> {
        if let [byte @ 0..=0x7f, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(usize::from(*byte));
        }
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().enumerate().take(LENGTH_BYTES) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.take(index + 1)?;
                return usize::try_from(value).map_err(|_| Stop::Bad("a length beyond memory"));
            }
        }
        if self.rest.len() < LENGTH_BYTES {
            Err(Stop::More(1))
        } else {
            Err(Stop::Bad("a length without an end"))
        }
    }

    /// Whether the value that follows is null. What is null has no bytes.
    #[inline]
    pub(crate) fn is_null(&mut self) -> Result<bool, Stop> {
        Ok(self.fixed::<1>()? != [0])
    }
}
