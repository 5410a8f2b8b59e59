//! Data elements: a tag and a value. Source: PS3.5, section 7.

/// Length of a value that ends with a delimiter.
const UNDEFINED: u32 = u32::MAX;

const ITEM: u32 = 0xfffe_e000;
const ITEM_END: u32 = 0xfffe_e00d;
const SEQUENCE_END: u32 = 0xfffe_e0dd;

/// Value representations with a length of four bytes, behind two that are reserved.
const LONG: [&[u8; 2]; 13] =
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"];

/// A data element.
pub(super) struct Element<'a> {
    /// Group and number: `0x0028_0010`.
    pub(super) tag: u32,
    /// Its value; items, if its length is undefined.
    pub(super) value: &'a [u8],
    /// Whether its length is undefined.
    pub(super) is_in_items: bool,
}

/// The data elements of a file, little endian, one after the other.
pub(super) struct Elements<'a> {
    rest: &'a [u8],
    /// Whether each states its value representation.
    is_explicit: bool,
}

struct Header {
    tag: u32,
    length: u32,
    is_unknown: bool,
}

impl<'a> Elements<'a> {
    pub(super) fn new(bytes: &'a [u8], is_explicit: bool) -> Self {
        Self { rest: bytes, is_explicit }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next element; `None` at the end.
    ///
    /// # Errors
    /// The file is truncated, or a length is wrong.
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let Header { tag, length, is_unknown } = self.header()?;
        let is_in_items = length == UNDEFINED;
        let value = match is_in_items {
            true => self.items(tag, is_unknown)?,
            false => self.take(tag, length)?,
        };
        Ok(Some(Element { tag, value, is_in_items }))
    }

    /// The tag of the next element.
    pub(super) fn peek(&self) -> Option<u32> {
        Self { rest: self.rest, is_explicit: self.is_explicit }.tag().ok()
    }

    fn tag(&mut self) -> Result<u32, String> {
        let [a, b, c, d] = self.array::<4>()?;
        Ok(u32::from(u16::from_le_bytes([a, b])) << 16 | u32::from(u16::from_le_bytes([c, d])))
    }

    fn header(&mut self) -> Result<Header, String> {
        let tag = self.tag()?;
        if !self.is_explicit || tag >> 16 == ITEM >> 16 {
            return Ok(Header { tag, length: u32::from_le_bytes(self.array()?), is_unknown: false });
        }
        let kind = self.array::<2>()?;
        let short = self.array::<2>()?;
        let length = match LONG.contains(&&kind) {
            true => u32::from_le_bytes(self.array()?),
            false => u32::from(u16::from_le_bytes(short)),
        };
        Ok(Header { tag, length, is_unknown: &kind == b"UN" })
    }

    /// The value of a sequence of undefined length, without its delimiter. Nested sequences are counted, not recursed
    /// into.
    fn items(&mut self, tag: u32, is_unknown: bool) -> Result<&'a [u8], String> {
        let start = self.rest;
        let is_explicit = self.is_explicit;
        self.is_explicit &= !is_unknown;
        let mut open = 1_u64;
        loop {
            let before = self.rest.len();
            let header = self.header().map_err(|_| unfinished(tag))?;
            match header.tag {
                ITEM_END | SEQUENCE_END => open -= 1,
                _ if header.length == UNDEFINED => open += 1,
                _ => {
                    self.take(header.tag, header.length)?;
                }
            }
            if open == 0 {
                self.is_explicit = is_explicit;
                return Ok(&start[..start.len() - before]);
            }
        }
    }

    fn take(&mut self, tag: u32, length: u32) -> Result<&'a [u8], String> {
        let Some((value, rest)) = self.rest.split_at_checked(length as usize) else {
            let left = self.rest.len();
            return Err(format!(
                "it is truncated: element {} has {length} bytes, but only {left} are left",
                name(tag)
            ));
        };
        self.rest = rest;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) =
            self.rest.split_first_chunk().ok_or("it is truncated: it ends in the header of an element")?;
        self.rest = rest;
        Ok(*head)
    }
}

/// The fragments of compressed pixels, without the table of offsets before them.
///
/// # Errors
/// They are truncated, or there are none.
pub(super) fn fragments(value: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut items = Elements::new(value, false);
    let mut fragments = Vec::new();
    while let Some(element) = items.next()? {
        if element.tag != ITEM || element.is_in_items {
            return Err(format!("its compressed pixels hold the element {}", name(element.tag)));
        }
        fragments.push(element.value);
    }
    if fragments.len() < 2 {
        return Err("it has no compressed pixels".to_owned());
    }
    Ok(fragments.split_off(1))
}

/// `(0028,0010)`
pub(super) fn name(tag: u32) -> String {
    format!("({:04x},{:04x})", tag >> 16, tag & 0xffff)
}

fn unfinished(tag: u32) -> String {
    format!("it is truncated: element {} has no end", name(tag))
}
