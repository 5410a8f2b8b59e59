//! Pickles as PyTorch writes them (protocol 2), read as data: nothing that a pickle names is imported or called.
//!
//! Objects are in one list and refer to each other by position, so a pickle that refers to one object many times takes
//! no more memory than it is long, and neither nesting nor cycles need recursion.

use std::collections::HashMap;

/// Limit of a pickle's length; that of a state dict with 50 000 tensors is shorter.
const LONGEST: usize = 8 << 20;

/// Position of an object in a pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(usize);

/// An object.
#[derive(Debug)]
pub(super) enum Object<'a> {
    Int(i64),
    Text(&'a str),
    /// A class or function, by its module and name.
    Global(&'a str, &'a str),
    Tuple(Vec<Id>),
    List,
    Dict(Vec<(Id, Id)>),
    /// What a class or function would make from its arguments, a tuple.
    Made {
        by: Id,
        from: Id,
    },
    /// Something outside the pickle, by its description.
    Outside(Id),
    /// Anything else: a state dict does not need it.
    Other,
}

/// A parsed pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Parse a pickle.
    ///
    /// # Errors
    /// It is too long or malformed, or of another protocol.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.len() > LONGEST {
            return Err(format!("its pickle has {} bytes; at most {LONGEST} are read", bytes.len()));
        }
        Machine {
            rest: bytes,
            objects: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
        .run()
    }

    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn object(&self, id: Id) -> &Object<'a> {
        &self.objects[id.0]
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        if let Object::Text(text) = self.object(id) { Some(text) } else { None }
    }

    /// A non-negative integer.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        if let Object::Int(int) = self.object(id) { usize::try_from(*int).ok() } else { None }
    }

    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        if let Object::Tuple(ids) = self.object(id) { Some(ids) } else { None }
    }

    pub(super) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        if let Object::Dict(pairs) = self.object(id) { Some(pairs) } else { None }
    }

    /// Module and name of a class or function.
    pub(super) fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        if let Object::Global(module, name) = self.object(id) { Some((module, name)) } else { None }
    }

    /// Module and name of what makes an object, and its arguments.
    pub(super) fn made(&self, id: Id) -> Option<((&'a str, &'a str), &[Id])> {
        let Object::Made { by, from } = self.object(id) else { return None };
        Some((self.global(*by)?, self.tuple(*from)?))
    }
}

