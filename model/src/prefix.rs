//! An address range: one host or a CIDR.

use std::{cmp::Ordering, fmt, net::IpAddr, str::FromStr};

/// A canonical prefix: no bits below the mask, IPv4-mapped IPv6 written as IPv4.
/// Ordered by address, then wider before narrower.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    #[error("prefix length {len} is too long for {addr}")]
    Length { addr: IpAddr, len: u8 },
    #[error("{0:?} is not an address or a prefix")]
    Syntax(String),
}

// === impl Prefix ===

impl Prefix {
    /// Before every other one.
    pub const FIRST: Self = Self { addr: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), len: 0 };

    /// Bits below the mask are cleared.
    pub fn try_new(addr: IpAddr, len: u8) -> Result<Self, InvalidPrefix> {
        let (addr, len) = match addr.to_canonical() {
            v4 @ IpAddr::V4(_) if addr.is_ipv6() && (96..=128).contains(&len) => (v4, len - 96),
            _ => (addr, len),
        };
        if len > width(addr) {
            return Err(InvalidPrefix::Length { addr, len });
        }
        Ok(Self { addr: mask(addr, len), len })
    }

    pub fn host(addr: IpAddr) -> Self {
        let addr = addr.to_canonical();
        Self { addr, len: width(addr) }
    }

    pub fn addr(self) -> IpAddr {
        self.addr
    }

    /// The number of fixed bits.
    pub fn bits(self) -> u8 {
        self.len
    }

    pub fn is_host(self) -> bool {
        self.len == width(self.addr)
    }

    pub fn is_ipv4(self) -> bool {
        self.addr.is_ipv4()
    }

    pub fn contains(self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        addr.is_ipv4() == self.addr.is_ipv4() && mask(addr, self.len) == self.addr
    }

    pub fn covers(self, other: Self) -> bool {
        self.len <= other.len && self.contains(other.addr)
    }
}

fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

fn mask(addr: IpAddr, len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => IpAddr::V4((a.to_bits() & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)).into()),
        IpAddr::V6(a) => IpAddr::V6((a.to_bits() & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)).into()),
    }
}

impl From<IpAddr> for Prefix {
    fn from(addr: IpAddr) -> Self {
        Self::host(addr)
    }
}

/// As derived, but without a call for the bytes of each address: half a million of these are kept sorted.
impl Ord for Prefix {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.addr, other.addr) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits(), self.len).cmp(&(b.to_bits(), other.len)),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), self.len).cmp(&(b.to_bits(), other.len)),
            (IpAddr::V4(_), IpAddr::V6(_)) => Ordering::Less,
            (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A host prints as its address, anything else as `address/bits`.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { f.pad(&self.addr.to_string()) } else { f.pad(&format!("{}/{}", self.addr, self.len)) }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let syntax = || InvalidPrefix::Syntax(text.to_owned());
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) if len.bytes().all(|b| b.is_ascii_digit()) => (addr, Some(len)),
            Some(_) => return Err(syntax()),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| syntax())?;
        match len {
            Some(len) => Self::try_new(addr, len.parse().map_err(|_| syntax())?),
            None => Ok(Self::host(addr)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordered_by_family_address_and_width() {
        let sorted = ["0.0.0.0/0", "9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.0", "10.0.1.0", "200.0.0.1"];
        let sorted = [&sorted[..], &["::/0", "fd00::/64", "fd00::", "fd00::1", "fe80::/10"]].concat();
        let sorted: Vec<Prefix> = sorted.into_iter().map(|text| text.parse().unwrap()).collect();
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn prefixes_are_canonical() {
        fn check(text: &str, printed: &str) {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), printed);
        }
        check("10.0.0.1", "10.0.0.1");
        check("10.0.0.1/32", "10.0.0.1");
        check("10.0.9.9/16", "10.0.0.0/16");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("fd00:0::1", "fd00::1");
        check("fd00::1/64", "fd00::/64");
        check("::ffff:10.0.0.1", "10.0.0.1");
        check("::ffff:10.0.0.1/112", "10.0.0.0/16");
        for bad in ["", "10.0.0", "10.0.0.1/33", "fd00::/129", "10.0.0.0/+8", "10.0.0.0/", "10.0.0.010"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn contains_stays_in_its_family() {
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("1.2.3.4".parse().unwrap()));
        assert!(all.contains("::ffff:1.2.3.4".parse().unwrap()));
        assert!(!all.contains("fd00::1".parse().unwrap()));
        assert!(all.covers("10.0.0.0/8".parse().unwrap()));
        assert!(!"10.0.0.0/8".parse::<Prefix>().unwrap().covers(all));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(bits in any::<u128>(), v4 in any::<bool>(), len in 0u8..=128) {
            let addr: IpAddr = if v4 { IpAddr::V4((bits as u32).into()) } else { IpAddr::V6(bits.into()) };
            let prefix = Prefix::try_new(addr, if v4 { len % 33 } else { len }).unwrap();
            prop_assert!(prefix.contains(prefix.addr()));
            prop_assert_eq!(prefix.to_string().parse::<Prefix>(), Ok(prefix));
        }
    }
}
