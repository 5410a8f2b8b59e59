//! Small `.pth` files, byte by byte as PyTorch writes them.

use std::io::{Cursor, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A tensor in a file: the class of its storage, the storage's bytes, offset, shape and strides.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) class: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) offset: i64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// A contiguous tensor of f32.
pub(super) fn floats(elements: &[f32], shape: &[usize]) -> Written {
    let bytes = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
    let strides = super::view::contiguous(shape).unwrap();
    Written { class: "FloatStorage", bytes, offset: 0, shape: shape.into(), strides }
}

/// A pickle with this value.
pub(super) fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

/// `OrderedDict` of tensors, whose storages are numbered from `first`, with the metadata of a state dict.
pub(super) fn state_dict(tensors: &[(&str, Written)], first: usize) -> Vec<u8> {
    let mut code = b"ccollections\nOrderedDict\n)Rq\x00(".to_vec();
    for (i, (name, written)) in tensors.iter().enumerate() {
        code.extend(text(name));
        code.extend(tensor(written, first + i));
    }
    code.push(b'u');
    code.extend([b"}".to_vec(), text("_metadata"), b"ccollections\nOrderedDict\n)Rsb".to_vec()].concat());
    code
}

/// A dictionary.
pub(super) fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items = items.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
    [b"}(".to_vec(), items.collect(), b"u".to_vec()].concat()
}

pub(super) fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [b"X".as_slice(), &length.to_le_bytes(), text.as_bytes()].concat()
}

fn tensor(written: &Written, key: usize) -> Vec<u8> {
    let storage = [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        format!("ctorch\n{}\n", written.class).into_bytes(),
        text(&key.to_string()),
        text("cpu"),
        long(written.bytes.len() as i64),
        b"tQ".to_vec(),
    ];
    let layout = [long(written.offset), sizes(&written.shape), sizes(&written.strides)];
    [storage.concat(), layout.concat(), b"\x89ccollections\nOrderedDict\n)RtR".to_vec()].concat()
}

fn sizes(sizes: &[usize]) -> Vec<u8> {
    let sizes = sizes.iter().flat_map(|size| long(*size as i64)).collect();
    [b"(".to_vec(), sizes, b"t".to_vec()].concat()
}

fn long(number: i64) -> Vec<u8> {
    match i32::try_from(number) {
        Ok(short) => [b"J".as_slice(), &short.to_le_bytes()].concat(),
        Err(_) => [b"\x8a\x08".as_slice(), &number.to_le_bytes()].concat(),
    }
}

/// Write a file with a pickle and storages numbered from 0.
pub(super) fn save(path: &Path, pickle: &[u8], storages: &[(&str, Written)]) {
    std::fs::write(path, archive(pickle, storages, CompressionMethod::Stored)).unwrap();
}

pub(super) fn archive(
    pickle: &[u8],
    storages: &[(&str, Written)],
    compression: CompressionMethod,
) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(compression);
    let mut put = |name: String, bytes: &[u8]| {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    put("model/data.pkl".into(), pickle);
    put("model/byteorder".into(), b"little");
    for (i, (_, written)) in storages.iter().enumerate() {
        put(format!("model/data/{i}"), &written.bytes);
    }
    put("model/version".into(), b"3\n");
    zip.finish().unwrap().into_inner()
}
