//! `.pth` files in the zip format of PyTorch 1.6 and later: a pickle that describes tensors, and their storages.

use std::io::Cursor;

use candle_core::DType;
use zip::{CompressionMethod, ZipArchive};

use super::file::{Tensors, Unreadable};
use super::names::list;
use super::pickle::{Id, Object, Pickle};
use super::view::View;

/// Keys under which programs put the state dict of a model.
const WRAPPERS: [&str; 3] = ["state_dict", "model", "model_state_dict"];

/// Limit of a tensor's rank.
const MOST_DIMENSIONS: usize = 16;

/// The tensors of a state dict, under a key of the file's dictionary or at its top level. Without a key, also the one
/// usual key; then it is returned, too.
pub(super) fn tensors<'a>(
    bytes: &'a [u8],
    key: Option<&str>,
) -> Result<(Tensors<'a>, Option<&'static str>), Unreadable> {
    let mut archive = Archive::open(bytes)?;
    let pickle = Pickle::parse(archive.entry("data.pkl")?)?;
    let mut file = File { archive, pickle };
    let root = file.pickle.root();
    if let Some(key) = key {
        return Ok((file.under(key)?, None));
    }
    let top = file.state_dict(root, None)?;
    if !top.is_empty() {
        return Ok((top, None));
    }
    let wrapped: Vec<_> = WRAPPERS.into_iter().filter(|key| file.item(root, key).is_some()).collect();
    match wrapped[..] {
        [key] => Ok((file.under(key)?, Some(key))),
        _ => Err(file.without("has no tensors at its top level")),
    }
}

/// The files in the zip.
struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// The folder with everything, which has the name that the file had when it was written.
    folder: String,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let zip =
            ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("{error}; copy the file again"))?;
        let is_pickle = |name: &str| Some(name.strip_suffix("data.pkl")?.to_owned());
        let mut names = zip.file_names().filter_map(Result::ok);
        let folder = names
            .find_map(|name| is_pickle(&name).filter(|folder| folder.is_empty() || folder.ends_with('/')));
        let folder =
            folder.ok_or("it is a zip archive without `data.pkl`, so `torch.save` did not write it")?;
        drop(names);
        let mut archive = Self { bytes, zip, folder };
        if archive.entry("byteorder").is_ok_and(|order| order == b"big") {
            return Err("it was written on a big-endian machine; save it again on another one".into());
        }
        Ok(archive)
    }

    /// The bytes of a file, where they are: PyTorch compresses nothing.
    fn entry(&mut self, name: &str) -> Result<&'a [u8], String> {
        let name = format!("{}{name}", self.folder);
        let file =
            self.zip.by_name(&name).map_err(|error| format!("`{name}`: {error}; copy the file again"))?;
        if file.compression() != CompressionMethod::Stored {
            return Err(format!("`{name}` is compressed; save the file again by `torch.save`"));
        }
        let place =
            file.data_start().and_then(|start| Some((start, start.checked_add(file.compressed_size())?)));
        let place =
            place.and_then(|(start, end)| Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?));
        place
            .and_then(|place| self.bytes.get(place))
            .ok_or_else(|| format!("`{name}` is truncated; copy the file again"))
    }
}

/// A file whose tensors are found by its pickle.
struct File<'a> {
    archive: Archive<'a>,
    pickle: Pickle<'a>,
}

impl<'a> File<'a> {
    /// The value under a key of a dictionary: a dictionary, or an object that might be a model.
    fn item(&self, dict: Id, key: &str) -> Option<Id> {
        let pairs = self.pickle.dict(dict)?;
        let (_, value) = pairs.iter().rev().find(|(name, _)| self.pickle.text(*name) == Some(key))?;
        (self.pickle.dict(*value).is_some() || self.pickle.made(*value).is_some()).then_some(*value)
    }

    /// The tensors of the dictionary under a key.
    fn under(&mut self, key: &str) -> Result<Tensors<'a>, Unreadable> {
        match self.item(self.pickle.root(), key) {
            Some(found) => self.state_dict(found, Some(key)),
            None => Err(self.without(&format!("has no dictionary under the key `{key}`"))),
        }
    }

    /// The tensors of a dictionary, which is under a key or at the top level, by name; other values are skipped.
    ///
    /// # Errors
    /// It is an object of another class, or a tensor is malformed.
    fn state_dict(&mut self, id: Id, key: Option<&str>) -> Result<Tensors<'a>, Unreadable> {
        let mut tensors = Tensors::new();
        let Some(pairs) = self.pickle.dict(id) else { return Err(self.not_a_dictionary(id, key)) };
        for (name, value) in pairs {
            let Some(name) = self.pickle.text(*name) else { continue };
            let Some(arguments) = tensor_arguments(&self.pickle, *value) else { continue };
            let view = view(&self.pickle, &mut self.archive, arguments);
            tensors.insert(name.to_owned(), view.map_err(|problem| format!("`{name}`: {problem}"))?);
        }
        Ok(tensors)
    }

    fn not_a_dictionary(&self, id: Id, key: Option<&str>) -> Unreadable {
        match self.pickle.made(id) {
            Some(((module, class), _)) => {
                Unreadable::Object { class: format!("{module}.{class}"), key: key.map(str::to_owned) }
            }
            None => Unreadable::Other("it holds neither a dictionary nor a model".into()),
        }
    }

    /// A message with the keys that hold dictionaries.
    fn without(&self, what: &str) -> Unreadable {
        let pairs = self.pickle.dict(self.pickle.root()).unwrap_or_default();
        let is_dict = |value: &Id| self.pickle.dict(*value).is_some_and(|pairs| !pairs.is_empty());
        let keys =
            pairs.iter().filter(|(_, value)| is_dict(value)).filter_map(|(key, _)| self.pickle.text(*key));
        let keys: Vec<&str> = keys.collect();
        Unreadable::Other(match keys.is_empty() {
            true => format!("it {what}, and no dictionaries under any key"),
            false => format!("it {what}; it has dictionaries under {}: set `key` to one of them", list(keys)),
        })
    }
}

