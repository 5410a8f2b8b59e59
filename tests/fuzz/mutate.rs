//! New inputs from old ones.

use rand::Rng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// Integers at the edges of types and of what formats allow.
const INTERESTING: [u64; 16] = [
    0,
    1,
    7,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x10000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// The maximum number of changes to one input.
const CHANGES: usize = 6;

/// Longest piece that is moved, repeated or removed.
const PIECE: usize = 256;

/// Changes inputs, with the tokens of a format.
pub(crate) struct Mutator {
    dictionary: Vec<Vec<u8>>,
    longest: usize,
}

impl Mutator {
    pub(crate) fn new(dictionary: Vec<Vec<u8>>, longest: usize) -> Self {
        Self { dictionary, longest }
    }

    /// `input` with a few changes; some take a piece of `other`.
    pub(crate) fn mutate(&self, random: &mut ChaCha8Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..random.random_range(1..=CHANGES) {
            self.change(random, &mut bytes, other);
        }
        bytes.truncate(self.longest);
        bytes
    }

    fn change(&self, random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, other: &[u8]) {
        match random.random_range(0..13) {
            0 => flip_bit(random, bytes),
            1 => set_byte(random, bytes),
            2 | 3 => set_integer(random, bytes),
            4 | 5 => set_decimal(random, bytes),
            6 | 7 => self.insert_token(random, bytes),
            8 => remove(random, bytes),
            9 => repeat(random, bytes),
            10 => exchange(random, bytes),
            11 => splice(random, bytes, other),
            _ => truncate(random, bytes),
        }
    }

    /// A token of the format, over the bytes there or between them.
    fn insert_token(&self, random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
        let Some(token) = self.dictionary.choose(random) else { return };
        let at = random.random_range(0..=bytes.len());
        let over = if random.random() { token.len().min(bytes.len() - at) } else { 0 };
        bytes.splice(at..at + over, token.iter().copied());
    }
}

/// A piece of some length below [`PIECE`]; empty where there is nothing.
fn piece(random: &mut ChaCha8Rng, bytes: &[u8]) -> std::ops::Range<usize> {
    let start = random.random_range(0..=bytes.len());
    let length = random.random_range(0..=PIECE.min(bytes.len() - start));
    start..start + length
}

fn flip_bit(random: &mut ChaCha8Rng, bytes: &mut [u8]) {
    let bit = 1 << random.random_range(0..8);
    bytes.choose_mut(random).into_iter().for_each(|byte| *byte ^= bit);
}

fn set_byte(random: &mut ChaCha8Rng, bytes: &mut [u8]) {
    let value = random.random();
    bytes.choose_mut(random).into_iter().for_each(|byte| *byte = value);
}

/// An interesting integer or a neighbor, of any width and byte order.
fn set_integer(random: &mut ChaCha8Rng, bytes: &mut [u8]) {
    let width = 1 << random.random_range(0..4);
    if bytes.len() < width {
        return;
    }
    let at = random.random_range(0..=bytes.len() - width);
    let value = interesting(random).to_le_bytes();
    let place = &mut bytes[at..at + width];
    place.copy_from_slice(&value[..width]);
    if random.random() {
        place.reverse();
    }
}

fn interesting(random: &mut ChaCha8Rng) -> u64 {
    let value = INTERESTING.choose(random).copied().unwrap_or_default();
    value.wrapping_add(random.random_range(0..3)).wrapping_sub(1)
}

/// A number in the text is replaced by another.
fn set_decimal(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    let start = random.random_range(0..=bytes.len());
    let Some(first) = bytes[start..].iter().position(u8::is_ascii_digit) else { return };
    let first = start + first;
    let length = bytes[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let texts = [interesting(random).to_string(), "-1".into(), "1e309".into(), "nan".into(), "0.5".into()];
    let text =
        if random.random_range(0..4) > 0 { &texts[0] } else { texts.choose(random).unwrap_or(&texts[0]) };
    bytes.splice(first..first + length, text.bytes());
}

fn remove(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    bytes.drain(piece(random, bytes));
}

fn repeat(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    let piece = piece(random, bytes);
    let times = if random.random_range(0..8) == 0 { 64 } else { 1 };
    let repeated = bytes[piece.clone()].repeat(times);
    bytes.splice(piece.end..piece.end, repeated);
}

/// A piece changes its place.
fn exchange(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    let piece = piece(random, bytes);
    let moved: Vec<u8> = bytes.drain(piece).collect();
    let at = random.random_range(0..=bytes.len());
    bytes.splice(at..at, moved);
}

/// A piece of another input.
fn splice(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let taken = other[piece(random, other)].to_vec();
    let over = piece(random, bytes);
    bytes.splice(over, taken);
}

fn truncate(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    bytes.truncate(random.random_range(0..=bytes.len()));
}
