//! Go's `net.IPNet` and `net.IPMask`: `{"IP":"10.4.0.0","Mask":"////AA=="}`.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::Prefix;

use crate::{
    Broken,
    error::{Fault, Read},
    json::{Reader, Writer, field_name},
};

/// The raw mask bytes, 4 for IPv4 and 16 for IPv6, in base64.
pub(crate) fn write_mask(w: &mut Writer, prefix: Prefix) {
    let bits = u32::from(prefix.bits());
    match prefix.addr() {
        IpAddr::V4(_) => w.quoted(STANDARD.encode(u32::MAX.checked_shl(32 - bits).unwrap_or(0).to_be_bytes())),
        IpAddr::V6(_) => w.quoted(STANDARD.encode(u128::MAX.checked_shl(128 - bits).unwrap_or(0).to_be_bytes())),
    }
}

/// `None` for `null`. Go skips line ends inside base64.
pub(crate) fn read_mask(r: &mut Reader<'_>) -> Read<Option<Vec<u8>>> {
    let Some(text) = r.string()? else { return Ok(None) };
    let compact = text.replace(['\r', '\n'], "");
    STANDARD.decode(compact).map(Some).map_err(|_| Fault::new(Broken::Mask(text.into_owned())))
}

/// Leading ones of a mask. Masks of another length or with holes are refused: Cilium takes them for
/// `/0`, which then never fits the key.
pub(crate) fn mask_bits(ip: IpAddr, mask: &[u8]) -> Read<u8> {
    let width = if ip.is_ipv4() { 4 } else { 16 };
    let ones: u32 = mask.iter().map(|b| b.count_ones()).sum();
    let contiguous = mask.iter().enumerate().all(|(i, b)| {
        let here = ones.saturating_sub(8 * i as u32).min(8);
        *b == u8::MAX.checked_shl(8 - here).unwrap_or(0)
    });
    if mask.len() != width || !contiguous {
        return Err(Fault::new(Broken::Mask(STANDARD.encode(mask))));
    }
    Ok(ones as u8)
}

pub(crate) fn write(w: &mut Writer, prefix: Prefix) {
    w.object(|w| {
        w.name("IP").quoted(prefix.addr());
        write_mask(w.name("Mask"), prefix);
    });
}

/// The object only: 1.20.2 refuses a CIDR in a string, and so do we until a release writes it.
pub(crate) fn read(r: &mut Reader<'_>) -> Read<Option<Prefix>> {
    if r.null()? {
        return Ok(None);
    }
    let (mut ip, mut mask) = (None, None);
    r.object(|r, key| {
        match field_name(key, &["IP", "Mask"]) {
            Some("IP") => ip = r.ip()?,
            Some("Mask") => mask = read_mask(r)?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    let ip: IpAddr = ip.ok_or_else(|| Fault::at("IP", Broken::Required))?;
    let mask = mask.ok_or_else(|| Fault::at("Mask", Broken::Required))?;
    let bits = mask_bits(ip, &mask).map_err(|f| f.inside("Mask"))?;
    Prefix::try_new(ip, bits).map(Some).map_err(Fault::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn masks_must_be_those_of_a_prefix() {
        let v4: IpAddr = "10.0.0.0".parse().unwrap();
        let v6: IpAddr = "fd00::".parse().unwrap();
        assert_eq!(mask_bits(v4, &[255, 255, 128, 0]).unwrap(), 17);
        assert_eq!(mask_bits(v4, &[0; 4]).unwrap(), 0);
        assert_eq!(mask_bits(v6, &[255; 16]).unwrap(), 128);
        for (ip, bad) in
            [(v4, vec![255, 0, 255, 0]), (v4, vec![]), (v4, vec![255; 16]), (v6, vec![255; 4]), (v4, vec![1; 4])]
        {
            assert!(mask_bits(ip, &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_cidr_in_a_string_is_refused() {
        assert!(parse(br#""10.2.0.0/24""#, read).is_err());
        assert!(parse(br#"{"IP":"10.2.0.0"}"#, read).is_err());
        assert_eq!(parse(b"null", read).unwrap(), None);
        let found = parse(br#"{"IP":"fd10:3:1::","Mask":"//////////8AAAAAAAAAAA=="}"#, read).unwrap();
        assert_eq!(found.unwrap().to_string(), "fd10:3:1::/64");
    }
}
