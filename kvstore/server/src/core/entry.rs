//! An entry of the log: what was asked, by whom, and every value that was chosen before it was proposed. Applying it
//! reads nothing else.
//!
//! ```text
//!  format 1 | kind 1 | request id 8 | auth revision 8 | chosen 8 | principal: length 2, name | request as it came
//! ```
//! Numbers are little-endian. The request's bytes are those of the client.

use bytes::Bytes;

const FORMAT: u8 = 1;
const FIXED: usize = 1 + 1 + 8 + 8 + 8 + 2;

/// What the request's bytes are. The numbers are the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Put = 1,
    DeleteRange = 2,
    Txn = 3,
    Compact = 4,
    /// `chosen` is the lease's id.
    LeaseGrant = 5,
    LeaseRevoke = 6,
    /// `chosen` is the term of the leader that saw the ends; the bytes are ids of 8 bytes each.
    LeaseExpire = 7,
    Alarm = 8,
    AuthEnable = 9,
    AuthDisable = 10,
    /// The password is in it as its hash, here and in a change of it.
    UserAdd = 11,
    UserDelete = 12,
    UserChangePassword = 13,
    UserGrantRole = 14,
    UserRevokeRole = 15,
    RoleAdd = 16,
    RoleDelete = 17,
    RoleGrantPermission = 18,
    RoleRevokePermission = 19,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// Whose answer this is, while the process lives that proposed it.
    pub(crate) id: u64,
    /// The permissions that it was checked against; 0 while nobody is asked who they are, -1 for the store itself.
    pub(crate) auth_revision: i64,
    pub(crate) chosen: i64,
    pub(crate) principal: String,
    pub(crate) request: Bytes,
}

/// Bytes of the log that are not an entry.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum EntryError {
    #[error("an entry of {0} bytes is too short")]
    Short(usize),
    #[error("an entry has format {0}, and this version reads format {FORMAT}: run the version that wrote it")]
    Format(u8),
    #[error("an entry is of unknown kind {0}: run the version that wrote it")]
    Kind(u8),
    #[error("the principal of an entry is not text")]
    Principal,
}

// === impl Entry ===

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(FIXED + self.principal.len() + self.request.len());
        data.extend([FORMAT, self.kind as u8]);
        data.extend(self.id.to_le_bytes());
        data.extend(self.auth_revision.to_le_bytes());
        data.extend(self.chosen.to_le_bytes());
        data.extend((self.principal.len() as u16).to_le_bytes());
        data.extend(self.principal.as_bytes());
        data.extend(&self.request);
        data
    }

    /// # Errors
    /// When the bytes are not an entry of this version.
    pub(crate) fn decode(data: &[u8]) -> Result<Self, EntryError> {
        let short = EntryError::Short(data.len());
        let (fixed, rest) = data.split_at_checked(FIXED).ok_or(short)?;
        if fixed[0] != FORMAT {
            return Err(EntryError::Format(fixed[0]));
        }
        let kind = Kind::try_from(fixed[1])?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| fixed[at + i]));
        let length = usize::from(u16::from_le_bytes([fixed[26], fixed[27]]));
        let (principal, request) = rest.split_at_checked(length).ok_or(EntryError::Short(data.len()))?;
        Ok(Self {
            kind,
            id: word(2),
            auth_revision: word(10) as i64,
            chosen: word(18) as i64,
            principal: std::str::from_utf8(principal).map_err(|_| EntryError::Principal)?.to_owned(),
            request: Bytes::copy_from_slice(request),
        })
    }

    /// The request id alone, which finds the request that this process still holds.
    pub(crate) fn peek_id(data: &[u8]) -> Option<u64> {
        let bytes = data.get(2..10)?;
        Some(u64::from_le_bytes(std::array::from_fn(|i| bytes[i])))
    }
}

// === impl Kind ===

impl TryFrom<u8> for Kind {
    type Error = EntryError;

    fn try_from(number: u8) -> Result<Self, EntryError> {
        Ok(match number {
            1 => Self::Put,
            2 => Self::DeleteRange,
            3 => Self::Txn,
            4 => Self::Compact,
            5 => Self::LeaseGrant,
            6 => Self::LeaseRevoke,
            7 => Self::LeaseExpire,
            8 => Self::Alarm,
            9 => Self::AuthEnable,
            10 => Self::AuthDisable,
            11 => Self::UserAdd,
            12 => Self::UserDelete,
            13 => Self::UserChangePassword,
            14 => Self::UserGrantRole,
            15 => Self::UserRevokeRole,
            16 => Self::RoleAdd,
            17 => Self::RoleDelete,
            18 => Self::RoleGrantPermission,
            19 => Self::RoleRevokePermission,
            _ => return Err(EntryError::Kind(number)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(id: u64, auth: i64, chosen: i64, kind in 1u8..=19, who in "[a-z]{0,9}", request: Vec<u8>) {
            let entry = Entry {
                kind: Kind::try_from(kind).unwrap(),
                id,
                auth_revision: auth,
                chosen,
                principal: who,
                request: request.into(),
            };
            let data = entry.encode();
            prop_assert_eq!(Entry::peek_id(&data), Some(id));
            prop_assert_eq!(Entry::decode(&data).unwrap(), entry);
        }

        #[test]
        fn any_bytes_are_an_entry_or_an_error(data: Vec<u8>) {
            let _ = Entry::decode(&data);
        }
    }

    #[test]
    fn another_format_is_refused_by_number() {
        let mut data = vec![0; FIXED];
        data[0] = 2;
        assert_eq!(Entry::decode(&data), Err(EntryError::Format(2)));
    }
}
