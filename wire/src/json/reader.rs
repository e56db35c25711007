//! A pull reader: the caller says what it expects next.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use crate::error::{Broken, Fault, Read};

/// Go allows 10,000; nothing that Cilium writes is deeper than 5.
const MAX_DEPTH: usize = 64;

/// etcd's own limit for a request.
const MAX_SIZE: usize = 1536 * 1024;

pub(crate) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

/// Reads one value that is all of `text`, white space aside.
pub(crate) fn parse<'a, T>(text: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Read<T>) -> Read<T> {
    if text.len() > MAX_SIZE {
        return Err(Fault::new(Broken::Size { size: text.len(), limit: MAX_SIZE }));
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = read(&mut reader)?;
    if reader.peek().is_some() { Err(reader.syntax("more after the value")) } else { Ok(value) }
}

/// As [`field_name`], for values of which there are very many: members come in the order of `names`
/// nearly always, so the one after the last found is tried first.
pub(crate) fn next_field_name<'n>(key: &str, names: &[&'n str], next: &mut usize) -> Option<&'n str> {
    // Some members are left out when empty: look a few places ahead.
    let ahead = names.iter().skip(*next).take(4).position(|name| *name == key);
    match ahead {
        Some(at) => {
            *next += at + 1;
            names.get(*next - 1).copied()
        }
        None => field_name(key, names),
    }
}