/// The arguments of `_rebuild_tensor_v2` if an object is a tensor or a parameter.
fn tensor_arguments<'p>(pickle: &'p Pickle<'_>, id: Id) -> Option<&'p [Id]> {
    let mut made = pickle.made(id)?;
    if let (("torch._utils", "_rebuild_parameter"), [tensor, ..]) = made {
        made = pickle.made(*tensor)?;
    }
    match made {
        (("torch._utils", "_rebuild_tensor_v2"), arguments) => Some(arguments),
        // A tensor of a subclass: function, class, arguments, state.
        (("torch._tensor", "_rebuild_from_type_v2"), [function, _, arguments, ..])
            if pickle.global(*function) == Some(("torch._utils", "_rebuild_tensor_v2")) =>
        {
            pickle.tuple(*arguments)
        }
        _ => None,
    }
}

/// The tensor with these arguments: storage, offset, shape, strides, …
fn view<'a>(pickle: &Pickle<'a>, archive: &mut Archive<'a>, arguments: &[Id]) -> Result<View<'a>, String> {
    let malformed = || "is malformed; copy the file again".to_owned();
    let &[storage, offset, shape, strides, ..] = arguments else { return Err(malformed()) };
    let (class, key) = storage_of(pickle, storage).ok_or_else(malformed)?;
    Ok(View {
        storage: archive.entry(&format!("data/{key}"))?,
        dtype: (dtype(class), class.into()),
        offset: pickle.size(offset).ok_or_else(malformed)?,
        shape: sizes(pickle, shape).ok_or_else(malformed)?,
        strides: sizes(pickle, strides).ok_or_else(malformed)?,
    })
}

/// Class and key of a storage: `("storage", class, key, device, number of elements)`.
fn storage_of<'a>(pickle: &Pickle<'a>, id: Id) -> Option<(&'a str, &'a str)> {
    let Object::Outside(described) = pickle.object(id) else { return None };
    let &[what, class, key, ..] = pickle.tuple(*described)? else { return None };
    let (_, class) = pickle.global(class)?;
    (pickle.text(what) == Some("storage")).then_some((class, pickle.text(key)?))
}

fn sizes(pickle: &Pickle<'_>, id: Id) -> Option<Vec<usize>> {
    let sizes = pickle.tuple(id).filter(|sizes| sizes.len() <= MOST_DIMENSIONS)?;
    sizes.iter().map(|size| pickle.size(*size)).collect()
}