/// The state of parsing.
struct Machine<'a> {
    rest: &'a [u8],
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Lengths of the stack at the marks on it.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Pickle<'a>, String> {
        loop {
            let [code] = self.take()?;
            if code == b'.' {
                let root = self.pop()?;
                return Ok(Pickle { objects: self.objects, root });
            }
            self.step(code)?;
        }
    }

    /// Do what an operation says, by its code in Python's `pickletools`.
    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x80 => self.check_protocol(),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            b'q' | b'r' => self.put(code),
            b'h' | b'j' => self.get(code),
            b'Q' => self.pop().map(|id| self.push(Object::Outside(id))),
            b'R' | 0x81 => self.make(),
            // The state of an object; that of a dictionary is metadata.
            b'b' => self.pop().map(drop),
            b's' | b'u' => self.set_items(code),
            b'a' => self.pop().map(drop),
            b'e' => self.pop_to_mark().map(drop),
            _ => self.value(code).map(|object| self.push(object)),
        }
    }

    /// The object that an operation pushes.
    fn value(&mut self, code: u8) -> Result<Object<'a>, String> {
        Ok(match code {
            b'J' => Object::Int(i32::from_le_bytes(self.take()?).into()),
            b'K' => Object::Int(u8::from_le_bytes(self.take()?).into()),
            b'M' => Object::Int(u16::from_le_bytes(self.take()?).into()),
            0x8a => self.long()?,
            b'X' => self.unicode()?,
            b'c' => Object::Global(self.line()?, self.line()?),
            b')' => Object::Tuple(Vec::new()),
            b't' => Object::Tuple(self.pop_to_mark()?),
            0x85..=0x87 => self.short_tuple(usize::from(code - 0x84))?,
            b']' => Object::List,
            b'l' => self.pop_to_mark().map(|_| Object::List)?,
            b'}' => Object::Dict(Vec::new()),
            b'd' => Object::Dict(pairs(&self.pop_to_mark()?)?),
            b'G' => self.take::<8>().map(|_| Object::Other)?,
            b'N' | 0x88 | 0x89 => Object::Other,
            _ => {
                let message = "its pickle has the operation";
                return Err(format!(
                    "{message} {code:#04x}, which PyTorch does not write by default; {AGAIN}"
                ));
            }
        })
    }

    fn check_protocol(&mut self) -> Result<(), String> {
        match self.take()? {
            [2] => Ok(()),
            [other] => Err(format!("its pickle has protocol {other}; {AGAIN}")),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or_else(truncated)?;
        let line = self.take_slice(end)?;
        let [_] = self.take()?;
        std::str::from_utf8(line).map_err(|_| malformed())
    }

    fn unicode(&mut self) -> Result<Object<'a>, String> {
        let length = u32::from_le_bytes(self.take()?);
        let text = self.take_slice(usize::try_from(length).map_err(|_| truncated())?)?;
        // Python may write halves of surrogate pairs, which are no text.
        Ok(std::str::from_utf8(text).map_or(Object::Other, Object::Text))
    }

    /// An integer in two's complement of any length.
    fn long(&mut self) -> Result<Object<'a>, String> {
        let [length] = self.take()?;
        let bytes = self.take_slice(length.into())?;
        if bytes.len() > size_of::<i64>() {
            return Ok(Object::Other);
        }
        let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [sign; size_of::<i64>()];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(Object::Int(i64::from_le_bytes(whole)))
    }

    fn short_tuple(&mut self, length: usize) -> Result<Object<'a>, String> {
        let mut ids = (0..length).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        ids.reverse();
        Ok(Object::Tuple(ids))
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(Id(self.objects.len()));
        self.objects.push(object);
    }

    /// The last object after the last mark.
    fn pop(&mut self) -> Result<Id, String> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= bottom {
            return Err(malformed());
        }
        self.stack.pop().ok_or_else(malformed)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or_else(malformed)?;
        Ok(self.stack.split_off(mark))
    }

    fn put(&mut self, code: u8) -> Result<(), String> {
        let (number, last) = (self.memo_number(code == b'q')?, self.stack.last().ok_or_else(malformed)?);
        self.memo.insert(number, *last);
        Ok(())
    }

    fn get(&mut self, code: u8) -> Result<(), String> {
        let number = self.memo_number(code == b'h')?;
        let id = self.memo.get(&number).ok_or_else(malformed)?;
        self.stack.push(*id);
        Ok(())
    }

    fn memo_number(&mut self, short: bool) -> Result<u32, String> {
        if short { self.take().map(|[number]| number.into()) } else { self.take().map(u32::from_le_bytes) }
    }

    fn make(&mut self) -> Result<(), String> {
        let (from, by) = (self.pop()?, self.pop()?);
        let is_dict =
            matches!(self.objects[by.0], Object::Global("collections", "OrderedDict" | "defaultdict"));
        self.push(if is_dict { Object::Dict(Vec::new()) } else { Object::Made { by, from } });
        Ok(())
    }

    /// Items of other objects than dictionaries are not needed.
    fn set_items(&mut self, code: u8) -> Result<(), String> {
        let items = match code {
            b'u' => self.pop_to_mark()?,
            _ => self.short_items()?,
        };
        let target = self.stack.last().ok_or_else(malformed)?;
        if let Object::Dict(dict) = &mut self.objects[target.0] {
            dict.extend(pairs(&items)?);
        }
        Ok(())
    }

    fn short_items(&mut self) -> Result<Vec<Id>, String> {
        let (value, key) = (self.pop()?, self.pop()?);
        Ok(vec![key, value])
    }
}