/// The declared name that `key` stands for: the same, or the same but for case.
pub(crate) fn field_name<'n>(key: &str, names: &[&'n str]) -> Option<&'n str> {
    let same = |name: &&&str| name.len() == key.len() && **name == key;
    let fold = |c: char| match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        c => c.to_ascii_lowercase(),
    };
    let folded = |name: &&&str| name.chars().map(fold).eq(key.chars().map(fold));
    names.iter().find(same).or_else(|| names.iter().find(folded)).copied()
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn syntax(&self, what: &'static str) -> Fault {
        Fault::new(Broken::Syntax { what, at: self.at })
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &'static str) -> Read<()> {
        match self.text.get(self.at..self.at + word.len()) {
            Some(found) if found == word.as_bytes() => {
                self.at += word.len();
                Ok(())
            }
            _ => Err(self.syntax("unknown word")),
        }
    }

    /// Takes a `null` if there is one.
    pub(crate) fn null(&mut self) -> Read<bool> {
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.word("null").map(|()| true)
    }

    /// The next value is not what the caller expects: malformed, or of another type.
    fn unexpected<T>(&mut self, expected: &'static str) -> Read<T> {
        self.skip()?;
        Err(Fault::new(Broken::Type(expected)))
    }

    /// Calls `field` for each member; the key as written. `null` has no members. A member that the
    /// caller does not want must be skipped by it.
    pub(crate) fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Read<()>) -> Read<()> {
        if self.null()? {
            return Ok(());
        }
        if !self.eat(b'{') {
            return self.unexpected("an object");
        }
        self.nest(|r| {
            if r.eat(b'}') {
                return Ok(());
            }
            loop {
                if r.peek() != Some(b'"') {
                    return Err(r.syntax("no member name"));
                }
                let key = r.string_token()?;
                if !r.eat(b':') {
                    return Err(r.syntax("no ':' after a member name"));
                }
                field(r, &key).map_err(|f| f.inside(&key))?;
                if r.eat(b'}') {
                    return Ok(());
                }
                if !r.eat(b',') {
                    return Err(r.syntax("no ',' or '}' in an object"));
                }
            }
        })
    }

    /// Calls `element` for each element. `null` has none.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        if self.null()? {
            return Ok(());
        }
        if !self.eat(b'[') {
            return self.unexpected("an array");
        }
        self.nest(|r| {
            if r.eat(b']') {
                return Ok(());
            }
            for index in 0.. {
                element(r).map_err(|f| f.element(index))?;
                if r.eat(b']') {
                    return Ok(());
                }
                if !r.eat(b',') {
                    return Err(r.syntax("no ',' or ']' in an array"));
                }
            }
            Ok(())
        })
    }

    fn nest<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::new(Broken::Depth(MAX_DEPTH)));
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// `None` for `null`, which leaves a field as it is.
    pub(crate) fn string(&mut self) -> Read<Option<Cow<'a, str>>> {
        match self.peek() {
            Some(b'"') => self.string_token().map(Some),
            Some(b'n') => self.null().map(|_| None),
            _ => self.unexpected("a string"),
        }
    }

    pub(crate) fn bool(&mut self) -> Read<Option<bool>> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| Some(true)),
            Some(b'f') => self.word("false").map(|()| Some(false)),
            Some(b'n') => self.null().map(|_| None),
            _ => self.unexpected("true or false"),
        }
    }

    /// An integer without fraction or exponent that fits in `T`.
    pub(crate) fn uint<T: TryFrom<u64>>(&mut self) -> Read<Option<T>> {
        let wrong = || Fault::new(Broken::Number(std::any::type_name::<T>()));
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => {
                let digits = self.number_token()?;
                let number: u64 = digits.parse().map_err(|_| wrong())?;
                number.try_into().map(Some).map_err(|_| wrong())
            }
            Some(b'n') => self.null().map(|_| None),
            _ => self.unexpected("a number"),
        }
    }

    /// `None` for `null` and for the empty text, which is Go's way to write no address.
    pub(crate) fn ip(&mut self) -> Read<Option<IpAddr>> {
        let Some(text) = self.string()? else { return Ok(None) };
        if text.is_empty() {
            return Ok(None);
        }
        let ip: IpAddr = text.parse().map_err(|_| Fault::new(Broken::Ip(text.into_owned())))?;
        Ok(Some(ip.to_canonical()))
    }

    /// A map of texts. A repeated member joins the map that is there; `null` empties it.
    pub(crate) fn string_map(&mut self, map: &mut BTreeMap<String, String>) -> Read<()> {
        if self.null()? {
            map.clear();
            return Ok(());
        }
        self.object(|r, key| {
            let value = r.string()?.unwrap_or_default().into_owned();
            map.insert(key.to_owned(), value);
            Ok(())
        })
    }

    /// Reads over one value of any kind.
    pub(crate) fn skip(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'{') => self.object(|r, _| r.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b'"') => self.string_token().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number_token().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.syntax("no value")),
            None => Err(self.syntax("unexpected end")),
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        self.at - start
    }

    fn number_token(&mut self) -> Read<&'a str> {
        let start = self.at;
        self.at += usize::from(self.text.get(self.at) == Some(&b'-'));
        let leading = self.text.get(self.at).copied();
        let count = self.digits();
        if count == 0 || (leading == Some(b'0') && count > 1) {
            return Err(self.syntax("bad number"));
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.syntax("bad fraction"));
            }
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.text.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.syntax("bad exponent"));
            }
        }
        std::str::from_utf8(&self.text[start..self.at]).map_err(|_| Fault::new(Broken::Utf8))
    }

    /// The caller has seen the opening quote.
    fn string_token(&mut self) -> Read<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let Some(length) = special else {
            self.at = self.text.len();
            return Err(self.syntax("string without end"));
        };
        self.at = start + length;
        match rest[length] {
            b'"' => {
                self.at += 1;
                let plain = &rest[..length];
                // The check alone is several times faster than the conversion, which is for the very few.
                return Ok(std::str::from_utf8(plain).map_or_else(|_| String::from_utf8_lossy(plain), Cow::Borrowed));
            }
            b'\\' => {}
            _ => return Err(self.syntax("control character in a string")),
        }
        let mut bytes = self.text[start..self.at].to_vec();
        loop {
            let Some(&byte) = self.text.get(self.at) else { return Err(self.syntax("string without end")) };
            self.at += 1;
            match byte {
                b'"' => return Ok(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())),
                b'\\' => {
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..0x20 => return Err(self.syntax("control character in a string")),
                other => bytes.push(other),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let Some(&byte) = self.text.get(self.at) else { return Err(self.syntax("string without end")) };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let paired = (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u");
                if paired {
                    let before = self.at;
                    self.at += 2;
                    let second = self.hex4()?;
                    if (0xdc00..0xe000).contains(&second) {
                        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = before;
                }
                // Half a pair becomes the replacement character, as in Go.
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.syntax("unknown escape")),
        })
    }

    fn hex4(&mut self) -> Read<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.ok_or_else(|| self.syntax("bad \\u escape"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &[u8]) -> Option<String> {
        parse(text, Reader::string).ok()?.map(Cow::into_owned)
    }

    #[test]
    fn strings_read_as_go_reads_them() {
        fn check(text: &[u8], expect: &str) {
            assert_eq!(string(text).as_deref(), Some(expect));
        }
        check(br#""a\u003cb\"\n\/" "#, "a<b\"\n/");
        check(br#""\ud83d\ude00""#, "\u{1f600}");
        check(br#""\ud83dx""#, "\u{fffd}x");
        check(br#""\ud83d\u0041""#, "\u{fffd}A");
        check(b"\"a\xffb\"", "a\u{fffd}b");
        check("\"\u{2028}\"".as_bytes(), "\u{2028}");
        for bad in
            [&b"\"a"[..], b"\"\\x\"", b"\"\n\"", b"\"\\u12\"", b"\"a\" b", b"'a'", b"", b"\"\\", b"\"\\ud800\\u\""]
        {
            assert_eq!(string(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn numbers_have_no_fraction_and_fit() {
        fn check(text: &str, expect: Option<u16>) {
            assert_eq!(parse(text.as_bytes(), Reader::uint::<u16>).ok().flatten(), expect, "{text}");
        }
        check("80", Some(80));
        check(" 0 ", Some(0));
        check("65536", None);
        check("131300.0", None);
        check("1e2", None);
        check("-1", None);
        check("01", None);
        check("\"80\"", None);
        check("18446744073709551616", None);
    }

    #[test]
    fn names_match_exactly_first_and_then_in_any_case() {
        assert_eq!(field_name("Labels", &["labels", "Labels"]), Some("Labels"));
        assert_eq!(field_name("LABELS", &["labels", "Labels"]), Some("labels"));
        assert_eq!(field_name("\u{212a}ey", &["Key"]), Some("Key"));
        assert_eq!(field_name("Keys", &["Key"]), None);
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse("[".repeat(100_000).as_bytes(), Reader::skip).is_err());
        let fine = format!("{}{}", "[".repeat(60), "]".repeat(60));
        assert!(parse(fine.as_bytes(), Reader::skip).is_ok());
    }

    #[test]
    fn what_is_skipped_must_be_json_too() {
        for bad in ["{\"a\":}", "{\"a\" 1}", "{a:1}", "[1,]", "{\"a\":1,}", "nul", "tru", "[1 2]", "{} {}", "1.", "1e"]
        {
            assert!(parse(bad.as_bytes(), Reader::skip).is_err(), "{bad}");
        }
        for good in ["{}", "[]", " {\"a\":[1,-2.5e+7,true,false,null,\"x\"]} "] {
            assert!(parse(good.as_bytes(), Reader::skip).is_ok(), "{good}");
        }
    }
}