/// The type of the elements of a storage, by the name of its class.
fn dtype(class: &str) -> Option<DType> {
    Some(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "ByteStorage" => DType::U8,
        "ShortStorage" => DType::I16,
        "IntStorage" => DType::I32,
        "LongStorage" => DType::I64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Tensor;
    use zip::CompressionMethod;

    use super::super::testing::{Written, archive, dict, floats, pickle, save, state_dict, text};
    use super::*;

    fn read(bytes: &[u8], key: Option<&str>) -> Result<BTreeMap<String, Tensor>, String> {
        let message = |error: Unreadable| match error {
            Unreadable::Object { class, key } => format!("object {class} {key:?}"),
            Unreadable::Other(message) => message,
            Unreadable::Old => "old".into(),
        };
        let (tensors, _) = tensors(bytes, key).map_err(message)?;
        tensors.into_iter().map(|(name, view)| Ok((name, view.read()?))).collect()
    }

    fn file(pickled: &[u8], storages: &[(&str, Written)]) -> Vec<u8> {
        archive(&pickle(pickled), storages, CompressionMethod::Stored)
    }

    fn names(tensors: &BTreeMap<String, Tensor>) -> Vec<&str> {
        tensors.keys().map(String::as_str).collect()
    }

    /// Every type, an offset, and a transposed matrix.
    fn of_every_sort() -> Vec<(&'static str, Written)> {
        let numbers = [0.5f32, -1.0, 2.0, 3.25, 1e-3, 7.0];
        let sort = |class, bytes: Vec<u8>| Written { class, bytes, ..floats(&[], &[2, 3]) };
        let f64s = numbers.iter().flat_map(|number| f64::from(*number).to_le_bytes()).collect();
        let f16s = (0..6u16).flat_map(|number| (0x3c00 + 64 * number).to_le_bytes()).collect();
        let longs = (-3i64..3).flat_map(i64::to_le_bytes).collect();
        let transposed = Written { shape: vec![3, 2], strides: vec![1, 3], ..floats(&numbers, &[2, 3]) };
        vec![
            ("float", floats(&numbers, &[2, 3])),
            ("double", sort("DoubleStorage", f64s)),
            ("half", sort("HalfStorage", f16s)),
            ("bfloat", sort("BFloat16Storage", (0..6u16).flat_map(|n| (0x3f80 + n).to_le_bytes()).collect())),
            ("byte", sort("ByteStorage", vec![1, 2, 3, 4, 5, 255])),
            ("long", sort("LongStorage", longs)),
            ("offset", Written { offset: 2, shape: vec![4], strides: vec![1], ..floats(&numbers, &[]) }),
            ("transposed", transposed),
            ("scalar", floats(&[4.0], &[])),
        ]
    }

    #[test]
    fn f19_elements_of_every_sort_are_those_that_candle_reads() {
        let written = of_every_sort();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.pth");
        save(&path, &pickle(&state_dict(&written, 0)), &written);
        let ours = read(&std::fs::read(&path).unwrap(), None).unwrap();
        let theirs = candle_core::pickle::read_all(&path).unwrap();
        assert_eq!(ours.len(), written.len());
        assert_eq!(theirs.len(), written.len());
        for (name, theirs) in theirs {
            assert_eq!(ours[&name].dtype(), theirs.dtype(), "{name}");
            let text = |tensor: &Tensor| format!("{:?} {tensor}", tensor.dims());
            assert_eq!(text(&ours[&name]), text(&theirs), "{name}");
        }
        assert_eq!(ours["offset"].to_vec1::<f32>().unwrap(), [2.0, 3.25, 1e-3, 7.0]);
    }

    #[test]
    fn f07_a_state_dict_is_found_under_a_usual_key_or_the_one_that_is_set() {
        let written = [("w", floats(&[1.0], &[1]))];
        let wrapped =
            |key: &str| file(&dict(&[("epoch", b"K\x05".into()), (key, state_dict(&written, 0))]), &written);
        for key in WRAPPERS {
            assert_eq!(names(&read(&wrapped(key), None).unwrap()), ["w"]);
        }
        assert_eq!(names(&read(&wrapped("teacher"), Some("teacher")).unwrap()), ["w"]);
        let expected =
            "has no tensors at its top level; it has dictionaries under `teacher`: set `key` to one of them";
        assert!(read(&wrapped("teacher"), None).unwrap_err().contains(expected));
        let error = read(&wrapped("teacher"), Some("student")).unwrap_err();
        assert!(
            error.contains("no dictionary under the key `student`; it has dictionaries under `teacher`"),
            "{error}"
        );
    }

    #[test]
    fn f19_pickled_models_are_refused_by_the_name_of_their_class() {
        let model = b"ctorchvision.models.resnet\nResNet\n)\x81}b".to_vec();
        let error = read(&file(&model, &[]), None).unwrap_err();
        assert_eq!(error, "object torchvision.models.resnet.ResNet None");
        let error = read(&file(&dict(&[("model", model)]), &[]), None).unwrap_err();
        assert_eq!(error, "object torchvision.models.resnet.ResNet Some(\"model\")");
        let other = dict(&[("args", b"cargparse\nNamespace\n)\x81}b".to_vec()), ("w", text("x"))]);
        assert!(read(&file(&other, &[]), None).unwrap_err().contains("no tensors at its top level"));
    }

    #[test]
    fn f19_an_offset_that_wraps_is_an_error() {
        for offset in [1 << 62, i64::MAX, -1] {
            let written = [("w", Written { offset, ..floats(&[1.0, 2.0], &[1]) })];
            let error = read(&file(&state_dict(&written, 0), &written), None).unwrap_err();
            assert!(error.contains("outside of its storage") || error.contains("malformed"), "{error}");
        }
    }

    #[test]
    fn f19_a_file_that_is_compressed_or_cut_is_refused() {
        let written = [("w", floats(&[1.0], &[1]))];
        let code = pickle(&state_dict(&written, 0));
        let compressed = archive(&code, &written, CompressionMethod::Deflated);
        assert!(read(&compressed, None).unwrap_err().contains("is compressed"));
        let whole = archive(&code, &written, CompressionMethod::Stored);
        for length in 0..whole.len() {
            read(&whole[..length], None).unwrap_err();
        }
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 0xff;
            // It is read or refused, without a panic.
            let _ = read(&damaged, None);
        }
    }
}
