//! Decoding a section's tree into its spec, reporting every error.
//!
//! The tree is checked against the [`Shape`] of the spec's type, which is read from the same JSON Schema that editors
//! use. Invalid values are reported and removed. A required key that is missing or was removed is replaced by a
//! placeholder at [`NOWHERE`], so that later passes can still check the rest. serde then decodes the result.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use kind::schema::{Choice, Shape, TableShape};
use kind::suggest;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeFloat, DeInteger, DeValue, ValueDeserializer};

use super::Span;
use super::error::{Diagnostic, NOWHERE, Report};
use super::shape::{TRAIN, train_keys};
use super::tree::{self, Key, Table, Value};

/// A decoded section.
pub(super) struct Decoded<'i, T> {
    /// `None` if the section has too many errors to decode.
    pub(super) spec: Option<T>,
    /// The tree that it was decoded from.
    pub(super) tree: Value<'i>,
    /// Whether there were no errors.
    pub(super) clean: bool,
}

/// The shape of a type, cached.
pub(super) fn shape_of<T: JsonSchema + 'static>() -> &'static Shape {
    static SHAPES: LazyLock<Mutex<HashMap<TypeId, &'static Shape>>> = LazyLock::new(Mutex::default);
    let mut shapes = SHAPES.lock().unwrap_or_else(PoisonError::into_inner);
    shapes.entry(TypeId::of::<T>()).or_insert_with(|| Box::leak(Box::new(Shape::for_type::<T>())))
}

/// Decode a section and report every error in it.
pub(super) fn decode<'i, T: DeserializeOwned + JsonSchema + 'static>(
    tree: Value<'i>,
    report: &mut Report,
) -> Decoded<'i, T> {
    decode_beside(tree, &[], report)
}

/// The same for a section from which other keys were taken before; suggestions include them.
pub(super) fn decode_beside<'i, T: DeserializeOwned + JsonSchema + 'static>(
    mut tree: Value<'i>,
    other_keys: &[&str],
    report: &mut Report,
) -> Decoded<'i, T> {
    let mut check = Check { other_keys, report, stand_ins: 0, clean: true };
    if !check.value(&mut tree, shape_of::<T>()) {
        return Decoded { spec: None, tree, clean: false };
    }
    let mut clean = check.clean;
    let spec = T::deserialize(ValueDeserializer::from(tree.clone()));
    // Limits that only serde knows, such as the largest integer of a type.
    let spec = spec.map_err(|error| {
        clean = false;
        let span = error.span().filter(|span| span.start < NOWHERE).unwrap_or_else(|| tree.span());
        if !report.knows(&span) {
            report.add(Diagnostic::at(span, error.message()));
        }
    });
    Decoded { spec: spec.ok(), tree, clean }
}

/// State of a check.
struct Check<'a> {
    other_keys: &'a [&'a str],
    report: &'a mut Report,
    stand_ins: usize,
    clean: bool,
}