/// What to do about a pickle of another protocol.
const AGAIN: &str = "save it again by `torch.save` without `pickle_protocol`";

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    let (pairs, []) = items.as_chunks::<2>() else { return Err(malformed()) };
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

fn truncated() -> String {
    "its pickle is truncated; copy the file again".into()
}

fn malformed() -> String {
    "its pickle is malformed; copy the file again".into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The names in a dictionary at the root.
    fn keys<'a>(pickle: &Pickle<'a>) -> Vec<&'a str> {
        pickle.dict(pickle.root()).unwrap().iter().filter_map(|(key, _)| pickle.text(*key)).collect()
    }

    #[test]
    fn a_dictionary_has_its_items_in_order() {
        let pickle =
            Pickle::parse(b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bM\x00\x01u.").unwrap();
        assert_eq!(keys(&pickle), ["a", "b"]);
        let values: Vec<_> =
            pickle.dict(pickle.root()).unwrap().iter().map(|pair| pickle.size(pair.1)).collect();
        assert_eq!(values, [Some(1), Some(256)]);
    }

    #[test]
    fn integers_of_any_length_have_their_sign() {
        let int = |bytes: &[u8]| {
            let pickle = Pickle::parse(bytes).unwrap();
            if let Object::Int(int) = pickle.object(pickle.root()) { Some(*int) } else { None }
        };
        assert_eq!(int(b"\x80\x02J\xff\xff\xff\xff."), Some(-1));
        assert_eq!(int(b"\x80\x02\x8a\x02\x00\x80."), Some(-32768));
        assert_eq!(int(b"\x80\x02\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40."), Some(1 << 62));
        assert_eq!(int(b"\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."), None);
        assert_eq!(int(b"\x80\x02\x8a\x00."), Some(0));
    }

    #[test]
    fn f19_references_and_nesting_take_no_more_memory_than_the_pickle_is_long() {
        // Each tuple has the one before twice; as a tree, the last one has 2¹⁰⁰⁰ leaves.
        let mut doubling = b"\x80\x02K\x00q\x00".to_vec();
        (0..1000).for_each(|_| doubling.extend_from_slice(b"0h\x00h\x00\x86q\x00"));
        doubling.push(b'.');
        assert_eq!(Pickle::parse(&doubling).unwrap().objects.len(), 1001);
        let mut deep = b"\x80\x02".to_vec();
        deep.extend(std::iter::repeat_n(b')', 1).chain(std::iter::repeat_n(0x85, 1_000_000)));
        deep.push(b'.');
        assert_eq!(Pickle::parse(&deep).unwrap().objects.len(), 1_000_001);
        let cycle = Pickle::parse(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.").unwrap();
        assert_eq!(keys(&cycle), ["a"]);
        assert!(Pickle::parse(&vec![b')'; LONGEST + 1]).unwrap_err().contains("at most"));
    }

    #[test]
    fn what_python_would_not_read_is_an_error() {
        let cases: [&[u8]; 10] = [
            b"",
            b".",
            b"\x80\x02",
            b"\x80\x02u.",
            b"\x80\x02(.",
            b"\x80\x02K\x01(K\x02s.",
            b"\x80\x02h\x00.",
            b"\x80\x02X\xff\xff\xff\xffa.",
            b"\x80\x02cos\nsystem.",
            b"\x80\x02}(K\x01u.",
        ];
        for bytes in cases {
            let error = Pickle::parse(bytes).unwrap_err();
            assert!(error.contains("truncated") || error.contains("malformed"), "{bytes:?}: {error}");
        }
        assert!(Pickle::parse(b"\x80\x04N.").unwrap_err().contains("protocol 4"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), proto in any::<bool>()) {
            if proto {
                bytes.splice(0..0, [0x80, 2]);
            }
            let _ = Pickle::parse(&bytes);
        }

        #[test]
        fn no_operations_make_it_panic(
            codes in proptest::collection::vec(prop::sample::select(b"(01)tlde]}NRbsuaeQqhK\x81\x85\x86\x87.".to_vec()), 0..60)
        ) {
            let _ = Pickle::parse(&codes);
        }
    }
}
