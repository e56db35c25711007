//! Ethernet addresses.

use crate::Error;
use std::{fmt, str::FromStr};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            *byte = parts
                .next()
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| Error::Mac(text.to_owned()))?;
        }
        if parts.next().is_some() { Err(Error::Mac(text.to_owned())) } else { Ok(Self(mac)) }
    }
}

#[cfg(test)]
mod tests {
    use super::Mac;

    #[test]
    fn text_round_trips() {
        let mac: Mac = "02:00:0a:ff:10:9e".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:0a:ff:10:9e");
        for bad in ["", "02:00", "02:00:0a:ff:10:9e:01", "zz:00:0a:ff:10:9e"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