impl Check<'_> {
    /// Check a value, report errors and remove invalid parts; `false` if the value itself must be removed.
    fn value<'i>(&mut self, value: &mut Value<'i>, shape: &Shape) -> bool {
        match (shape, value.get_ref()) {
            (Shape::Any, _) | (Shape::Boolean, DeValue::Boolean(_)) | (Shape::String, DeValue::String(_)) => {
                true
            }
            (Shape::Integer | Shape::Number, DeValue::Integer(integer)) if is_too_large(integer) => {
                let message = format!("{} is too large; an integer is below 2^64", found(value));
                self.wrong(value.span(), message, None)
            }
            (Shape::Number, DeValue::Integer(_) | DeValue::Float(_)) => true,
            (Shape::Integer, DeValue::Integer(integer)) if !integer.as_str().starts_with('-') => true,
            (Shape::Choice(choice), _) => self.choice(value, choice),
            (Shape::Strings, DeValue::String(_)) => true,
            (Shape::Strings, DeValue::Array(_)) => self.items(value, &Shape::String),
            (Shape::Array { item, len }, DeValue::Array(items)) => match len {
                Some(len) if items.len() != *len => self.wrong(
                    value.span(),
                    format!("expected an array of {len}, found {}", items.len()),
                    None,
                ),
                _ => self.items(value, item),
            },
            (Shape::Map(values), DeValue::Table(_)) => self.entries(value, values),
            (Shape::Table(table), DeValue::String(word)) if !table.presets.is_empty() => {
                let preset = table.presets.iter().find(|(name, _)| name == word.as_ref());
                match preset.and_then(|(_, text)| DeValue::parse(text).ok()) {
                    Some(preset) => {
                        *value = tree::moved(preset, &value.span());
                        true
                    }
                    None => self.mismatch(value, shape),
                }
            }
            (Shape::Table(table), DeValue::Table(_)) => self.table(value, table),
            _ => self.mismatch(value, shape),
        }
    }

    /// Check every element; one invalid element makes the array invalid. An element of the wrong type is reported once.
    fn items(&mut self, value: &mut Value<'_>, item: &Shape) -> bool {
        let DeValue::Array(items) = value.get_mut() else { return false };
        let mut right = true;
        for element in items.iter_mut() {
            right &= self.value(element, item);
        }
        right
    }

    /// Check every value of a table with user-chosen keys; invalid values are removed.
    fn entries(&mut self, value: &mut Value<'_>, shape: &Shape) -> bool {
        let Some(table) = tree::table_mut(value) else { return false };
        let mut wrong = Vec::new();
        for (key, value) in table.iter_mut() {
            if !self.value(value, shape) {
                wrong.push(key.get_ref().to_string());
            }
        }
        wrong.iter().for_each(|key| drop(table.remove(key.as_str())));
        true
    }

    /// Check a choice: a word, or a table with one key and its options. A kind without required keys may be written as
    /// a word.
    fn choice<'i>(&mut self, value: &mut Value<'i>, choice: &Choice) -> bool {
        let span = value.span();
        match value.get_ref() {
            DeValue::String(word) if choice.words.iter().any(|known| known == word.as_ref()) => true,
            DeValue::String(word) if choice.is_kinds && !word.contains("${") => {
                let options = Spanned::new(span.clone(), DeValue::Table(Table::new()));
                *value = tree::single(word.to_string(), options, span);
                self.keyed(value, choice)
            }
            DeValue::String(word) => {
                let (word, names) = (word.to_string(), choice.names());
                let (message, help) = match choice.keys.iter().find(|(name, _)| *name == word) {
                    Some((_, shape)) => {
                        let value = if matches!(shape, Shape::Array { .. }) { "[ … ]" } else { "…" };
                        let words: String =
                            choice.words.iter().map(|word| format!("\"{word}\" or ")).collect();
                        let help = format!("write {words}`{{ {word} = {value} }}`");
                        (format!("`{word}` needs a value"), Some(help))
                    }
                    None => (format!("unknown value `{word}`"), suggest::help(&word, &names)),
                };
                self.wrong(span, message, help)
            }
            DeValue::Table(_) if !choice.keys.is_empty() => self.keyed(value, choice),
            _ => self.mismatch(value, &Shape::Choice(choice.clone())),
        }
    }

    /// Check a table with exactly one key of the choice. An unknown key is reported, and the choice counts as missing.
    fn keyed(&mut self, value: &mut Value<'_>, choice: &Choice) -> bool {
        let span = value.span();
        let Some(table) = tree::table_mut(value) else { return false };
        let (names, mut unknown) = (choice.names(), false);
        if let Some((key, help)) = misplaced(table, choice) {
            return self.wrong(key.span(), format!("`{}` is not a kind", key.get_ref()), Some(help));
        }
        for key in table.keys().filter(|key| !names.contains(&key.get_ref().as_ref())) {
            unknown = true;
            let help = suggest::help(key.get_ref(), &names);
            self.wrong(key.span(), format!("unknown value `{}`", key.get_ref()), help);
        }
        match table.len() {
            _ if unknown => false,
            0 => self.wrong(span, "expected exactly one choice, found none".to_owned(), None),
            1 => {
                let Some((key, inner)) = table.iter_mut().next() else { return false };
                let shape = choice.keys.iter().find(|(name, _)| name == key.get_ref().as_ref());
                shape.is_some_and(|(_, shape)| self.value(inner, shape))
            }
            _ => self.wrong(span, "expected exactly one choice, found several".to_owned(), None),
        }
    }

    /// Check every known key; invalid values are removed, and required ones replaced by a placeholder.
    fn table(&mut self, value: &mut Value<'_>, shape: &TableShape) -> bool {
        let span = value.span();
        let Some(table) = tree::table_mut(value) else { return false };
        let meant = self.unknown_keys(table, shape);
        for key in &shape.keys {
            let present = table.get_mut(key.name.as_str()).map(|value| self.value(value, &key.shape));
            if present == Some(false) {
                table.remove(key.name.as_str());
            }
            if !key.required || present == Some(true) {
                continue;
            }
            if present.is_none() && !meant.contains(&key.name) {
                self.wrong(span.clone(), format!("missing key `{}`", key.name), None);
            }
            self.clean = false;
            let nowhere = self.nowhere();
            let name = Spanned::new(nowhere.clone(), key.name.clone().into());
            table.insert(name, Spanned::new(nowhere.clone(), stand_in(&key.shape, &nowhere)));
        }
        true
    }

    /// Remove unknown keys. Returns the known keys they probably stand for.
    fn unknown_keys(&mut self, table: &mut Table<'_>, shape: &TableShape) -> Vec<String> {
        let unknown = |key: &&Key<'_>| shape.key(key.get_ref()).is_none();
        let unknown: Vec<Key<'_>> = table.keys().filter(unknown).cloned().collect();
        let mut meant = Vec::new();
        let known = self.suggestions(shape);
        for key in unknown {
            let is_full = self.report.is_full();
            let help = (!is_full).then(|| {
                meant.extend(suggest::nearest(key.get_ref(), &known).map(str::to_owned));
                belongs(table, shape, key.get_ref()).or_else(|| suggest::help(key.get_ref(), &known))
            });
            self.wrong(key.span(), format!("unknown key `{}`", key.get_ref()), help.flatten());
        }
        let entries = std::mem::take(table).into_iter();
        *table = entries.filter(|(key, _)| shape.key(key.get_ref()).is_some()).collect();
        meant
    }

    /// The keys of a table as users write them: those of `[train]` are keys of the stage itself.
    fn suggestions<'s>(&self, shape: &'s TableShape) -> Vec<&'s str>
    where
        Self: 's,
    {
        let trains = shape.key(TRAIN).is_some();
        let own = shape.names().into_iter().filter(|name| *name != TRAIN);
        let inherited = train_keys().iter().copied().filter(|_| trains);
        own.chain(inherited).chain(self.other_keys.iter().copied()).collect()
    }

    fn mismatch(&mut self, value: &Value<'_>, shape: &Shape) -> bool {
        let message = format!("expected {}, found {}", expected(shape), found(value));
        self.wrong(value.span(), message, None)
    }

    /// Report an error, unless one was reported at the same place; always `false`.
    fn wrong(&mut self, span: Span, message: String, help: Option<String>) -> bool {
        self.clean = false;
        if span.start < NOWHERE && !self.report.knows(&span) {
            self.report.add(Diagnostic::at(span, message).with_help(help));
        }
        false
    }

    fn nowhere(&mut self) -> Span {
        self.stand_ins += 1;
        NOWHERE + self.stand_ins..NOWHERE + self.stand_ins
    }
}

