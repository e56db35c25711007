//! The few protobuf wire types that an endpoint slice uses.

use crate::{
    Broken,
    error::{Fault, Read},
};

/// Iterates over the fields of a message, in order: number and content.
pub(super) struct Message<'a>(pub(super) &'a [u8]);

#[derive(Clone, Copy)]
pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed-size number; none of those that we read is one.
    Fixed,
}

fn broken(what: &'static str) -> Fault {
    Fault::new(Broken::Protobuf(what))
}

// === impl Message ===

impl<'a> Message<'a> {
    fn varint(&mut self) -> Read<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or_else(|| broken("number without end"))?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(broken("number of more than ten bytes"))
    }

    fn take(&mut self, len: u64) -> Read<&'a [u8]> {
        let len = usize::try_from(len).map_err(|_| broken("field longer than memory"))?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(|| broken("field longer than its message"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn field(&mut self) -> Read<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            2 => {
                let len = self.varint()?;
                Field::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return Err(broken("unknown wire type")),
        };
        Ok((tag >> 3, content))
    }
}

impl<'a> Iterator for Message<'a> {
    type Item = Read<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn text(self) -> Read<&'a str> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| Fault::new(Broken::Utf8)),
            _ => Err(broken("expected text")),
        }
    }

    pub(super) fn number(self) -> Read<u64> {
        match self {
            Self::Number(number) => Ok(number),
            _ => Err(broken("expected a number")),
        }
    }

    pub(super) fn message(self) -> Read<Message<'a>> {
        match self {
            Self::Bytes(bytes) => Ok(Message(bytes)),
            _ => Err(broken("expected a message")),
        }
    }
}
