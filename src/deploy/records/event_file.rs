//! A TensorBoard event file: records of `tensorflow.Event`, a message in protobuf's wire format.

use super::crc32c::masked;

/// One value at one step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    /// Name of the curve: `train/loss`.
    pub(super) tag: String,
    pub(super) value: f64,
}

/// An event file, as bytes.
pub(super) struct EventFile(Vec<u8>);

impl EventFile {
    /// A file that starts at a time, in seconds since 1970.
    pub(super) fn new(time: f64) -> Self {
        let mut file = Self(Vec::new());
        file.record(&[fixed64(1, time.to_bits()), bytes(3, b"brain.Event:2")].concat());
        file
    }

    /// Add the scalars of a step.
    pub(super) fn add(&mut self, time: f64, step: usize, scalars: &[Scalar]) {
        let value = |scalar: &Scalar| {
            let number = fixed32(2, (scalar.value as f32).to_bits());
            bytes(1, &[bytes(1, scalar.tag.as_bytes()), number].concat())
        };
        let summary = scalars.iter().map(value).collect::<Vec<_>>().concat();
        let event = [fixed64(1, time.to_bits()), integer(2, step as u64), bytes(5, &summary)];
        self.record(&event.concat());
    }

    /// Length, its checksum, data, its checksum; little-endian.
    fn record(&mut self, data: &[u8]) {
        let length = (data.len() as u64).to_le_bytes();
        let (of_length, of_data) = (masked(&length).to_le_bytes(), masked(data).to_le_bytes());
        for part in [&length[..], &of_length, data, &of_data] {
            self.0.extend_from_slice(part);
        }
    }

    /// The content of the file.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

fn fixed64(field: u8, bits: u64) -> Vec<u8> {
    [&[(field << 3) | 1][..], &bits.to_le_bytes()].concat()
}

fn fixed32(field: u8, bits: u32) -> Vec<u8> {
    [&[(field << 3) | 5][..], &bits.to_le_bytes()].concat()
}

fn integer(field: u8, number: u64) -> Vec<u8> {
    [vec![field << 3], varint(number)].concat()
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    [&[(field << 3) | 2][..], &varint(content.len() as u64), content].concat()
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_varints() {
        assert_eq!((varint(0), varint(127), varint(300)), (vec![0], vec![127], vec![0xac, 2]));
    }

    /// The bytes of `tensorboard.summary.writer.event_file_writer` for the same event;
    /// tests/readers.py reads whole files by tensorboard.
    #[test]
    fn a_record_has_lengths_and_checksums() {
        let mut file = EventFile(Vec::new());
        file.add(1.5, 3, &[Scalar { tag: "a".into(), value: 0.25 }]);
        let data = [
            &[9, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f][..],
            &[16, 3],
            &[42, 10, 10, 8, 10, 1, b'a', 21, 0, 0, 0x80, 0x3e],
        ];
        let data = data.concat();
        let bytes = file.into_bytes();
        assert_eq!(bytes[..8], (data.len() as u64).to_le_bytes());
        assert_eq!(bytes[8..12], masked(&bytes[..8]).to_le_bytes());
        assert_eq!(bytes[12..bytes.len() - 4], data);
        assert_eq!(bytes[bytes.len() - 4..], masked(&data).to_le_bytes());
    }
}