/// The first key of a choice's table that is a key of its kinds, or names one of them as in `name = "adamw"`, and where
/// it goes.
fn misplaced<'i>(table: &Table<'i>, choice: &Choice) -> Option<(Key<'i>, String)> {
    let has = |kind: &Shape, key: &str| kind.as_table().is_some_and(|table| table.key(key).is_some());
    let kinds = choice.keys.iter().filter(|_| choice.is_kinds);
    let kinds: Vec<(&str, &Shape)> = kinds.map(|(name, shape)| (name.as_str(), shape)).collect();
    let named = table.iter().find_map(|(_, value)| {
        let word = value.get_ref().as_str()?;
        kinds.iter().find(|(name, _)| *name == word).map(|(name, _)| *name)
    });
    let unknown = |key: &&Key<'_>| !kinds.iter().any(|(name, _)| *name == key.get_ref().as_ref());
    let key = table.keys().find(unknown)?;
    let owners: Vec<&str> =
        kinds.iter().filter(|(_, kind)| has(kind, key.get_ref())).map(|(name, _)| *name).collect();
    let help = match (named, owners.as_slice()) {
        (Some(kind), _) => format!("write the kind as a key: `{{ {kind} = {{ … }} }}`"),
        (None, []) => return None,
        (None, owners) => {
            format!(
                "it is a key of {}: write `{{ {} = {{ {} = … }} }}`",
                suggest::list(owners),
                owners[0],
                key.get_ref()
            )
        }
    };
    Some((key.clone(), help))
}

/// Where a key goes that is one of a table inside of this one: `lr` of `optimizer.adamw`.
fn belongs(table: &Table<'_>, shape: &TableShape, word: &str) -> Option<String> {
    let inner = |name: &str| table.get(name).and_then(|inner| inner.get_ref().as_table());
    let of_train = shape.key(TRAIN).and_then(|train| train.shape.as_table());
    let beside = of_train.and_then(|train| belongs_in(inner(TRAIN), train, word));
    beside.or_else(|| belongs_in(Some(table), shape, word))
}

fn belongs_in(table: Option<&Table<'_>>, shape: &TableShape, word: &str) -> Option<String> {
    shape.keys.iter().filter(|key| key.name != TRAIN).find_map(|key| {
        let kinds = &key.shape.as_choice().filter(|choice| choice.is_kinds)?.keys;
        let has = |shape: &Shape| shape.as_table().is_some_and(|table| table.key(word).is_some());
        let owners: Vec<&str> =
            kinds.iter().filter(|(_, shape)| has(shape)).map(|(name, _)| name.as_str()).collect();
        let is_chosen = |kind: &&&str| {
            let chosen = table.and_then(|table| table.get(key.name.as_str()));
            chosen
                .and_then(|chosen| chosen.get_ref().as_table())
                .is_some_and(|chosen| chosen.contains_key(**kind))
        };
        let kind = owners.iter().find(is_chosen).or_else(|| owners.first())?;
        Some(format!("it is a key of `{0}`: write `{0}.{kind} = {{ {word} = … }}`", key.name))
    })
}

/// A placeholder value of a shape.
fn stand_in<'i>(shape: &Shape, span: &Span) -> DeValue<'i> {
    let place = |value| Spanned::new(span.clone(), value);
    match shape {
        Shape::Boolean => DeValue::Boolean(false),
        Shape::Integer => DeValue::Integer(DeInteger::default()),
        Shape::Number => DeValue::Float(DeFloat::default()),
        Shape::String | Shape::Strings | Shape::Any => DeValue::String("".into()),
        Shape::Array { item, len } => {
            let mut array = DeArray::new();
            (0..len.unwrap_or(0)).for_each(|_| array.push(place(stand_in(item, span))));
            DeValue::Array(array)
        }
        Shape::Map(_) => DeValue::Table(Table::new()),
        Shape::Table(table) => {
            let required = table.keys.iter().filter(|key| key.required);
            let entry = |key: &kind::schema::Key| {
                (Spanned::new(span.clone(), key.name.clone().into()), place(stand_in(&key.shape, span)))
            };
            DeValue::Table(required.map(entry).collect())
        }
        Shape::Choice(choice) => match (choice.words.first(), choice.keys.first()) {
            (Some(word), _) => DeValue::String(word.clone().into()),
            (None, Some((key, inner))) => {
                tree::single(key.clone(), place(stand_in(inner, span)), span.clone()).into_inner()
            }
            (None, None) => DeValue::String("".into()),
        },
    }
}

fn expected(shape: &Shape) -> String {
    let text = match shape {
        Shape::Any => "a value",
        Shape::Boolean => "a boolean",
        Shape::Integer => "a non-negative integer",
        Shape::Number => "a number",
        Shape::String => "a string",
        Shape::Strings => "a string or an array of strings",
        Shape::Array { .. } => "an array",
        Shape::Map(_) => "a table",
        Shape::Choice(choice) if choice.keys.is_empty() => "a string",
        Shape::Choice(choice) if choice.words.is_empty() && !choice.is_kinds => "a table",
        Shape::Choice(_) => "a string or a table",
        Shape::Table(table) => {
            let words: Vec<String> =
                table.presets.iter().map(|(word, _)| format!("\"{word}\" or ")).collect();
            let keys = if words.is_empty() {
                String::new()
            } else {
                format!(" with {}", suggest::list(&table.names()))
            };
            return format!("{}a table{keys}", words.concat());
        }
    };
    text.to_owned()
}

fn is_too_large(integer: &DeInteger<'_>) -> bool {
    let digits = integer.as_str().trim_start_matches(['-', '+']);
    u64::from_str_radix(digits, integer.radix()).is_err()
}

fn found(value: &Value<'_>) -> String {
    match value.get_ref() {
        DeValue::String(text) => format!("string {text:?}"),
        DeValue::Integer(integer) => format!("integer `{integer}`"),
        DeValue::Float(float) => format!("float `{float}`"),
        DeValue::Boolean(truth) => format!("boolean `{truth}`"),
        _ => tree::kind_of(value).to_owned(),
    }
}

#[cfg(test)]
mod tests;
